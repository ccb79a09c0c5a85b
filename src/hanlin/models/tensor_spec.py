"""What is a tensor of a checkpoint: its name, type, shape, bytes and digest?"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# Name in a safetensors header -> (name in torch, bytes of one element).
DTYPES = {
    "F64": ("float64", 8), "F32": ("float32", 4), "F16": ("float16", 2), "BF16": ("bfloat16", 2),
    "I64": ("int64", 8), "I32": ("int32", 4), "I16": ("int16", 2), "I8": ("int8", 1),
    "U8": ("uint8", 1), "BOOL": ("bool", 1),
    "F8_E4M3": ("float8_e4m3fn", 1), "F8_E5M2": ("float8_e5m2", 1),
}  # fmt: skip
FLOATS = ("F64", "F32", "F16", "BF16")


@dataclass(frozen=True)
class TensorSpec:
    """What a tensor is, without its data; `dtype` is the safetensors name ("F32", "BF16", ...)."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """Return the bytes of its data."""
        return math.prod(self.shape) * DTYPES[self.dtype][1]


def torch_dtype(name: str) -> torch.dtype:
    """Return the torch type of a safetensors type name."""
    import torch

    dtype: torch.dtype = getattr(torch, DTYPES[name][0])
    return dtype


def raw_bytes(tensor: torch.Tensor) -> memoryview:
    """Return the bytes of a tensor, little-endian, row by row; of a contiguous one, no copy."""
    import torch

    rows = tensor.detach().cpu().contiguous()
    flat = rows.as_strided((rows.numel(),), (1,))  # one element may have any stride: set it
    return memoryview(flat.view(torch.uint8).numpy())


def tensor_sha256(spec: TensorSpec, tensor: torch.Tensor) -> str:
    """Return the hex digest over dtype, shape and bytes of a tensor."""
    digest = begin_sha256(spec)
    digest.update(raw_bytes(tensor))
    return digest.hexdigest()


def begin_sha256(spec: TensorSpec) -> hashlib._Hash:
    """Return the digest of a tensor whose bytes are still to come."""
    return hashlib.sha256(f"{spec.dtype} {list(spec.shape)}\n".encode())
