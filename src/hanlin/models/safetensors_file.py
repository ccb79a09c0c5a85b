"""What does a safetensors file hold, and where; and what does the header of a new one say?

Format: 8 bytes of length, a JSON header, the data (https://github.com/huggingface/safetensors).
Read by ourselves, because the library maps files into memory, where each page that was touched
counts as resident: reading 26 GB would look like, and on a small machine be, 26 GB of memory.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hanlin.core.errors import InputError
from hanlin.core.files import os_error
from hanlin.models.tensor_blocks import Place
from hanlin.models.tensor_spec import DTYPES, TensorSpec

MAX_HEADER_BYTES = 100_000_000  # the library's own limit
METADATA = "__metadata__"


def read_places(file: Path) -> Iterator[tuple[TensorSpec, Place]]:
    """Yield the tensors of a safetensors file, in the order of their data.

    Raises:
        InputError: it is cut, damaged, or has a type that torch does not know.
    """
    header, start, size = _read_header(file)
    found: list[tuple[int, int, TensorSpec]] = []
    for name, entry in header.items():
        if name != METADATA:
            begin, end, spec = _read_entry(file, name, entry)
            found.append((begin, end, spec))
    found.sort(key=lambda item: (item[0], item[1], item[2].name))
    at = 0
    for begin, end, spec in found:
        if begin != at:
            kind = "overlaps with" if begin < at else "leaves a gap behind"
            raise _damaged(file, f"the data of {spec.name!r} {kind} the one before it")
        at = end
    if start + at != size:
        what = "it was cut" if size < start + at else "there is something behind the data"
        raise _damaged(file, f"{what}: its header tells of {start + at} bytes, it has {size}")
    for begin, _, spec in found:
        yield spec, Place(file, start + begin)


def _read_header(file: Path) -> tuple[dict[str, Any], int, int]:
    """Return the header, where the data starts, and the size of the file."""
    try:
        with file.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            length = int.from_bytes(stream.read(8), "little")
            if size < 8 or length > min(size - 8, MAX_HEADER_BYTES):
                raise _damaged(file, f"a header of {length} bytes does not fit into {size} bytes")
            text = stream.read(length)
    except OSError as error:
        raise os_error(error, file) from error
    try:
        header = json.loads(text.decode(), object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError) as error:
        raise _damaged(file, f"its header is not readable: {error}") from error
    if not isinstance(header, dict):
        raise _damaged(file, "its header is not a JSON object")
    return header, 8 + length, size


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(n for n in names if names.count(n) > 1)!r} is there twice")
    return found


def _read_entry(file: Path, name: str, entry: object) -> tuple[int, int, TensorSpec]:
    """Return where the data of a tensor begins and ends, behind the header, and what it is."""
    fields: dict[str, Any] = entry if isinstance(entry, dict) else {}
    dtype, shape, offsets = (fields.get(key, ()) for key in ("dtype", "shape", "data_offsets"))
    if not isinstance(dtype, str) or not _are_counts(shape) or not _are_counts(offsets):
        raise _damaged(file, f"the header's entry for {name!r} lacks dtype, shape or data_offsets")
    if dtype not in DTYPES:
        raise InputError(
            f"{file}: tensor {name!r} has the type {dtype}",
            why=f"known types: {', '.join(DTYPES)}",
            fix="convert the checkpoint to one of them",
        )
    spec = TensorSpec(name, dtype, tuple(shape))
    if len(offsets) != 2 or offsets[1] - offsets[0] != spec.size_bytes:
        raise _damaged(
            file, f"{name!r} is {dtype} {list(shape)}, which is {spec.size_bytes} bytes, "
            f"but its data_offsets are {list(offsets)}",
        )  # fmt: skip
    return offsets[0], offsets[1], spec


def _are_counts(value: Any) -> bool:  # noqa: ANN401 - any JSON value
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _damaged(file: Path, why: str) -> InputError:
    return InputError(
        f"{file} is damaged or is no safetensors file", why=why, fix="download or copy it again"
    )


def header_of(specs: Sequence[TensorSpec]) -> bytes:
    """Return what stands before the data of a file with these tensors, in this order."""
    entries: dict[str, object] = {METADATA: {"format": "pt"}}
    start = 0
    for spec in specs:
        end = start + spec.size_bytes
        entries[spec.name] = {
            "dtype": spec.dtype, "shape": list(spec.shape), "data_offsets": [start, end],
        }  # fmt: skip
        start = end
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
