"""Where in a file of `torch.save` are the tensors?

Two formats (torch/serialization.py). Since 2020 a zip archive of stored members: `data.pkl`, the
pickled dictionary, and `data/KEY`, the bytes of one storage each. Before that, five pickles one
behind the other, then the storages, each behind its number of elements. Nothing in them is
executed: `pickle_reader` only describes.
"""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from hanlin.core.errors import InputError
from hanlin.core.files import os_error
from hanlin.models.pickle_reader import UnsafePickleError, View, read_pickle
from hanlin.models.tensor_blocks import Place, span
from hanlin.models.tensor_spec import DTYPES, TensorSpec

SUFFIXES = (".bin", ".pth", ".pt", ".ckpt")
MAGIC = 0x1950A86A20F9469CFC6C  # the first of the five pickles
NESTED = ("state_dict", "model")  # where training programs put the tensors
MAX_REPEATED_BYTES = 1 << 30  # of a tensor that is larger than its storage (torch.expand)
MAX_REASON = 300  # characters of what a damaged file may say for itself
Starts = dict[str, tuple[int, int]]  # key of a storage -> where its data starts, and its bytes


def is_pickled(file: Path) -> bool:
    """Tell by its name whether a file is one of `torch.save`."""
    return file.suffix in SUFFIXES


def read_places(file: Path) -> Iterator[tuple[TensorSpec, Place]]:
    """Yield the tensors of a file, in the order of its dictionary.

    Raises:
        InputError: it is damaged, holds something else than tensors, or would run code.
    """
    try:
        with file.open("rb") as stream:
            is_zip = stream.read(4) == b"PK\x03\x04"
            stream.seek(0)
            content, starts = _read_zip(stream) if is_zip else _read_legacy(stream)
        for name, view in _tensors(content).items():
            yield TensorSpec(name, view.dtype, view.shape), _place(file, name, view, starts)
    except OSError as error:
        raise os_error(error, file) from error
    except UnsafePickleError as error:
        raise InputError(
            f"{file} holds {str(error)[:MAX_REASON]}, which is no part of a dictionary of tensors",
            why="PyTorch's files are pickles, which can run any program when they are loaded; this "
            "one was not",
            fix="take the model from a source you trust, as safetensors; or save the dictionary of "
            "tensors alone: torch.save(model.state_dict(), FILE)",
        ) from error
    except (ValueError, zipfile.BadZipFile, NotImplementedError) as error:
        raise InputError(
            f"{file} is damaged or is no file of torch.save with tensors",
            why=str(error)[:MAX_REASON],
            fix="download or copy it again",
        ) from error


def _read_zip(stream: BinaryIO) -> tuple[object, Starts]:
    """Return the dictionary of an archive, and where its storages are."""
    with zipfile.ZipFile(stream) as archive:
        members = {info.filename: info for info in archive.infolist()}
        pickles = [name for name in members if name.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1 or any(name.endswith("/constants.pkl") for name in members):
            raise ValueError("it is an archive of something else, such as a TorchScript program")
        prefix = pickles[0].removesuffix("data.pkl")
        if any(info.compress_type != zipfile.ZIP_STORED for info in members.values()):
            raise ValueError("its members are compressed, which torch.save never does")
        order = members.get(f"{prefix}byteorder")
        if order is not None and archive.read(order) != b"little":
            raise ValueError("it was written on a big-endian machine")
        content, _ = read_pickle(io.BytesIO(archive.read(pickles[0])))
        data = f"{prefix}data/"
        stored = [info for name, info in members.items() if name.startswith(data)]
    return content, {i.filename.removeprefix(data): _start(stream, i) for i in stored}


def _start(stream: BinaryIO, info: zipfile.ZipInfo) -> tuple[int, int]:
    """Return where the data of a member starts, behind its name and padding, and its bytes."""
    stream.seek(info.header_offset)
    header = stream.read(30)
    if len(header) < 30 or header[:4] != b"PK\x03\x04":
        raise ValueError(f"the member {info.filename} is not where the archive says")
    lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    return info.header_offset + 30 + lengths, info.file_size


def _read_legacy(stream: BinaryIO) -> tuple[object, Starts]:
    """Return the dictionary of a file from before 2020, and where its storages are."""
    magic, _ = read_pickle(stream)
    if magic != MAGIC:
        raise ValueError("it begins like no file of torch.save")
    read_pickle(stream)  # version of the format; there was one only
    system, _ = read_pickle(stream)
    if not isinstance(system, dict) or not system.get("little_endian"):
        raise ValueError("it was written on a big-endian machine")
    content, storages = read_pickle(stream)
    keys, _ = read_pickle(stream)
    starts: Starts = {}
    for key in keys if isinstance(keys, list) else ():
        storage = storages.get(str(key))
        count = int.from_bytes(stream.read(8), "little")
        if storage is None or count != storage.count:
            raise ValueError(f"its storage {key!r} is not what its tensors say")
        starts[storage.key] = (stream.tell(), storage.size_bytes)
        stream.seek(storage.size_bytes, os.SEEK_CUR)
    return content, starts


def _tensors(content: object) -> dict[str, View]:
    """Return the dictionary of tensors: the content, or what training programs name so in it."""
    if isinstance(content, dict):
        nested = [content[key] for key in NESTED if isinstance(content.get(key), dict)]
        content = nested[0] if nested else content
    if not isinstance(content, dict) or not content:
        is_empty = content == {}
        raise ValueError(f"it holds {'an empty' if is_empty else 'no'} dictionary of tensors")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, View):
            raise ValueError(f"{name!r} in it is of the type {type(value).__name__}, no tensor")
    return content


def _place(file: Path, name: str, view: View, starts: Starts) -> Place:
    """Return where a tensor is, after checking that it is there."""
    size = DTYPES[view.dtype][1]
    start, available = starts.get(view.storage.key, (0, 0))
    count = span(view.shape, view.strides)
    needed = max(view.storage.size_bytes, (view.offset + count) * size if count else 0)
    if needed > available or start + available > file.stat().st_size:
        raise ValueError(f"it was cut: the data of {name!r} is not all there")
    if math.prod(view.shape) * size > max(available, MAX_REPEATED_BYTES):
        raise ValueError(f"{name!r} repeats {available} bytes in the shape {list(view.shape)}")
    rows = tuple(s for n, s in zip(view.shape, view.strides, strict=True) if n != 1)
    is_plain = count == 0 or rows == _row_strides(tuple(n for n in view.shape if n != 1))
    return Place(file, start + view.offset * size, None if is_plain else view.strides)


def _row_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides of a tensor that is stored row by row."""
    strides = [1]
    for length in reversed(shape[1:]):
        strides.insert(0, strides[0] * length)
    return tuple(strides[: len(shape)])
