"""How is a PyTorch `.pth` file written as a stream, however large its tensors are?

A `.pth` is a zip archive of stored members: `data.pkl`, the pickled dictionary, and `data/N`, the
bytes of one tensor each. Their sizes are known before any data is, so the places of all of them
are too: every tensor is written where it belongs, and headers and directory come last. Until then
it is no archive. `torch.load(weights_only=True, mmap=True)` reads the result.
"""

from __future__ import annotations

import io
import os
import pickle  # only written here, never read
import struct
import zlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hanlin.core.extras import require
from hanlin.models import pickle_reader
from hanlin.models.tensors import TensorSpec

ALIGNMENT = 64  # of the data, as torch.save has it, for reading by memory map
# Type name of safetensors -> storage class that a pickle names.
STORAGES = {
    dtype: name for name, dtype in pickle_reader.STORAGES.items() if name != "UntypedStorage"
}
FOUR_GB = 0xFFFFFFFF  # a size or a place from here on goes into a zip64 field
JANUARY_1980 = 0x21  # the earliest date of a zip: files do not depend on the clock
LOCAL, ENTRY, END64, LOCATOR64, END = (
    b"PK\x03\x04", b"PK\x01\x02", b"PK\x06\x06", b"PK\x06\x07", b"PK\x05\x06",
)  # fmt: skip


class TorchFile:
    """A `.pth` file that is being written; its tensors may come in any order."""

    def __init__(
        self, path: Path, specs: Sequence[TensorSpec], *, checksums: Mapping[str, int] | None = None
    ) -> None:
        """Open the file and lay it out; what an interrupted run has written stays there.

        Args:
            path: the file, made if missing.
            specs: the tensors of the dictionary, in its order.
            checksums: of the tensors that are in the file already.

        Raises:
            OSError: the file cannot be written.
        """
        self._contents = {"data.pkl": _pickled(specs), "byteorder": b"little", "version": b"3\n"}
        sizes = {name: len(data) for name, data in self._contents.items()}
        sizes |= {f"data/{number}": spec.size_bytes for number, spec in enumerate(specs)}
        self._keys = {spec.name: f"data/{number}" for number, spec in enumerate(specs)}
        self._members = _places(path.stem, sizes)
        self.checksums = dict(checksums or {})
        self._current, self._left = "", 0
        path.touch()
        self._stream = path.open("r+b")

    def begin(self, tensor: str) -> None:
        """Go to the place of a tensor."""
        assert self._left == 0, self._current
        member = self._members[self._keys[tensor]]
        self._current, self._left = tensor, member.size
        self.checksums[tensor] = 0
        self._stream.seek(member.data_at)

    def write(self, data: bytes | memoryview) -> None:
        """Write the next bytes of the tensor that was begun."""
        self._left -= len(data)
        assert self._left >= 0, self._current
        self.checksums[self._current] = zlib.crc32(data, self.checksums[self._current])
        self._stream.write(data)

    def sync(self) -> None:
        """Bring what was written to the disk."""
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def finish(self) -> None:
        """Write what makes it an archive: the pickle, all headers and the directory."""
        assert self._left == 0 and self.checksums.keys() == self._keys.keys(), "bytes are missing"
        checksums = {self._keys[tensor]: value for tensor, value in self.checksums.items()}
        for name, data in self._contents.items():
            checksums[name] = zlib.crc32(data)
            self._stream.seek(self._members[name].data_at)
            self._stream.write(data)
        for name, member in self._members.items():
            self._stream.seek(member.header_at)
            self._stream.write(_local_header(member, checksums[name]))
        entries = b"".join(_entry(member, checksums[n]) for n, member in self._members.items())
        start = max(member.data_at + member.size for member in self._members.values())
        self._stream.seek(start)
        self._stream.write(entries + _end_records(len(self._members), len(entries), start))
        self._stream.truncate()
        self.sync()

    def close(self) -> None:
        """Close the file, finished or not."""
        self._stream.close()


@dataclass(frozen=True)
class _Member:
    """A member's full name and size, and where in the file its header and its data begin."""

    name: bytes
    size: int
    header_at: int
    data_at: int


