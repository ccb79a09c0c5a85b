"""Which float numbers does a checkpoint that bitsandbytes quantized stand for?

hanlin weights merge QUANTIZED ADAPTER OUT --dequantize

Behind the name of a quantized weight, transformers saves:

    int8, by rows           MODULE.weight I8 [out, in], MODULE.SCB F32 [out], MODULE.weight_format
    nf4 and fp4, by blocks  MODULE.weight U8 [n / 2, 1], MODULE.weight.absmax, .quant_map,
                            .quant_state.bitsandbytes__nf4, .nested_absmax, .nested_quant_map
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hanlin.core.errors import InputError
from hanlin.core.extras import require
from hanlin.models.tensors import DTYPES, Checkpoint, TensorSpec, torch_dtype

if TYPE_CHECKING:
    import torch

STATE = re.compile(r"\.quant_state\.bitsandbytes__(nf4|fp4)$")
SCALES, FORMAT = ".SCB", ".weight_format"
BY_ROWS = 0  # the only layout of int8 weights that bitsandbytes still writes
SAFETENSORS_NAMES = {name: key for key, (name, _) in DTYPES.items()}


@dataclass(frozen=True)
class Dequantized:
    """A quantized checkpoint as if its numbers had been saved as floats.

    Attributes:
        checkpoint: the tensors in the files.
        specs: the tensors that they stand for.
    """

    checkpoint: Checkpoint
    specs: dict[str, TensorSpec]

    def read(self, name: str) -> torch.Tensor:
        """Return one tensor, in float where it is quantized."""
        found = self.checkpoint.specs
        if self.specs[name] == found[name]:
            return self.checkpoint.read(name)
        bnb = require("bitsandbytes", extra="quantize", purpose="reading a quantized checkpoint")
        packed = self.checkpoint.read(name)
        if _scales(name) in found:
            scales = self.checkpoint.read(_scales(name))
            dense = bnb.functional.int8_vectorwise_dequant(packed, scales)
        else:
            parts = {part: self.checkpoint.read(part) for part in found if _is_part(part, name)}
            state = bnb.functional.QuantState.from_dict(parts, device="cpu")
            dense = bnb.functional.dequantize_4bit(packed, state)
        tensor: torch.Tensor = dense.to(torch_dtype(self.specs[name].dtype))
        return tensor

    def blocks(self, name: str) -> Iterator[torch.Tensor]:
        """Yield the tensor's rows: a quantized one at once, others in blocks."""
        if self.specs[name] == self.checkpoint.specs[name]:
            yield from self.checkpoint.blocks(name)
        else:
            yield self.read(name)


def open_dequantized(checkpoint: Checkpoint, *, dtype: str) -> Dequantized:
    """Return the float tensors of a checkpoint that bitsandbytes quantized.

    Args:
        checkpoint: the opened files.
        dtype: torch name of the type that int8 weights get; 4-bit weights name theirs.

    Raises:
        InputError: int8 weights are in a layout that cannot be read.
    """
    specs: dict[str, TensorSpec] = {}
    for name, spec in checkpoint.specs.items():
        if _is_about_another(name, checkpoint.specs):
            continue
        state = next((part for part in checkpoint.specs if _is_state(part, name)), None)
        if state is not None:
            about = json.loads(bytes(checkpoint.read(state).tolist()))
            kind = SAFETENSORS_NAMES[about["dtype"]]
            spec = TensorSpec(name, kind, tuple(about["shape"]))
        elif _scales(name) in checkpoint.specs:
            _check_format(checkpoint, name)
            spec = TensorSpec(name, SAFETENSORS_NAMES[dtype], spec.shape)
        specs[name] = spec
    return Dequantized(checkpoint, specs)


def quantization_of(config: Mapping[str, Any]) -> str | None:
    """Return how the weights of a `config.json` are quantized ("bitsandbytes", "gptq", ...)."""
    settings = config.get("quantization_config")
    if not settings:
        return None
    # Before it had a name, transformers wrote bitsandbytes' settings alone.
    is_table = isinstance(settings, Mapping)
    return str(settings.get("quant_method", "bitsandbytes")) if is_table else str(settings)


def require_float(
    base: Path, adapter: Path, *, config: Mapping[str, Any], adapter_config: Mapping[str, Any]
) -> None:
    """Refuse a quantized base, naming the float one.

    Raises:
        InputError: the base is quantized.
    """
    method = quantization_of(config)
    if method is None:
        return
    names = (adapter_config.get("base_model_name_or_path"), config.get("_name_or_path"))
    named = [str(name) for name in names if name and Path(str(name)).name != base.name]
    original = named[0] if named else "FLOAT_MODEL"
    otherwise = (
        "; or merge onto the numbers that it was rounded to: add --dequantize"
        if method == "bitsandbytes"
        else ""
    )
    raise InputError(
        f"the base model {base} is quantized ({method})",
        why="a small change added to rounded weights is mostly rounded away; it belongs on the "
        "float model that they were made from",
        fix=f"hanlin weights merge {original} {adapter} OUT --any-base{otherwise}",
    )


def require_bitsandbytes(base: Path, config: Mapping[str, Any]) -> None:
    """Refuse to dequantize what bitsandbytes did not quantize.

    Raises:
        InputError: the base is in float, or quantized by something else.
    """
    method = quantization_of(config)
    if method == "bitsandbytes":
        return
    raise InputError(
        f"the base model {base} cannot be dequantized",
        why="it is in float already" if method is None else f"it is quantized by {method}; "
        "bitsandbytes (int8, nf4, fp4) can be turned back",
        fix="leave --dequantize out" if method is None else "give the float model it was made from",
    )  # fmt: skip


def _scales(name: str) -> str:
    return name.removesuffix(".weight") + SCALES


def _is_state(part: str, name: str) -> bool:
    return part.startswith(f"{name}.") and bool(STATE.search(part))


def _is_part(part: str, name: str) -> bool:
    return part.startswith(f"{name}.")


def _is_about_another(name: str, specs: Mapping[str, TensorSpec]) -> bool:
    """Tell whether a tensor only says how another one was quantized."""
    if name.endswith((SCALES, FORMAT)):
        return f"{name.removesuffix(SCALES).removesuffix(FORMAT)}.weight" in specs
    head, found, _ = name.partition(".weight.")
    return bool(found) and f"{head}.weight" in specs


def _check_format(checkpoint: Checkpoint, name: str) -> None:
    layout = name.removesuffix(".weight") + FORMAT
    if layout not in checkpoint.specs or int(checkpoint.read(layout)) == BY_ROWS:
        return
    raise InputError(
        f"{checkpoint.folder}: {name!r} is stored in a layout for tensor cores",
        why="an old bitsandbytes saved it as it lay on the GPU",
        fix="give the float model that it was made from",
    )
