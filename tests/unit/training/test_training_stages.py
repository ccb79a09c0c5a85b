"""The three stages through their `run`, on a tiny model."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from hanlin.core.errors import ConfigError, InputError, StageFailedError
from hanlin.core.events import read_events
from hanlin.models.load import load_pair
from hanlin.models.manifest import read_manifest
from hanlin.training import base, finetune, pretrain
from training_world import bytes_of, run_stage

MODULES = {"base": base, "pretrain": pretrain, "finetune": finetune}


def output_of(stage):
    return "adapter" if stage == "finetune" else "model"


def events(context, name):
    return [event for event in read_events(context.events.path) if event["event"] == name]


@pytest.mark.parametrize("stage", list(MODULES))
def test_the_loss_falls_and_events_tell_it(world, tmp_path, stage):
    drawn = []
    values = world.inputs(stage, schedule={"steps": 30})
    context = run_stage(
        MODULES[stage],
        values,
        tmp_path / "out",
        progress=lambda done, total, text: drawn.append((done, total)),
    )
    metrics = events(context, "metric")
    assert [event["step"] for event in metrics] == list(range(1, 31))
    assert sum(event["loss"] for event in metrics[-5:]) < sum(e["loss"] for e in metrics[:5])
    assert {"stage", "learning_rate", "tokens", "tokens_per_s"} <= metrics[0].keys()
    assert metrics[-1]["tokens"] > metrics[0]["tokens"] > 0
    assert drawn[-1] == (30, 30)
    written = bytes_of(context.out / output_of(stage))
    assert not any("training_args" in name or name.endswith((".bin", ".pt")) for name in written)
    assert not (context.out / "checkpoints").exists()


@pytest.mark.parametrize("stage", list(MODULES))
def test_interrupted_and_repeated_it_ends_in_the_same_bytes(world, tmp_path, stage):
    more = {"lora": {"dropout": 0.3}} if stage == "finetune" else {}
    values = world.inputs(stage, **more)

    def interrupt(done, total, text):
        if done == 7:
            raise KeyboardInterrupt

    run_stage(MODULES[stage], values, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run_stage(MODULES[stage], values, tmp_path / "cut", progress=interrupt)
    half_written = tmp_path / "cut" / "checkpoints" / "checkpoint-8"
    half_written.mkdir()
    (half_written / "trainer_state.json").write_text("{")
    context = run_stage(MODULES[stage], values, tmp_path / "cut")

    steps = [event["step"] for event in events(context, "metric")]
    assert steps in ([1, 2, 3, 4, 5, 6, *range(5, 13)], [1, 2, 3, 4, 5, 6, 7, *range(5, 13)])
    output = output_of(stage)
    assert bytes_of(tmp_path / "cut" / output) == bytes_of(tmp_path / "whole" / output)


def test_tokens_are_counted_on_through_an_interruption(world, tmp_path):
    def interrupt(done, total, text):
        if done == 7:
            raise KeyboardInterrupt

    values = world.inputs("pretrain")
    whole = events(run_stage(pretrain, values, tmp_path / "whole"), "metric")
    with pytest.raises(KeyboardInterrupt):
        run_stage(pretrain, values, tmp_path / "cut", progress=interrupt)
    cut = events(run_stage(pretrain, values, tmp_path / "cut"), "metric")
    assert cut[-1]["tokens"] == whole[-1]["tokens"]


def test_a_finished_stage_does_nothing_but_a_damaged_one_ends_again(world, tmp_path):
    values = world.inputs("pretrain")
    context = run_stage(pretrain, values, tmp_path / "out")
    expected, size = bytes_of(context.out / "model"), context.events.path.stat().st_size
    run_stage(pretrain, values, tmp_path / "out")
    assert context.events.path.stat().st_size == size
    (context.out / "model" / "model.safetensors").write_bytes(b"half")
    run_stage(pretrain, values, tmp_path / "out")
    assert bytes_of(context.out / "model") == expected


def test_the_result_depends_on_the_seed(world, tmp_path):
    values = world.inputs("pretrain", schedule={"steps": 2})
    made = {}
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        made[name] = bytes_of(run_stage(pretrain, values, tmp_path / name, seed=seed).out / "model")
    assert made["a"] == made["b"]
    assert made["a"]["model.safetensors"] != made["c"]["model.safetensors"]


def test_two_threads_give_the_same_bytes_each_time(world, tmp_path):
    values = world.inputs("pretrain", schedule={"threads": 2})
    made = [bytes_of(run_stage(pretrain, values, tmp_path / n).out / "model") for n in "ab"]
    assert made[0] == made[1]
    assert not torch.are_deterministic_algorithms_enabled()


def test_probes_at_the_start_at_the_end_and_between(world, tmp_path):
    probe = {"texts": str(world.heldout), "documents": 4}
    values = world.inputs("pretrain", probe=probe, schedule={"probe_every": 5})
    context = run_stage(pretrain, values, tmp_path / "with")
    found = [(event["step"], event["language"]) for event in events(context, "probe")]
    assert found == [(step, language) for step in (0, 5, 10, 12) for language in ("en", "zh")]
    values.pop("probe")
    without = run_stage(pretrain, values, tmp_path / "without")
    assert bytes_of(context.out / "model") == bytes_of(without.out / "model")


def test_base_trains_its_tokenizer_or_takes_one(world, tmp_path):
    values = world.inputs("base", schedule={"steps": 2})
    model, tokenizer = load_pair(run_stage(base, values, tmp_path / "own").out / "model")
    assert tokenizer.vocab_size <= 400
    assert model.get_input_embeddings().weight.shape == (tokenizer.vocab_size, 32)
    assert tokenizer.decode(tokenizer.encode("Ａ古城🙂", at_start=True)) == "Ａ古城🙂"
    values.pop("vocab_size")
    given = run_stage(base, {**values, "tokenizer": str(world.model)}, tmp_path / "given").out
    assert load_pair(given / "model")[1].sha256 == load_pair(world.model)[1].sha256
    assert not (given / "tokenizer").exists()


def test_manifests_carry_on_what_is_known(world, tmp_path):
    grown_from = read_manifest(world.model)["base_vocab_size"]
    values = world.inputs("pretrain", schedule={"steps": 2})
    model = run_stage(pretrain, values, tmp_path / "a").out / "model"
    assert read_manifest(model)["base_vocab_size"] == grown_from
    assert "prompt" not in read_manifest(model)

    values = {**world.inputs("finetune", schedule={"steps": 2}), "model": str(model)}
    adapter = run_stage(finetune, values, tmp_path / "b").out / "adapter"
    tuned = run_stage(finetune, {**values, "method": "full"}, tmp_path / "c").out / "model"
    prompt = json.loads((world.chat / "store.json").read_text())["prompt"]
    for folder in (adapter, tuned):
        manifest = read_manifest(folder)
        assert manifest["prompt"] == prompt
        assert manifest["tokenizer_sha256"] == read_manifest(model)["tokenizer_sha256"]
    assert set(read_manifest(adapter)["base"]) == {"hub_id", "weights_sha256"}
    config = json.loads((tuned / "tokenizer_config.json").read_text())
    assert "Assistant:" in config["chat_template"]
    assert json.loads((tuned / "config.json").read_text())["use_cache"] is True


def test_the_adapter_trains_grown_rows_unless_they_are_frozen(world, tmp_path):
    for rows, count in (("train", 2), ("freeze", 0)):
        values = world.inputs("finetune", lora={"grown_rows": rows}, schedule={"steps": 2})
        folder = run_stage(finetune, values, tmp_path / rows).out / "adapter"
        saved = load_file(folder / "adapter_model.safetensors")
        assert sum("trainable_tokens_delta" in name for name in saved) == count


def test_outputs_follow_the_method():
    for method, name in (("lora", "adapter"), ("full", "model")):
        config = finetune.Config.model_validate({"model": "m", "store": "s", "method": method})
        assert list(finetune.STAGE.outputs_of(config)) == [name]


@pytest.mark.parametrize("stage", list(MODULES))
def test_the_estimate_needs_nothing_but_shapes(world, stage):
    config = MODULES[stage].Config.model_validate(world.inputs(stage))
    estimate = MODULES[stage].STAGE.estimate(config)
    assert 10_000 < estimate.disk_bytes < 10_000_000
    assert estimate.memory_bytes > 500_000_000
    if stage != "base":
        unknown = MODULES[stage].Config.model_validate({"model": "@grow/model", "store": "s"})
        assert MODULES[stage].STAGE.estimate(unknown).disk_bytes is None


def test_training_that_diverges_stops_before_the_weights_are_spoiled(world, tmp_path):
    schedule = {"learning_rate": 1e30, "warmup_steps": 0, "scheduler": "constant"}
    with pytest.raises(StageFailedError) as caught:
        run_stage(pretrain, world.inputs("pretrain", schedule=schedule), tmp_path / "out")
    assert "the gradient norm is nan at step 2" in str(caught.value)  # its loss is still a number
    assert "the training diverged at a learning rate of 1e+30" in str(caught.value)
    assert "fix: lower schedule.learning_rate" in str(caught.value)
    assert not (tmp_path / "out" / "model").exists()


def test_a_model_with_damaged_weights_is_named_as_the_cause(world, tmp_path):
    shutil.copytree(world.model, tmp_path / "damaged")
    file = tmp_path / "damaged" / "model.safetensors"
    tensors = load_file(file)
    tensors["lm_head.weight"].fill_(float("nan"))
    save_file(tensors, file, metadata={"format": "pt"})
    values = {**world.inputs("pretrain"), "model": str(tmp_path / "damaged")}
    with pytest.raises(StageFailedError) as caught:
        run_stage(pretrain, values, tmp_path / "out")
    assert "the loss is nan at step 1" in str(caught.value)
    assert "the model's own weights are damaged or overflow" in str(caught.value)
    assert "hanlin weights verify" in str(caught.value)


def test_finetuning_on_texts_is_refused(world, tmp_path):
    values = {**world.inputs("finetune"), "store": str(world.store)}
    with pytest.raises(InputError) as caught:
        run_stage(finetune, values, tmp_path / "out")
    assert "holds texts, not conversations" in str(caught.value)
    assert "hanlin data prepare chat" in str(caught.value)


def test_fp16_needs_a_gpu(world, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ConfigError) as caught:
        run_stage(
            pretrain, world.inputs("pretrain", schedule={"precision": "fp16"}), tmp_path / "out"
        )
    assert "precision fp16 needs a GPU" in str(caught.value)


def test_bf16_trains_and_saves_float32(world, tmp_path):
    values = world.inputs("pretrain", schedule={"steps": 2, "precision": "bf16"})
    out = run_stage(pretrain, values, tmp_path / "out").out
    saved = load_file(out / "model" / "model.safetensors")
    assert {tensor.dtype for tensor in saved.values()} == {torch.float32}


def test_the_number_of_processes_must_be_the_config_s(world, tmp_path):
    with pytest.raises(ConfigError) as caught:
        run_stage(pretrain, world.inputs("pretrain", processes=2), tmp_path / "out")
    assert "runs in 1 processes but processes is 2" in str(caught.value)
    assert "set processes to 1" in str(caught.value)


def test_a_tokenizer_and_a_size_cannot_both_be_set(world):
    with pytest.raises(ValueError, match="tokenizer and vocab_size are both set"):
        base.Config.model_validate({**world.inputs("base"), "tokenizer": "t"})


def test_an_empty_corpus_is_refused(world, tmp_path):
    (tmp_path / "empty.jsonl").write_text("")
    values = {**world.inputs("base"), "corpus": [str(tmp_path / "empty.jsonl")]}
    with pytest.raises(InputError, match="is empty"):
        run_stage(base, values, tmp_path / "out")
