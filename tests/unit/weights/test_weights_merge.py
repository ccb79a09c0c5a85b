"""What a merged folder holds, and which pairs of base and adapter are refused."""

import pytest
import torch
from safetensors.torch import save_file

from hanlin.core.errors import InputError, StageFailedError
from hanlin.core.events import EventLog, read_events
from hanlin.core.files import read_json, sha256, write_json
from hanlin.core.stage import StageContext
from hanlin.models.load import load_pair
from hanlin.models.manifest import read_manifest, weights_sha256, write_manifest
from hanlin.models.tiny import make_tiny
from hanlin.prompts.formats import get_format
from hanlin.prompts.probe import prompt_record
from hanlin.tokenization.load import load
from hanlin.weights.merge.check import LogitCheck, compare_logits, require_same
from hanlin.weights.merge.inputs import open_inputs
from hanlin.weights.merge.merge import STAGE, Config, merge

Q = "base_model.model.model.layers.0.self_attn.q_proj"


def save_adapter(folder, model, **manifest):
    generator = torch.Generator().manual_seed(3)
    tensors = {
        f"{Q}.lora_A.weight": torch.randn(2, 32, generator=generator),
        f"{Q}.lora_B.weight": torch.randn(32, 2, generator=generator),
    }
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "lora_alpha": 4, "bias": "none",
        "target_modules": ["q_proj"], "layers_to_transform": [0], "init_lora_weights": True,
        "base_model_name_or_path": str(model),
    }  # fmt: skip
    write_json(folder / "adapter_config.json", config)
    save_file(tensors, folder / "adapter_model.safetensors")
    tokenizer = load(model)
    fields = {
        "tokenizer_sha256": tokenizer.sha256,
        "prompt": prompt_record(get_format("plain"), tokenizer),
    }
    write_manifest(folder, **{**fields, **manifest})
    return folder


def merge_adapter(base, adapter, out, **settings):
    return merge(Config(base=str(base), adapter=str(adapter), **settings), out)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("base"))


@pytest.fixture
def adapter(base, tmp_path):
    return save_adapter(tmp_path / "adapter", base)


def test_merged_folder_is_complete(base, adapter, tmp_path):
    out = tmp_path / "out"
    report = merge_adapter(base, adapter, out)
    model, tokenizer = load_pair(out)
    assert report.changed == 1 and report.tensors == 21
    assert report.check.probes == 4  # the conversation of the manifest, and three texts
    assert report.check.max_difference < 1e-4
    record = read_json(out / "merge.json")
    assert record["logits"]["max_difference"] < 1e-4
    digest = sha256(adapter / "adapter_model.safetensors")
    assert record["adapters"] == [{"name": "adapter", "sha256": digest, "weight": 1.0, "sum": 0}]
    assert (out / "config.json").read_bytes() == (base / "config.json").read_bytes()
    assert (out / "generation_config.json").is_file()
    assert tokenizer.sha256 == load(base).sha256
    assert (out / "tokenizer.model").read_bytes() == (base / "tokenizer.model").read_bytes()
    assert read_manifest(out) == {**read_manifest(base), **read_manifest(adapter)}
    assert tokenizer.chat_template and "Assistant:" in tokenizer.chat_template
    assert not torch.equal(
        model.model.layers[0].self_attn.q_proj.weight,
        load_pair(base)[0].model.layers[0].self_attn.q_proj.weight,
    )
    assert sorted(read_json(out / "tensors.json")["tensors"]) == sorted(
        name for name in model.state_dict()
    )


def test_adapter_without_manifest_is_merged_without_prompt(base, adapter, tmp_path):
    (adapter / "hanlin.json").unlink()
    merge_adapter(base, adapter, tmp_path / "out")
    assert "prompt" not in read_manifest(tmp_path / "out")


