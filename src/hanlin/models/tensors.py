"""How are the tensors of a safetensors checkpoint read and written, one at a time?

Peak memory is about one tensor, however large the checkpoint is: shards are read by memory map and
written as a stream, because a safetensors header can be computed before any data is there.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from hanlin.core.errors import InputError
from hanlin.core.extras import require
from hanlin.core.files import os_error, read_json, write_json

if TYPE_CHECKING:
    import torch

SINGLE, INDEX, MANIFEST = "model.safetensors", "model.safetensors.index.json", "tensors.json"
DEFAULT_SHARD_BYTES = 5_000_000_000  # what transformers writes too; below every file system's limit

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


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a folder (or of one file), read when asked for.

    Attributes:
        folder: where the files lie.
        specs: name -> what it is, in the order of the files.
        files: name -> file that holds it.
    """

    folder: Path
    specs: dict[str, TensorSpec]
    files: dict[str, str]

    def read(self, name: str) -> torch.Tensor:
        """Return one tensor.

        Raises:
            InputError: the file is damaged.
        """
        with _opened(self.folder / self.files[name]) as shard:
            return shard.get_tensor(name)

    @property
    def size_bytes(self) -> int:
        """Return the bytes of all tensors."""
        return sum(spec.size_bytes for spec in self.specs.values())


def open_checkpoint(path: Path, *, single: str = SINGLE) -> Checkpoint:
    """Read the headers of a checkpoint.

    Args:
        path: a folder with `model.safetensors` or shards and their index, or one file.
        single: name of the file in a folder that is not sharded.

    Raises:
        InputError: nothing is there, a shard is missing or damaged, or the index lies.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist", fix="check the path")
    if path.is_file():
        return _from_files(path.parent, [path.name])
    if (path / single).is_file():
        return _from_files(path, [single])
    if (path / INDEX).is_file():
        return _from_index(path)
    pickled = sorted(path.glob("*.bin")) + sorted(path.glob("*.pth"))
    raise InputError(
        f"{path} holds no safetensors checkpoint",
        why=f"there is neither {single} nor {INDEX}"
        + (f"; {pickled[0].name} is a pickle, which could run code" if pickled else ""),
        fix="give the folder of a model in Hugging Face layout, saved as safetensors",
    )


def _from_index(folder: Path) -> Checkpoint:
    index = read_json(folder / INDEX)
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise InputError(f"{folder / INDEX} has no weight_map", fix="download the model again")
    files = sorted(set(weight_map.values()))
    for file in files:
        if Path(file).name != file or not (folder / file).is_file():
            raise InputError(
                f"{folder}: the shard {file!r} is missing",
                why=f"{INDEX} names it for {list(weight_map.values()).count(file)} tensors",
                fix="download or copy the missing file",
            )
    checkpoint = _from_files(folder, files)
    if checkpoint.files != weight_map:
        wrong = sorted(set(checkpoint.files.items()) ^ set(weight_map.items()))
        raise InputError(
            f"{folder}: index and shards do not agree about {wrong[0][0]!r}",
            why=f"{len({name for name, _ in wrong})} tensors are not where {INDEX} says",
            fix="download the model again, all files from one revision",
        )
    return checkpoint


def _from_files(folder: Path, names: Sequence[str]) -> Checkpoint:
    specs: dict[str, TensorSpec] = {}
    files: dict[str, str] = {}
    for file in names:
        with _opened(folder / file) as shard:
            for name in shard.keys():  # noqa: SIM118 - no mapping
                part = shard.get_slice(name)
                spec = TensorSpec(name, part.get_dtype(), tuple(part.get_shape()))
                if spec.dtype not in DTYPES:
                    raise InputError(
                        f"{folder / file}: tensor {name!r} has the type {spec.dtype}",
                        why=f"known types: {', '.join(DTYPES)}",
                        fix="convert the checkpoint to one of them",
                    )
                specs[name], files[name] = spec, file
    return Checkpoint(folder, specs, files)


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    safetensors = require("safetensors", extra="train", purpose="reading a checkpoint")
    try:
        with safetensors.safe_open(file, framework="pt") as shard:
            yield shard
    except safetensors.SafetensorError as error:
        raise InputError(
            f"{file} is damaged or is no safetensors file",
            why=str(error),
            fix="download or copy it again",
        ) from error
    except OSError as error:
        raise os_error(error, file) from error


def write_checkpoint(
    folder: Path,
    specs: Sequence[TensorSpec],
    read: Callable[[TensorSpec], torch.Tensor],
    *,
    max_shard_bytes: int = DEFAULT_SHARD_BYTES,
    progress: Callable[[int, int, str], None] = lambda _done, _total, _text: None,
) -> None:
    """Write tensors as a stream: the shards, their index if there are several, and `tensors.json`.

    Args:
        folder: a model folder, made if missing.
        specs: what will come, in the order of the shards.
        read: gives the data of one tensor; called once for each, in the order of the files.
        max_shard_bytes: a shard is closed before it grows beyond this.
        progress: called with (tensors done, tensors in all, name).

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    shards = _split(specs, max_shard_bytes)
    manifest: dict[str, dict[str, object]] = {}
    for number, shard in enumerate(shards, start=1):
        name = SINGLE if len(shards) == 1 else _shard_name(number, len(shards))
        with _new_file(folder / name) as stream:
            stream.write(_header(shard))
            for spec in shard:
                digest = _write_tensor(stream, spec, read(spec))
                manifest[spec.name] = {
                    "dtype": spec.dtype, "shape": list(spec.shape), "file": name, "sha256": digest,
                }  # fmt: skip
                progress(len(manifest), len(specs), spec.name)
    if len(shards) > 1:
        weight_map = {tensor: entry["file"] for tensor, entry in sorted(manifest.items())}
        total = sum(spec.size_bytes for spec in specs)
        write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": weight_map})
    write_json(folder / MANIFEST, {"version": 1, "tensors": dict(sorted(manifest.items()))})


