"""Every method of finetuning on a tiny model: it learns, is read back, resumes exactly."""

import importlib.util
import re
import sys

import pytest
import torch
from safetensors.torch import load_file

from hanlin.core.errors import ConfigError, MissingExtraError
from hanlin.core.events import read_events
from hanlin.models.load import load_model
from hanlin.training import finetune, methods, pretrain
from hanlin.training.schedule import Schedule
from hanlin.training.trainer import StepTrainer
from training_world import bytes_of, run_stage

needs_bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)
QUANTIZED = [pytest.param(name, marks=needs_bitsandbytes) for name in ("int8", "qlora")]


def losses(context):
    return [e["loss"] for e in read_events(context.events.path) if e["event"] == "metric"]


@pytest.mark.parametrize("method", ["full", "lora", *QUANTIZED])
def test_each_method_learns(world, tmp_path, method):
    values = world.inputs("finetune", method=method, schedule={"steps": 30})
    context = run_stage(finetune, values, tmp_path / "out")
    found = losses(context)
    assert sum(found[-5:]) < sum(found[:5])
    output = "model" if method == "full" else "adapter"
    assert (context.out / output / "hanlin.json").is_file()


@pytest.mark.parametrize("method", QUANTIZED)
def test_an_adapter_on_a_quantized_base_is_what_was_trained(world, tmp_path, monkeypatch, method):
    import peft

    ids, kept = torch.arange(5, 25)[None], {}
    own = StepTrainer.train

    def train_and_keep(self, *args, **kwargs):
        done = own(self, *args, **kwargs)
        self.model.eval()
        with torch.no_grad():
            kept["logits"] = self.model(input_ids=ids, use_cache=False).logits
        return done

    monkeypatch.setattr(StepTrainer, "train", train_and_keep)
    values = world.inputs("finetune", method=method)
    folder = run_stage(finetune, values, tmp_path / "out").out / "adapter"
    base, _ = methods.load_for(method, str(world.model), precision="fp32")
    again = peft.PeftModel.from_pretrained(base, folder).eval()
    with torch.no_grad():
        logits = again(input_ids=ids, use_cache=False).logits
        changed = (logits - load_model(world.model)(input_ids=ids).logits).abs().max()
    assert torch.equal(logits, kept["logits"])
    assert changed > 0.01


