"""How does a tensor become the bytes of a GGUF file, a block of rows at a time?

Letters of shapes: R rows, C columns.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from hanlin.core.errors import InputError
from hanlin.models.tensors import Checkpoint, TensorSpec
from hanlin.weights.ahead import map_ahead
from hanlin.weights.llama import to_neighbors

if TYPE_CHECKING:
    import numpy as np
    import torch

BLOCK_BYTES = 8 << 20  # twice as much as float32, and some of them at once in the threads
LARGEST_F16 = 65504.0  # also the scale of every quantized block is an f16


@dataclass(frozen=True)
class Layout:
    """How a tensor lies in the file.

    Attributes:
        shape: rows first; fewer rows than the source has where padding is left out.
        quantization: a gguf.GGMLQuantizationType.
        head_size: rows of a head where they change places (see `Architecture.rotated_rows`).
    """

    shape: tuple[int, ...]
    quantization: Any
    head_size: int | None = None

    @property
    def size_bytes(self) -> int:
        """Return how long its data is."""
        from gguf import GGML_QUANT_SIZES

        block_size, block_bytes = GGML_QUANT_SIZES[self.quantization]
        return math.prod(self.shape) // block_size * block_bytes


def stored_blocks(weights: Checkpoint, source: TensorSpec, layout: Layout) -> Iterator[memoryview]:
    """Yield the data of one tensor as it lies in the file, in order; converted in threads.

    Raises:
        InputError: it holds NaN or infinity, or a number that the type cannot hold.
    """
    convert = partial(_convert, name=source.name, layout=layout)
    return map_ahead(convert, _rows(weights, source, layout))


def _rows(weights: Checkpoint, source: TensorSpec, layout: Layout) -> Iterator[torch.Tensor]:
    """Yield blocks of rows in the order of the file, without padding rows."""
    blocks = weights.blocks(source.name, max_bytes=BLOCK_BYTES)
    if layout.head_size is not None:
        yield from to_neighbors((b.reshape(len(b), -1) for b in blocks), layout.head_size)
        return
    left = layout.shape[0]
    for block in blocks:
        yield block[:left]
        left -= len(block)
        if left <= 0:
            return


def _convert(block_RC: torch.Tensor, *, name: str, layout: Layout) -> memoryview:
    import numpy as np
    import torch
    from gguf import GGMLQuantizationType as Kinds
    from gguf.quants import quantize

    _refuse_bad_numbers(block_RC, name=name, kind=layout.quantization.name)
    floats = {Kinds.F32: torch.float32, Kinds.F16: torch.float16, Kinds.BF16: torch.bfloat16}
    if layout.quantization in floats:
        stored_RC = block_RC.to(floats[layout.quantization]).contiguous()
        return memoryview(stored_RC.reshape(-1).view(torch.uint8).numpy())
    quantized: np.ndarray = quantize(block_RC.float().contiguous().numpy(), layout.quantization)
    return quantized.reshape(-1).view(np.uint8).data


def _refuse_bad_numbers(block_RC: torch.Tensor, *, name: str, kind: str) -> None:
    low, high = block_RC.aminmax()
    largest = max(-float(low), float(high))  # NaN goes through aminmax
    if not math.isfinite(largest):
        raise InputError(
            f"the tensor {name!r} holds NaN or infinity",
            why="a model with such a weight answers with nothing else",
            fix="hanlin weights verify MODEL shows how many there are; use an earlier checkpoint",
        )
    if largest > LARGEST_F16 and kind not in ("F32", "BF16"):
        raise InputError(
            f"the tensor {name!r} does not fit into {kind.lower()}: it has {largest:.3g}",
            why=f"16-bit floats, also those that scale quantized blocks, end at {LARGEST_F16:.0f}",
            fix="export bf16 or f32",
        )
