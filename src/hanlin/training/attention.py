"""Which attention is a model trained with? With flash attention rows need no padding.

All of them give packed documents the same logits (`packing_check` proves it in each run).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from transformers.utils import is_flash_attn_2_available

from hanlin.core.errors import ConfigError
from hanlin.data.collate import attention_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

AUTO, FLASH = "auto", "flash_attention_2"


@contextmanager
def training_attention(model: PreTrainedModel, wanted: str, *, precision: str) -> Iterator[None]:
    """Use an attention implementation while the block runs; put the old one back behind it.

    Args:
        model: the language model, without an adapter around it.
        wanted: "sdpa", "eager" or "flash_attention_2"; "auto" leaves the model's own.
        precision: "fp32", "bf16" or "fp16".

    Raises:
        ConfigError: the model, the machine or the precision does not go with it.
    """
    before = attention_of(model)
    if wanted == AUTO:
        wanted = before
    if wanted == FLASH:
        _check_flash(precision)
    if wanted != before:
        _set(model, wanted)
    try:
        yield
    finally:
        if wanted != before:
            model.set_attn_implementation(before)


def _check_flash(precision: str) -> None:
    if precision == "fp32":
        raise ConfigError(
            "schedule.attention is flash_attention_2 but schedule.precision is fp32",
            why="flash attention computes in 16 bits only",
            fix="set schedule.precision to bf16, or schedule.attention to sdpa",
        )
    if not is_flash_attn_2_available():
        raise ConfigError(
            "schedule.attention is flash_attention_2, which cannot be used here",
            why="the package flash-attn is not installed, or torch sees no CUDA device",
            fix="pip install flash-attn --no-build-isolation, or set schedule.attention to auto",
        )
    os.environ.setdefault("FLASH_ATTENTION_DETERMINISTIC", "1")  # transformers reads it


def _set(model: PreTrainedModel, wanted: str) -> None:
    try:
        model.set_attn_implementation(wanted)
    except (ValueError, ImportError) as error:
        raise ConfigError(
            f"schedule.attention is {wanted}, which this model does not have",
            why=str(error).partition("\n")[0][:200],
            fix="set schedule.attention to auto",
        ) from error


def autocast(model: PreTrainedModel, precision: str) -> torch.autocast:
    """Return the context in which a model computes as it does in training."""
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.bfloat16)
    return torch.autocast(model.device.type, dtype=dtype, enabled=precision != "fp32")
