"""How is a model written, so that the folder is complete: weights, configs, tokenizer, manifest?"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hanlin.core.extras import require
from hanlin.core.files import os_error, read_json, write_json
from hanlin.models.manifest import write_manifest
from hanlin.tokenization.load import Tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def save_model(model: PreTrainedModel, tokenizer: Tokenizer, out: Path, **fields: object) -> Path:
    """Write a complete model folder: weights, configs, tokenizer files and `hanlin.json`.

    Args:
        model: any causal language model.
        tokenizer: its tokenizer; the token ids in both configs are set from it.
        out: the folder.
        fields: more for `hanlin.json`, for example `prompt`.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    set_token_ids(model, tokenizer)
    save_weights(model, out)
    tokenizer.save(out)
    write_manifest(out, tokenizer_sha256=tokenizer.sha256, **fields)
    return out


def save_weights(model: PreTrainedModel, out: Path) -> None:
    """Write weights and configs alone, readable for whom the user's other files are.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    with disk_errors(out), quiet_transformers():
        out.mkdir(parents=True, exist_ok=True)
        model.save_pretrained(str(out))
        mask = os.umask(0)  # it can only be read by setting it
        os.umask(mask)
        for file in out.glob("*.safetensors"):
            file.chmod(0o666 & ~mask)  # safetensors 0.8 makes them the user's alone


def set_token_ids(model: Any, tokenizer: Tokenizer) -> None:  # noqa: ANN401 - a PreTrainedModel
    """Write the tokenizer's begin, end and padding ids into the model's two configs."""
    for config in (model.config, model.generation_config):
        config.bos_token_id = tokenizer.bos_id
        config.eos_token_id = tokenizer.eos_id
        config.pad_token_id = tokenizer.pad_id


def write_stop_ids(folder: Path, ids: Sequence[int]) -> None:
    """Let other programs stop at each of several tokens: in a model's `generation_config.json`.

    With one token nothing is written: it is the tokenizer's end token, which they know.

    Raises:
        ResourceError: the folder cannot be written.
    """
    if len(ids) < 2:
        return
    file = folder / "generation_config.json"
    settings = read_json(file) if file.is_file() else {}
    write_json(file, settings | {"eos_token_id": list(ids)})


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn errors of writing below `path` into ones that say what to do.

    safetensors wraps the system's error in its own class and keeps only the number, as text.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
        InputError: the path cannot exist.
    """
    try:
        yield
    except OSError as error:
        raise os_error(error, path) from error
    except Exception as error:
        number = re.search(r"\(os error (\d+)\)", str(error))
        if type(error).__name__ != "SafetensorError" or number is None:
            raise
        code = int(number[1])
        raise os_error(OSError(code, os.strerror(code)), path) from error


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Hide transformers' own progress bars: a command draws its own."""
    log = require("transformers.utils.logging", extra="train", purpose="loading a model")
    was_on = log.is_progress_bar_enabled()
    log.disable_progress_bar()
    try:
        yield
    finally:
        if was_on:
            log.enable_progress_bar()
