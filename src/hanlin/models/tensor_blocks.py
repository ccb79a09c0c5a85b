"""How is a tensor read from a file, in blocks of rows and into memory of its own?

Files are read, not mapped: pages of a mapped file count as resident, so that a command that goes
through 26 GB would fill the memory with them.
"""

from __future__ import annotations

import io
import math
import mmap
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hanlin.core.errors import InputError
from hanlin.core.files import os_error
from hanlin.models.tensor_spec import DTYPES, TensorSpec, raw_bytes, torch_dtype

if TYPE_CHECKING:
    import torch

BLOCK_BYTES = 32 << 20
MAPPED_BYTES = 1 << 20  # memory from here on is asked of the system, not of malloc


@dataclass(frozen=True)
class Place:
    """Where the data of a tensor is.

    Attributes:
        file: the file.
        offset: of the first element, in bytes from the file's start.
        strides: elements between neighbors in each dimension; None: row by row without gaps.
    """

    file: Path
    offset: int
    strides: tuple[int, ...] | None = None


def read_blocks(spec: TensorSpec, place: Place, *, max_bytes: int) -> Iterator[torch.Tensor]:
    """Yield consecutive blocks of rows (dimension 0), at least one.

    Args:
        spec: the tensor.
        place: where it is. One that is not stored row by row is read as a whole.
        max_bytes: of a block; one row is the least.

    Raises:
        InputError: the file ends too early or cannot be read.
    """
    rows = block_rows(spec, max_bytes)
    try:
        with place.file.open("rb", buffering=0) as stream:
            if place.strides is not None:
                yield from _read_strided(stream, spec, place).split(rows)
                return
            stream.seek(place.offset)
            count = spec.shape[0] if spec.shape else 1
            for start in range(0, count, rows) or (0,):
                shape = (min(rows, count - start), *spec.shape[1:]) if spec.shape else ()
                yield _read_next(stream, shape, spec.dtype)
    except OSError as error:
        raise os_error(error, place.file) from error


def block_rows(spec: TensorSpec, max_bytes: int) -> int:
    """Return how many rows of a tensor a block of at most `max_bytes` has."""
    row_bytes = math.prod(spec.shape[1:]) * DTYPES[spec.dtype][1]
    return max(1, max_bytes // row_bytes if row_bytes else math.prod(spec.shape[:1]))


def _read_next(stream: io.FileIO, shape: tuple[int, ...], dtype: str) -> torch.Tensor:
    block = _new_tensor(shape, dtype)
    left = raw_bytes(block)
    while left:
        count = stream.readinto(left)
        if not count:
            raise InputError(
                f"{stream.name} ends {len(left)} bytes too early",
                why="it was cut while it was being read, or before",
                fix="download or copy it again",
            )
        left = left[count:]
    return block


def _new_tensor(shape: tuple[int, ...], dtype: str) -> torch.Tensor:
    """Return an uninitialized tensor whose memory goes back to the system with it.

    What malloc gives and gets back in several threads leaves holes in its heap: with blocks from
    there, copying a checkpoint took 0.5 GB more.
    """
    import torch

    size = math.prod(shape) * DTYPES[dtype][1]
    if size < MAPPED_BYTES:
        return torch.empty(shape, dtype=torch_dtype(dtype))
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel without them; they make the first touch cheaper
            memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=torch_dtype(dtype)).reshape(shape)


def _read_strided(stream: io.FileIO, spec: TensorSpec, place: Place) -> torch.Tensor:
    """Return a tensor that is a view of something larger, as rows without gaps."""
    assert place.strides is not None
    stream.seek(place.offset)
    stored = _read_next(stream, (span(spec.shape, place.strides),), spec.dtype)
    return stored.as_strided(spec.shape, place.strides).contiguous()


def span(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """Return the elements from the first to the last of a view, both counted."""
    if 0 in shape:
        return 0
    return 1 + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