def test_what_the_base_knows_of_itself_is_kept(base, adapter, tmp_path):
    write_manifest(base, base_vocab_size=300)
    merge_adapter(base, adapter, tmp_path / "out", check_logits=False)
    write_manifest(base, base_vocab_size=None)
    assert read_manifest(tmp_path / "out") == {**read_manifest(adapter), "base_vocab_size": 300}


def test_two_merges_have_the_same_bytes(base, adapter, tmp_path):
    for name in ("a", "b"):
        merge_adapter(base, adapter, tmp_path / name)
    assert sha256(tmp_path / "a") == sha256(tmp_path / "b")


def test_adapter_of_another_tokenizer(base, tmp_path):
    adapter = save_adapter(tmp_path / "adapter", base, tokenizer_sha256="0" * 64)
    with pytest.raises(InputError) as caught:
        merge_adapter(base, adapter, tmp_path / "out")
    assert "was trained with another tokenizer than" in str(caught.value)
    assert "000000000000..." in caught.value.why
    assert "after a vocabulary was grown, the grown one" in caught.value.fix
    assert not (tmp_path / "out").exists()


def test_adapter_of_a_prompt_that_changed(base, tmp_path):
    record = {"format": "plain", "probe_ids": [1, 2, 3]}
    adapter = save_adapter(tmp_path / "adapter", base, prompt=record)
    with pytest.raises(InputError, match="no longer gives the ids it was trained with"):
        merge_adapter(base, adapter, tmp_path / "out")


def test_base_that_is_no_model(adapter, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="is not a model"):
        merge_adapter(tmp_path / "empty", adapter, tmp_path / "out")


def test_other_logits_fail(base, adapter, tmp_path):
    inputs = open_inputs(base, [[(adapter, 1.0)]], any_base=False, dequantize=False)
    check = compare_logits(inputs, base, probes=[[1, 5, 9, 40]])
    assert not check.is_ok
    with pytest.raises(StageFailedError) as caught:
        require_same(check, inputs)
    assert "the merged model does not compute what" in str(caught.value)
    assert "can come from rounding" in str(caught.value)


def test_nan_is_not_ok():
    assert not LogitCheck(float("nan"), 0.0, 1e-4, 1).is_ok


def test_stage_writes_anew_what_a_kill_left(base, adapter, tmp_path):
    context = StageContext("merge", tmp_path / "out", 0, EventLog(tmp_path / "events.jsonl"))
    left = context.out / "model" / ".model.safetensors.123.part"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    STAGE.run(Config(base=str(base), adapter=str(adapter)), context)
    assert not left.exists()
    load_pair(context.out / "model")
    (event,) = read_events(tmp_path / "events.jsonl")
    assert event["event"] == "metric" and event["changed"] == 1
    assert event["logits"]["max_difference"] < 1e-4


def test_stage_estimates_another_copy(base, adapter):
    config = Config(base=str(base), adapter=str(adapter))
    size = (base / "model.safetensors").stat().st_size
    assert STAGE.estimate(config).disk_bytes == size
    always = config.model_copy(update={"check_logits": True})
    assert STAGE.estimate(always).memory_bytes == STAGE.estimate(config).memory_bytes + 2 * size
    assert STAGE.estimate(Config(base="owner/name", adapter="a")).disk_bytes is None
    assert STAGE.outputs_of(config) == {"model": ("model", "model")}


def test_weights_that_the_adapter_was_not_trained_on_are_refused(base, tmp_path):
    other = make_tiny(tmp_path / "other", seed=9)
    trained_on = {"hub_id": None, "weights_sha256": weights_sha256(base)}
    adapter = save_adapter(tmp_path / "adapter", base, base=trained_on)
    merge_adapter(base, adapter, tmp_path / "right", check_logits=False)
    with pytest.raises(InputError, match="trained on other weights") as caught:
        merge_adapter(other, adapter, tmp_path / "wrong", check_logits=False)
    assert "--any-base" in caught.value.fix and not (tmp_path / "wrong").exists()
    report = merge_adapter(other, adapter, tmp_path / "any", check_logits=False, any_base=True)
    assert report.changed == 1
