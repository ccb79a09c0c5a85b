"""How does a piece of a tensor become few bytes beside the same piece of another, and back?

Not floats are subtracted but their bit patterns, as integers modulo 2 to the number of bits: that
can be undone for every pattern, NaN payloads and signed zeros included. Close floats have close
patterns, so small differences have high bytes of zeros; sorted into byte planes they compress.
Zigzag numbers (0, -1, 1, -2 ... become 0, 1, 2, 3 ...) keep negative ones small. On weights moved
by 0.1 to 1 % this leaves 3 to 14 % fewer bytes than XOR does (docs/log.md).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from hanlin.core.errors import ConfigError
from hanlin.core.extras import require
from hanlin.core.registry import did_you_mean
from hanlin.models.tensors import DTYPES, TensorSpec, raw_bytes, torch_dtype

if TYPE_CHECKING:
    import numpy as np
    import torch

    Integers = np.ndarray[Any, np.dtype[np.signedinteger[Any]]]

COMPRESSIONS = ("zstd", "none")
CHUNK_BYTES = 8 << 20  # a part of the format: recovering cuts tensors as making the diff did
LEVEL = 1  # on byte planes the higher levels are slower and no smaller
LENGTH_BYTES = 8  # little-endian, before each zstd frame
TILE = 1 << 16  # numbers that are worked on while they are in the processor's cache


def check_compression(name: str) -> None:
    """Refuse an unknown compression, and zstd where it is not installed.

    Raises:
        ConfigError: the name is unknown.
        MissingExtraError: the package for it is missing.
    """
    if name not in COMPRESSIONS:
        raise ConfigError(
            f"unknown compression {name!r}",
            why=f"known: {', '.join(COMPRESSIONS)}",
            fix=did_you_mean(name, COMPRESSIONS) or "give one of them",
        )
    if name == "zstd":
        _zstandard()


def chunk_shapes(spec: TensorSpec) -> list[tuple[int, ...]]:
    """Return the shapes of the row blocks that a tensor is cut into."""
    if not spec.shape or not spec.size_bytes:
        return [spec.shape] if spec.size_bytes else []
    rows = spec.shape[0]
    step = chunk_bytes(spec) * rows // spec.size_bytes
    return [(min(step, rows - first), *spec.shape[1:]) for first in range(0, rows, step)]


def chunk_bytes(spec: TensorSpec) -> int:
    """Return the bytes of all chunks of a tensor but the last: whole rows, at least one."""
    row_bytes = max(1, math.prod(spec.shape[1:]) * DTYPES[spec.dtype][1])
    return max(1, CHUNK_BYTES // row_bytes) * row_bytes


def pack(chunk: torch.Tensor, base: torch.Tensor | None, *, compression: str) -> bytes | memoryview:
    """Return one chunk as bytes.

    Args:
        chunk: rows of the tuned tensor.
        base: the same rows of the base's tensor, if there are any; fewer are continued with zeros.
        compression: "zstd" or "none".
    """
    import numpy as np

    numbers = _integers(chunk)
    if base is not None:
        numbers = _difference(numbers, _continued(_integers(base), numbers.size))
    octets = numbers.view(np.uint8)
    if compression == "none":
        return octets.data
    planes = np.ascontiguousarray(octets.reshape(-1, numbers.itemsize).T)
    frame: bytes = _zstandard().ZstdCompressor(level=LEVEL).compress(planes)
    return len(frame).to_bytes(LENGTH_BYTES, "little") + frame


def unpack(
    packed: bytes | memoryview,
    base: torch.Tensor | None,
    *,
    spec: TensorSpec,
    shape: tuple[int, ...],
    compression: str,
) -> torch.Tensor:
    """Return the chunk that was packed, of shape `shape`.

    Args:
        packed: one item of `split_packed`.
        base: what `pack` was given.
        spec: the tensor that it is a part of.
        shape: of the chunk.
        compression: as it was packed.

    Raises:
        ValueError: the bytes are damaged.
    """
    import numpy as np
    import torch

    width = DTYPES[spec.dtype][1]
    size = math.prod(shape) * width
    octets = np.empty((size // width, width), np.uint8)
    if compression == "zstd":
        planes = np.frombuffer(_decompress(packed, size), np.uint8).reshape(width, -1)
        for number, plane in enumerate(planes):
            octets[:, number] = plane
    else:
        octets.reshape(-1)[:] = np.frombuffer(packed, np.uint8)
    if base is not None:
        numbers = octets.reshape(-1).view(f"<i{width}")
        _undo_difference(numbers, _continued(_integers(base), numbers.size))
    return torch.from_numpy(octets.reshape(-1)).view(torch_dtype(spec.dtype)).reshape(shape)


def _difference(tuned: Integers, base: Integers) -> Integers:
    """Return the zigzag numbers of tuned - base, which wrap around."""
    import numpy as np

    numbers, sign = np.empty_like(tuned), np.empty(TILE, tuned.dtype)
    for first in range(0, tuned.size, TILE):
        tile = slice(first, first + TILE)
        part = numbers[tile]
        np.subtract(tuned[tile], base[tile], out=part)
        np.right_shift(part, 8 * part.itemsize - 1, out=sign[: part.size])
        np.left_shift(part, 1, out=part)
        np.bitwise_xor(part, sign[: part.size], out=part)
    return numbers


def _undo_difference(numbers: Integers, base: Integers) -> None:
    """Turn zigzag numbers of tuned - base into those of tuned, in place."""
    import numpy as np

    unsigned = numbers.view(f"<u{numbers.itemsize}")
    sign = np.empty(TILE, numbers.dtype)
    for first in range(0, numbers.size, TILE):
        tile = slice(first, first + TILE)
        part = numbers[tile]
        np.bitwise_and(part, 1, out=sign[: part.size])
        np.negative(sign[: part.size], out=sign[: part.size])
        np.right_shift(unsigned[tile], 1, out=unsigned[tile])
        np.bitwise_xor(part, sign[: part.size], out=part)
        np.add(part, base[tile], out=part)


def split_packed(
    blocks: Iterable[torch.Tensor], *, spec: TensorSpec, compression: str
) -> Iterator[bytes]:
    """Cut the stored bytes of a tensor into what `pack` returned, without the lengths.

    Args:
        blocks: consecutive pieces of the stored bytes, of any size.
        spec: the tensor that they stand for.
        compression: as they were packed.

    Raises:
        ValueError: there are too few or too many bytes, or the lengths are damaged.
    """
    stored = _Bytes(blocks)
    width = DTYPES[spec.dtype][1]
    for shape in chunk_shapes(spec):
        size = math.prod(shape) * width
        if compression == "zstd":
            length = int.from_bytes(stored.take(LENGTH_BYTES), "little")
            if length > 2 * size + 1024:  # what does not compress grows by far less
                raise ValueError(f"a chunk of {size} bytes has {length} bytes packed")
            size = length
        yield stored.take(size)
    if stored.take_rest():
        raise ValueError("there are more bytes than the tensor has")


class _Bytes:
    """A stream of blocks from which any number of bytes can be taken."""

    def __init__(self, blocks: Iterable[torch.Tensor]) -> None:
        self._blocks = iter(blocks)
        self._current = memoryview(b"")

    def take(self, size: int) -> bytes:
        """Return exactly `size` bytes."""
        parts = []
        while size > len(self._current):
            parts.append(bytes(self._current))
            size -= len(self._current)
            self._current = self._next()
            if not self._current:
                raise ValueError(f"{size} bytes are missing")
        parts.append(bytes(self._current[:size]))
        self._current = self._current[size:]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def take_rest(self) -> bool:
        """Tell whether anything is left."""
        return bool(self._current or self._next())

    def _next(self) -> memoryview:
        return next((raw for block in self._blocks if (raw := raw_bytes(block))), memoryview(b""))


def _integers(tensor: torch.Tensor) -> Integers:
    """Return the bit patterns of a tensor as signed integers, flat."""
    import numpy as np

    return np.frombuffer(raw_bytes(tensor), f"<i{tensor.element_size()}")


def _continued(numbers: Integers, size: int) -> Integers:
    """Return exactly `size` numbers: cut, or continued with zeros."""
    import numpy as np

    if numbers.size >= size:
        return numbers[:size]
    return np.concatenate([numbers, np.zeros(size - numbers.size, numbers.dtype)])


def _decompress(frame: bytes | memoryview, size: int) -> bytes:
    zstandard = _zstandard()
    try:
        # The size that the frame claims is what would be allocated: it is checked before.
        claimed = zstandard.get_frame_parameters(frame).content_size
        if claimed != size:
            raise ValueError(f"a chunk of {size} bytes claims to have {claimed}")
        return bytes(zstandard.ZstdDecompressor().decompress(frame))
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from error


def _zstandard() -> Any:  # noqa: ANN401 - a module
    return require("zstandard", extra="train", purpose="a compressed diff")