def tensor_sha256(spec: TensorSpec, tensor: torch.Tensor) -> str:
    """Return the hex digest over dtype, shape and bytes of a tensor."""
    digest = hashlib.sha256(f"{spec.dtype} {list(spec.shape)}\n".encode())
    digest.update(raw_bytes(tensor))
    return digest.hexdigest()


def raw_bytes(tensor: torch.Tensor) -> memoryview:
    """Return the bytes of a tensor, little-endian, row by row."""
    import torch

    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return memoryview(flat.numpy())


def torch_dtype(name: str) -> torch.dtype:
    """Return the torch type of a safetensors type name."""
    import torch

    dtype: torch.dtype = getattr(torch, DTYPES[name][0])
    return dtype


def _split(specs: Sequence[TensorSpec], max_shard_bytes: int) -> list[list[TensorSpec]]:
    shards: list[list[TensorSpec]] = [[]]
    size = 0
    for spec in specs:
        if shards[-1] and size + spec.size_bytes > max_shard_bytes:
            shards.append([])
            size = 0
        shards[-1].append(spec)
        size += spec.size_bytes
    # Wide types first, so that every tensor starts at a multiple of its element size.
    return [sorted(shard, key=lambda s: (-DTYPES[s.dtype][1], s.name)) for shard in shards]


def _shard_name(number: int, count: int) -> str:
    return f"model-{number:05d}-of-{count:05d}.safetensors"


def _header(shard: Sequence[TensorSpec]) -> bytes:
    """Return the 8-byte length and the JSON header (https://github.com/huggingface/safetensors)."""
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    start = 0
    for spec in shard:
        end = start + spec.size_bytes
        entries[spec.name] = {
            "dtype": spec.dtype, "shape": list(spec.shape), "data_offsets": [start, end],
        }  # fmt: skip
        start = end
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary sibling; fsync and rename it when the block ends well."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        raise os_error(error, path) from error
    finally:
        if temporary.exists():
            temporary.unlink()


def _write_tensor(stream: BinaryIO, spec: TensorSpec, tensor: torch.Tensor) -> str:
    assert tuple(tensor.shape) == spec.shape and tensor.dtype == torch_dtype(spec.dtype), spec
    stream.write(raw_bytes(tensor))
    return tensor_sha256(spec, tensor)
