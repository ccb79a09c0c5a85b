import errno

import pytest
import torch
from safetensors.torch import save_file

from hanlin.core.errors import InputError, ResourceError
from hanlin.models.load import load_pair
from hanlin.models.manifest import read_manifest
from hanlin.models.save import disk_errors, quiet_transformers, save_model
from hanlin.models.tiny import make_tiny


def test_a_saved_model_is_complete_and_the_same(tmp_path):
    model, tokenizer = load_pair(make_tiny(tmp_path / "a"))
    save_model(model, tokenizer, tmp_path / "b", prompt={"format": "plain"})
    again, _ = load_pair(tmp_path / "b")
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
    assert read_manifest(tmp_path / "b")["prompt"] == {"format": "plain"}
    assert (tmp_path / "b" / "tokenizer.model").exists()


def test_a_file_in_the_way_of_the_folder(tmp_path):
    model, tokenizer = load_pair(make_tiny(tmp_path / "a"))
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="Not a directory"):
        save_model(model, tokenizer, tmp_path / "file" / "out")


def test_errors_of_safetensors_say_what_to_do(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="Not a directory"), disk_errors(tmp_path):
        save_file({"a": torch.zeros(3)}, tmp_path / "file" / "a.safetensors")


def test_a_full_disk_is_a_matter_of_resources(tmp_path):
    with pytest.raises(ResourceError, match="the disk is full"), disk_errors(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_other_errors_pass_through(tmp_path):
    with pytest.raises(ValueError, match=r"\(os error 2\)"), disk_errors(tmp_path):
        raise ValueError("(os error 2)")


def test_progress_bars_come_back():
    from transformers.utils import logging

    logging.enable_progress_bar()
    with quiet_transformers():
        assert not logging.is_progress_bar_enabled()
    assert logging.is_progress_bar_enabled()
