"""Training that starts from an adapter: the same weights at its first step, or a refusal."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from hanlin.core.errors import ConfigError, InputError
from hanlin.core.events import read_events
from hanlin.models.manifest import write_manifest
from hanlin.training import finetune
from training_world import run_stage


def losses(context):
    return [e["loss"] for e in read_events(context.events.path) if e["event"] == "metric"]


@pytest.fixture(scope="module")
def trained(world, tmp_path_factory):
    """An adapter that has learned something."""
    values = world.inputs("finetune", lora={"rank": 4}, schedule={"steps": 40})
    return run_stage(finetune, values, tmp_path_factory.mktemp("first") / "out")


def go_on(world, out, folder, **more):
    values = world.inputs("finetune", init_from=str(folder), **more)
    return run_stage(finetune, values, out)


def as_pickle(folder, out, name):
    """Write an adapter as older versions of peft, or the Trainer's checkpoints, did."""
    shutil.copytree(folder, out)
    tensors = load_file(out / "adapter_model.safetensors")
    (out / "adapter_model.safetensors").unlink()
    if name == "pytorch_model.bin":  # the whole model's names
        tensors = {
            n.replace(".weight", ".default.weight") if ".lora_" in n else n: t
            for n, t in tensors.items()
        }
    torch.save(tensors, out / name)
    return out


@pytest.mark.parametrize("name", [None, "adapter_model.bin", "pytorch_model.bin"])
def test_it_starts_where_the_adapter_was(world, tmp_path, trained, name):
    folder = trained.out / "adapter"
    if name is not None:
        folder = as_pickle(folder, tmp_path / "old", name)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    first = losses(go_on(world, tmp_path / "out", folder))[0]
    found = losses(trained)
    assert first < (found[0] + found[-1]) / 2
    assert before == {file.name: file.read_bytes() for file in folder.iterdir()}
    config = json.loads((tmp_path / "out" / "adapter" / "adapter_config.json").read_text())
    assert config["r"] == 4


def test_nothing_learned_nothing_changed(world, tmp_path, trained):
    folder = trained.out / "adapter"
    schedule = {"steps": 1, "learning_rate": 1e-30, "weight_decay": 0.0}
    out = go_on(world, tmp_path / "out", folder, schedule=schedule).out / "adapter"
    old, new = (load_file(path / "adapter_model.safetensors") for path in (folder, out))
    assert old.keys() == new.keys() and all(torch.equal(old[name], new[name]) for name in old)


def test_other_settings_than_the_adapter_s(world, tmp_path, trained):
    with pytest.raises(ConfigError) as caught:
        go_on(world, tmp_path / "out", trained.out / "adapter", lora={"rank": 8})
    assert "lora.rank is 8, but the adapter" in str(caught.value) and "has 4" in str(caught.value)
    assert "delete lora.rank" in str(caught.value)


def test_an_adapter_of_another_base(world, tmp_path, trained):
    shutil.copytree(world.model, tmp_path / "other")
    file = tmp_path / "other" / "model.safetensors"
    tensors = load_file(file)
    tensors["lm_head.weight"] += 1
    save_file(tensors, file, metadata={"format": "pt"})
    values = world.inputs("finetune", init_from=str(trained.out / "adapter"))
    with pytest.raises(InputError, match="was not trained on"):
        run_stage(finetune, {**values, "model": str(tmp_path / "other")}, tmp_path / "out")


def test_an_adapter_of_another_tokenizer(world, tmp_path, trained):
    shutil.copytree(trained.out / "adapter", tmp_path / "other")
    write_manifest(tmp_path / "other", tokenizer_sha256="0" * 64)
    with pytest.raises(InputError, match="is not the one that"):
        go_on(world, tmp_path / "out", tmp_path / "other")


def test_an_adapter_that_lacks_tensors(world, tmp_path, trained):
    shutil.copytree(trained.out / "adapter", tmp_path / "cut")
    file = tmp_path / "cut" / "adapter_model.safetensors"
    tensors = load_file(file)
    tensors.pop(sorted(tensors)[0])
    save_file(tensors, file)
    with pytest.raises(InputError, match="1 tensors are missing, 0 unknown, 0 of another shape"):
        go_on(world, tmp_path / "out", tmp_path / "cut")


def test_a_folder_without_weights(world, tmp_path, trained):
    shutil.copytree(trained.out / "adapter", tmp_path / "empty")
    (tmp_path / "empty" / "adapter_model.safetensors").unlink()
    with pytest.raises(InputError, match="holds no adapter weights"):
        go_on(world, tmp_path / "out", tmp_path / "empty")


def test_a_whole_model_cannot_start_from_an_adapter(world):
    values = world.inputs("finetune", init_from="adapter", method="full")
    with pytest.raises(ValueError, match="merge the adapter into the model"):
        finetune.Config.model_validate(values)