@pytest.mark.parametrize("method", QUANTIZED)
def test_killed_and_repeated_it_ends_in_the_same_bytes(world, tmp_path, method):
    values = world.inputs("finetune", method=method, lora={"dropout": 0.2})

    def interrupt(done, total, text):
        if done == 7:
            raise KeyboardInterrupt

    run_stage(finetune, values, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run_stage(finetune, values, tmp_path / "cut", progress=interrupt)
    run_stage(finetune, values, tmp_path / "cut")
    assert bytes_of(tmp_path / "cut" / "adapter") == bytes_of(tmp_path / "whole" / "adapter")


@pytest.mark.parametrize("lora", [{"use_rslora": True}, {"use_dora": True}])
def test_kinds_of_adapters(world, tmp_path, lora):
    values = world.inputs("finetune", lora=lora, schedule={"steps": 20})
    context = run_stage(finetune, values, tmp_path / "out")
    plain = run_stage(
        finetune, world.inputs("finetune", schedule={"steps": 20}), tmp_path / "plain"
    )
    assert sum(losses(context)[-5:]) < sum(losses(context)[:5])
    assert losses(context) != losses(plain)
    saved = load_file(context.out / "adapter" / "adapter_model.safetensors")
    has_lengths = any("lora_magnitude_vector" in name for name in saved)
    assert has_lengths == bool(lora.get("use_dora"))


def test_lora_plus_lets_b_learn_faster(world, tmp_path, monkeypatch):
    rates = {}
    own = StepTrainer.create_optimizer

    def create_and_look(self, *args):
        optimizer = own(self, *args)
        names = {p: name for name, p in self.model.named_parameters()}
        for group in optimizer.param_groups:
            rates.update({names[p]: group["lr"] for p in group["params"]})
        return optimizer

    monkeypatch.setattr(StepTrainer, "create_optimizer", create_and_look)
    schedule = {"lora_plus_ratio": 4.0, "learning_rate": 1e-3, "steps": 2}
    run_stage(finetune, world.inputs("finetune", schedule=schedule), tmp_path / "out")
    assert {rate for name, rate in rates.items() if ".lora_B." in name} == {4e-3}
    assert {rate for name, rate in rates.items() if ".lora_B." not in name} == {1e-3}
    assert any("trainable_tokens_delta" in name for name in rates)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_recomputed_activations_change_nothing(world, tmp_path, method):
    found = []
    for is_on in (False, True):
        schedule = {"gradient_checkpointing": is_on}
        values = world.inputs("finetune", method=method, schedule=schedule)
        found.append(losses(run_stage(finetune, values, tmp_path / str(is_on))))
    assert found[0] == pytest.approx(found[1], abs=1e-6)


def test_noise_in_the_embeddings(world, tmp_path):
    values = world.inputs("finetune", method="full", schedule={"neftune_alpha": 5.0})
    noisy = run_stage(finetune, values, tmp_path / "noisy")
    plain = run_stage(finetune, world.inputs("finetune", method="full"), tmp_path / "plain")
    assert losses(noisy) != losses(plain)
    load_model(noisy.out / "model")


def test_any_argument_of_the_trainer(world, tmp_path):
    values = world.inputs("pretrain", trainer={"adam_epsilon": 1e-3}, schedule={"steps": 4})
    changed = run_stage(pretrain, values, tmp_path / "changed")
    plain = run_stage(pretrain, world.inputs("pretrain", schedule={"steps": 4}), tmp_path / "plain")
    assert losses(changed)[0] == losses(plain)[0] and losses(changed)[3] != losses(plain)[3]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (
            {"adam_epsilom": 1.0},
            "trainer.adam_epsilom is no argument .*did you mean 'adam_epsilon'",
        ),
        ({"learning_rate": 1.0}, "has a key of its own here: schedule.learning_rate"),
        ({"save_strategy": "no"}, "trainer.save_strategy cannot be set"),
        ({"seed": 3}, "trainer.seed cannot be set.*exact resuming"),
        ({"eval_strategy": "never"}, "transformers refuses the arguments below the key `trainer`"),
    ],
)
def test_arguments_that_are_refused(world, tmp_path, argument, message):
    with pytest.raises(ConfigError) as caught:
        run_stage(pretrain, world.inputs("pretrain", trainer=argument), tmp_path / "out")
    assert re.search(message, str(caught.value).replace("\n", " "))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("name", ["adamw-8bit", "paged-adamw", "paged-adamw-8bit"])
def test_optimizers_of_a_gpu(world, tmp_path, name):
    values = world.inputs("pretrain", schedule={"optimizer": name})
    with pytest.raises(ConfigError, match=f"schedule.optimizer {name} needs a GPU"):
        run_stage(pretrain, values, tmp_path / "out")


def test_precision_follows_the_machine():
    from hanlin.training.arguments import precision_of

    expected = ("bf16", "fp16") if torch.cuda.is_available() else ("fp32",)
    assert precision_of(Schedule()) in expected
    assert precision_of(Schedule(precision="bf16")) == "bf16"


def test_without_bitsandbytes(world, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(MissingExtraError) as caught:
        methods.load_for("qlora", str(world.model), precision="fp32")
    assert "hanlin[quantize]" in str(caught.value)


@needs_bitsandbytes
def test_a_quantized_model_has_no_weights_to_train(world, tmp_path):
    from hanlin.weights.quantize.quantize import Options, quantize_model

    quantize_model(world.model, tmp_path / "nf4", options=Options("nf4"))
    with pytest.raises(ConfigError, match="is quantized by bitsandbytes, which method full cannot"):
        methods.load_for("full", str(tmp_path / "nf4"), precision="fp32")
    model, _ = methods.load_for("qlora", str(tmp_path / "nf4"), precision="fp32")
    assert model.is_loaded_in_4bit
