"""What is found in a checkpoint that is not whole."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from hanlin.core.errors import InputError
from hanlin.core.files import read_json, write_json
from hanlin.models.manifest import write_manifest
from hanlin.models.tensors import open_checkpoint, write_checkpoint
from hanlin.models.tiny import make_tiny
from hanlin.weights.verify import verify_checkpoint

NORM, UP = "model.norm.weight", "model.layers.1.mlp.up_proj.weight"


@pytest.fixture
def model(tmp_path):
    """A model folder with a `tensors.json`."""
    folder = make_tiny(tmp_path / "model")
    checkpoint = open_checkpoint(folder)
    tensors = {name: checkpoint.read(name).clone() for name in checkpoint.specs}
    write_checkpoint(folder, list(checkpoint.specs.values()), lambda spec: tensors[spec.name])
    return folder


def change(folder, **tensors):
    """Replace tensors of the file, without `tensors.json` knowing."""
    file = folder / "model.safetensors"
    content = {**load_file(file), **{name.replace("__", "."): t for name, t in tensors.items()}}
    save_file({name: t for name, t in content.items() if t is not None}, file)


def found(folder):
    return [(f.level, f.where, f.what) for f in verify_checkpoint(folder).findings]


def test_whole_model_has_no_findings(model):
    report = verify_checkpoint(model)
    assert report.findings == () and report.has_digests
    assert report.tensors == 21 and report.dtypes == {"F32": 21}
    assert report.to_json()["findings"] == []


def test_changed_bytes(model):
    change(model, **{NORM: torch.full((32,), 2.0)})
    what = "its content changed since tensors.json was written"
    assert found(model) == [("error", NORM, what)]


def test_missing_and_unknown_tensors(model):
    change(model, **{NORM: None, "extra": torch.ones(2)})
    assert found(model) == [
        ("error", "extra", "tensors.json does not know it"),
        ("error", NORM, "tensors.json names it, but it is not there"),
    ]


def test_nan_infinite_and_empty(model):
    (model / "tensors.json").unlink()
    broken = torch.ones(32)
    broken[0], broken[1], broken[2] = float("nan"), float("inf"), float("-inf")
    change(model, **{NORM: broken, UP: torch.empty(0, 32)})
    assert found(model) == [
        ("error", UP, "it is empty (shape [0, 32])"),
        ("error", NORM, "1 NaN and 2 infinite of 32 values"),
    ]
    assert not verify_checkpoint(model).has_digests


def test_mix_of_types(model):
    (model / "tensors.json").unlink()
    change(model, **{NORM: torch.ones(32, dtype=torch.bfloat16)})
    assert found(model) == [("warning", NORM, "tensors have several float types: 1 BF16, 20 F32")]


def test_padding_rows_and_missing_rows(model):
    (model / "tensors.json").unlink()
    rows = read_json(model / "config.json")["vocab_size"]
    embedding, head = "model.embed_tokens.weight", "lm_head.weight"
    change(model, **{embedding: torch.ones(rows + 4, 32), head: torch.ones(9, 32)})
    configured = f"but vocab_size in config.json is {rows}"
    assert found(model) == [
        ("error", embedding, f"{rows + 4} rows, {configured}"),
        ("warning", embedding, "4 rows more than the tokenizer has entries (padding)"),
        ("error", head, f"9 rows, {configured}"),
        ("error", head, f"9 rows, but the tokenizer has {rows} entries"),
    ]


def test_another_tokenizer(model):
    write_manifest(model, tokenizer_sha256="f" * 64)
    ((level, where, what),) = found(model)
    assert (level, where) == ("error", "model")
    assert "is not the one that" in what and "ffffffffffff" in what


def test_another_prompt(model):
    write_manifest(model, prompt={"format": "plain", "probe_ids": [1]})
    ((level, _, what),) = found(model)
    assert level == "error" and "no longer gives the ids it was trained with" in what


def test_adapter_folder(tmp_path):
    write_json(tmp_path / "adapter_config.json", {})
    save_file({"a": torch.tensor([float("nan")])}, tmp_path / "adapter_model.safetensors")
    assert found(tmp_path) == [("error", "a", "1 NaN and 0 infinite of 1 values")]


def test_damaged_file(model):
    (model / "model.safetensors").write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match="is damaged or is no safetensors file"):
        verify_checkpoint(model)
