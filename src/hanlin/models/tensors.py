"""Which tensors does a checkpoint hold, and how are they read and written, one at a time?

The one door to checkpoints: safetensors, PyTorch `.bin` shards and `.pth` state dicts are opened as
the same thing; what is written is safetensors. Memory holds some blocks of rows, however large the
checkpoint is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hanlin.core.errors import InputError
from hanlin.core.files import read_json
from hanlin.models import pickled, safetensors_file
from hanlin.models.tensor_blocks import BLOCK_BYTES, Place, read_blocks
from hanlin.models.tensor_spec import (
    DTYPES,
    FLOATS,
    TensorSpec,
    begin_sha256,
    raw_bytes,
    tensor_sha256,
    torch_dtype,
)
from hanlin.models.tensor_writer import (
    DEFAULT_SHARD_BYTES,
    INDEX,
    MANIFEST,
    SINGLE,
    write_checkpoint,
)

if TYPE_CHECKING:
    import torch

__all__ = [
    "BLOCK_BYTES", "DEFAULT_SHARD_BYTES", "DTYPES", "FLOATS", "INDEX", "MANIFEST", "SINGLE",
    "Checkpoint", "TensorSpec", "begin_sha256", "open_checkpoint", "open_pickled", "raw_bytes",
    "tensor_sha256", "torch_dtype", "write_checkpoint",
]  # fmt: skip

PICKLED = {SINGLE: "pytorch_model.bin", INDEX: "pytorch_model.bin.index.json"}


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a folder (or of one file), read when asked for.

    Attributes:
        folder: where the files lie.
        specs: name -> what it is, in the order of the files.
        files: name -> file that holds it.
        places: name -> where in the file.
    """

    folder: Path
    specs: dict[str, TensorSpec]
    files: dict[str, str]
    places: dict[str, Place]

    def read(self, name: str) -> torch.Tensor:
        """Return one tensor, in memory of its own.

        Raises:
            InputError: the file is damaged.
        """
        spec = self.specs[name]
        return next(read_blocks(spec, self.places[name], max_bytes=max(1, spec.size_bytes)))

    def blocks(self, name: str, *, max_bytes: int = BLOCK_BYTES) -> Iterator[torch.Tensor]:
        """Yield one tensor as consecutive blocks of rows (dimension 0).

        Args:
            name: the tensor.
            max_bytes: of a block; one row is the least. Tensors of one shape and type are cut at
                the same rows.

        Raises:
            InputError: the file is damaged.
        """
        return read_blocks(self.specs[name], self.places[name], max_bytes=max_bytes)

    @property
    def size_bytes(self) -> int:
        """Return the bytes of all tensors."""
        return sum(spec.size_bytes for spec in self.specs.values())


def open_checkpoint(path: Path, *, single: str = SINGLE) -> Checkpoint:
    """Read the headers of a checkpoint; nothing in a pickle is executed.

    Args:
        path: a folder with one file of weights or with shards and their index, or one file:
            safetensors, or what `torch.save` made of a state dict.
        single: name of the file in a folder that is not sharded; its `.bin` is taken as well.

    Raises:
        InputError: nothing is there, a shard is missing or damaged, or the index lies.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist", fix="check the path")
    if path.is_file():
        return _from_files(path.parent, [path.name])
    for file in (single, PICKLED.get(single, single.replace(".safetensors", ".bin"))):
        if (path / file).is_file():
            return _from_files(path, [file])
    for index in (INDEX, PICKLED[INDEX]):
        if (path / index).is_file():
            return _from_index(path, index)
    shards = sorted([*path.glob("*.safetensors"), *path.glob("pytorch_model-*.bin")])
    if shards:
        raise InputError(
            f"{path} holds {shards[0].name}, but no {INDEX}",
            why="without it nothing tells whether all shards are there",
            fix="download or copy the missing file; a single file can be given by its own path",
        )
    raise InputError(
        f"{path} holds no checkpoint",
        why=f"there is none of {single}, {INDEX}, {', '.join(PICKLED.values())}",
        fix="give the folder of a model in Hugging Face layout; Meta's consolidated.NN.pth become "
        "one by: hanlin weights convert IN OUT --to hf",
    )


def open_pickled(files: Sequence[Path]) -> Checkpoint:
    """Open files that `torch.save` made of state dicts, as one checkpoint.

    Raises:
        InputError: one is damaged, holds something else than tensors, or would run code.
    """
    return _from_files(files[0].parent, [file.name for file in files])


def _from_index(folder: Path, name: str) -> Checkpoint:
    index = read_json(folder / name)
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise InputError(f"{folder / name} has no weight_map", fix="download the model again")
    files = sorted({str(file) for file in weight_map.values()})
    for file in files:
        if Path(file).name != file or not (folder / file).is_file():
            raise InputError(
                f"{folder}: the shard {file!r} is missing",
                why=f"{name} names it for {list(weight_map.values()).count(file)} tensors",
                fix="download or copy the missing file",
            )
    checkpoint = _from_files(folder, files)
    if checkpoint.files != weight_map:
        wrong = sorted(set(checkpoint.files.items()) ^ set(weight_map.items()))
        raise InputError(
            f"{folder}: index and shards do not agree about {wrong[0][0]!r}",
            why=f"{len({tensor for tensor, _ in wrong})} tensors are not where {name} says",
            fix="download the model again, all files from one revision",
        )
    return checkpoint


def _from_files(folder: Path, names: Sequence[str]) -> Checkpoint:
    checkpoint = Checkpoint(folder, {}, {}, {})
    for file in names:
        is_pickle = pickled.is_pickled(folder / file)
        read_places = pickled.read_places if is_pickle else safetensors_file.read_places
        for spec, place in read_places(folder / file):
            if spec.name in checkpoint.specs:
                raise InputError(
                    f"{folder}: the tensor {spec.name!r} is in {checkpoint.files[spec.name]} and "
                    f"in {file}",
                    why="shards of one checkpoint hold different tensors",
                    fix="download the model again, all files from one revision",
                )
            checkpoint.specs[spec.name] = spec
            checkpoint.files[spec.name] = file
            checkpoint.places[spec.name] = place
    return checkpoint
