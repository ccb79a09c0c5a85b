import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from hanlin.core.errors import InputError
from hanlin.models.load import load_model, load_pair
from hanlin.models.manifest import write_manifest
from hanlin.models.tiny import make_tiny
from hanlin.tokenization.train import train_sentencepiece


@pytest.fixture
def tiny(tmp_path):
    return make_tiny(tmp_path / "tiny")


def test_a_model_and_its_tokenizer_run_together(tiny):
    model, tokenizer = load_pair(tiny)
    ids = torch.tensor([[tokenizer.bos_id, *tokenizer.encode("The river 河流", at_start=True)]])
    logits_BTV = model(ids).logits
    assert logits_BTV.shape == (1, ids.shape[1], tokenizer.vocab_size)
    assert not model.training
    assert model.dtype == torch.float32
    assert load_model(tiny, dtype="bfloat16").dtype == torch.bfloat16


def test_a_folder_that_is_no_model(tmp_path):
    (tmp_path / "notes.txt").write_text("no model here")
    with pytest.raises(InputError, match=r"is not a model: it has no config\.json") as caught:
        load_model(tmp_path)
    assert "hanlin model base" in caught.value.fix


def test_a_missing_folder(tmp_path):
    with pytest.raises(InputError, match="gone does not exist"):
        load_model(tmp_path / "gone")


def test_a_file_instead_of_a_folder(tiny):
    with pytest.raises(InputError, match="is a file, not a model folder"):
        load_model(tiny / "config.json")


def test_pickled_weights_are_not_read(tiny):
    (tiny / "model.safetensors").rename(tiny / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"holds no \*\.safetensors weights") as caught:
        load_model(tiny)
    assert "can run code" in caught.value.why


def test_damaged_weights(tiny):
    file = tiny / "model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(InputError, match="could not be loaded as a language model"):
        load_model(tiny)


def test_a_damaged_config(tiny):
    (tiny / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config\.json:1 is not readable JSON"):
        load_model(tiny)


def test_missing_tensors_are_not_made_up(tiny):
    file = tiny / "model.safetensors"
    tensors = load_file(file)
    del tensors["model.layers.0.mlp.up_proj.weight"]
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(InputError, match="lacks 1 of its tensors") as caught:
        load_model(tiny)
    assert "random numbers" in caught.value.why


def test_an_unknown_dtype(tiny):
    with pytest.raises(InputError, match="unknown dtype 'int3'"):
        load_model(tiny, dtype="int3")


def test_a_model_with_fewer_rows_than_its_tokenizer(tiny):
    train_sentencepiece(["The river. " * 9, "古城河流" * 9], vocab_size=290, out=tiny)
    config = json.loads((tiny / "config.json").read_text())
    _shrink(tiny, config, rows=280)
    (tiny / "hanlin.json").unlink()
    with pytest.raises(InputError, match="280 embedding rows but the tokenizer has 2") as caught:
        load_pair(tiny)
    assert "hanlin model grow" in caught.value.fix


def _shrink(folder, config, *, rows):
    tensors = load_file(folder / "model.safetensors")
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        tensors[name] = tensors[name][:rows].contiguous()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": rows}))


def test_another_tokenizer_than_the_manifest_names(tiny):
    write_manifest(tiny, tokenizer_sha256="0" * 64)
    with pytest.raises(InputError, match=r"is not the one that .* was made with") as caught:
        load_pair(tiny)
    assert "tokenizer_sha256 000000000000..." in caught.value.why
    load_model(tiny)  # weights alone are fine