def _places(archive: str, sizes: Mapping[str, int]) -> dict[str, _Member]:
    """Return where every member goes; `archive` is the folder that all of them are in."""
    members: dict[str, _Member] = {}
    at = 0
    for short, size in sizes.items():
        name = f"{archive}/{short}".encode()
        fixed = 30 + len(name) + (20 if size >= FOUR_GB else 0)
        data_at = -(-(at + fixed + 4) // ALIGNMENT) * ALIGNMENT
        members[short] = _Member(name, size, at, data_at)
        at = data_at + size
    return members


def _local_header(member: _Member, checksum: int) -> bytes:
    is_large = member.size >= FOUR_GB
    size = FOUR_GB if is_large else member.size
    extra = struct.pack("<HHQQ", 1, 16, member.size, member.size) if is_large else b""
    padding = member.data_at - member.header_at - 30 - len(member.name) - len(extra) - 4
    extra += struct.pack("<2sH", b"FB", padding) + b"Z" * padding  # as torch.save pads
    fields = (45 if is_large else 20, 0, 0, 0, JANUARY_1980, checksum, size, size)
    lengths = (len(member.name), len(extra))
    return LOCAL + struct.pack("<5H3I2H", *fields, *lengths) + member.name + extra


def _entry(member: _Member, checksum: int) -> bytes:
    """Return a member's entry in the directory."""
    wide = [member.size, member.size] if member.size >= FOUR_GB else []
    wide += [member.header_at] if member.header_at >= FOUR_GB else []
    extra = struct.pack(f"<HH{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
    size, at = min(member.size, FOUR_GB), min(member.header_at, FOUR_GB)
    version = 45 if wide else 20
    fields = (version, version, 0, 0, 0, JANUARY_1980, checksum, size, size)
    lengths = (len(member.name), len(extra), 0, 0, 0)
    return ENTRY + struct.pack("<6H3I5H2I", *fields, *lengths, 0, at) + member.name + extra


def _end_records(count: int, size: int, start: int) -> bytes:
    """Return the end of an archive whose directory has `count` entries in `size` bytes."""
    records = b""
    if start + size >= FOUR_GB or count >= 0xFFFF:
        fields = (44, 45, 45, 0, 0, count, count, size, start)
        records += END64 + struct.pack("<QHHIIQQQQ", *fields)
        records += LOCATOR64 + struct.pack("<IQI", 0, start + size, 1)
    count, start = min(count, 0xFFFF), min(start, FOUR_GB)
    return records + END + struct.pack("<4HIIH", 0, 0, count, count, size, start, 0)


class _Storage:
    """Stands for the bytes of one tensor in the pickle."""

    def __init__(self, reference: tuple[Any, ...]) -> None:
        self.reference = reference


class _Tensor:
    """Stands for a tensor in the pickle: how PyTorch makes it from its storage."""

    def __init__(self, spec: TensorSpec, storage: _Storage) -> None:
        self._spec, self._storage = spec, storage

    def __reduce__(self) -> tuple[Any, ...]:
        rebuild = require("torch._utils", extra="train", purpose="writing .pth")._rebuild_tensor_v2
        shape, strides = self._spec.shape, [1]
        for length in reversed(shape[1:]):
            strides.insert(0, strides[0] * length)
        stride = tuple(strides[: len(shape)])
        return rebuild, (self._storage, 0, shape, stride, False, OrderedDict())


class _Pickler(pickle.Pickler):
    def persistent_id(self, value: object) -> tuple[Any, ...] | None:
        return value.reference if isinstance(value, _Storage) else None


def _pickled(specs: Sequence[TensorSpec]) -> bytes:
    """Return the `data.pkl` of a dictionary of tensors, as `torch.save` would write it."""
    torch = require("torch", extra="train", purpose="writing .pth files")
    tensors = {}
    for number, spec in enumerate(specs):
        storage_class = getattr(torch, STORAGES[spec.dtype])
        count = 1
        for length in spec.shape:
            count *= length
        storage = _Storage(("storage", storage_class, str(number), "cpu", count))
        tensors[spec.name] = _Tensor(spec, storage)
    stream = io.BytesIO()
    _Pickler(stream, protocol=2).dump(tensors)
    return stream.getvalue()
