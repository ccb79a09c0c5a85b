"""Which weights does a path or a hub id mean, what are they called, what else lies beside them?"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hanlin.core.files import list_files
from hanlin.models.load import MODEL_FILES
from hanlin.models.runs import last_model
from hanlin.models.tensors import MANIFEST, Checkpoint, open_checkpoint
from hanlin.tokenization.hub import TOKENIZER_FILES, local_folder
from hanlin.weights.diff.manifest import CARRIED, FILE_NAME

# Weights in other forms, and what programs for training leave beside a model.
WEIGHTS = (".safetensors", ".bin", ".pth", ".pt", ".ckpt", ".gguf", ".h5", ".msgpack", ".onnx")
PICKLED = ("pytorch_model*.bin", "pytorch_model.bin.index.json")
OF_A_DIFF = (FILE_NAME, f"{CARRIED}/*")


@dataclass(frozen=True)
class Weights:
    """An opened checkpoint.

    Attributes:
        name: for people, without the machine's folders.
        checkpoint: its tensors.
        has_folder: it was given as a folder, whose other files belong to it.
    """

    name: str
    checkpoint: Checkpoint
    has_folder: bool

    def paths(self) -> list[Path]:
        """Return the files that the tensors are in."""
        folder = self.checkpoint.folder
        return [folder / name for name in sorted(set(self.checkpoint.files.values()))]

    def inputs(self) -> list[Path]:
        """Return what a result must not replace."""
        return [self.checkpoint.folder, *self.paths()] if self.has_folder else self.paths()

    def other_files(self) -> tuple[list[str], list[str]]:
        """Return the files beside the weights: those that go along, and those that do not."""
        folder, own = self.checkpoint.folder, set(self.checkpoint.files.values())
        carried, left_out = list[str](), list[str]()
        if not self.has_folder:
            return carried, left_out
        for file in _visible(folder):
            name = file.relative_to(folder).as_posix()
            if name in own or _describes_weights(name):
                continue
            (left_out if is_weights(name) else carried).append(name)
        return carried, left_out


def is_weights(name: str) -> bool:
    """Tell whether a file holds weights or says where they are."""
    return name.endswith(WEIGHTS) or _describes_weights(name)


def _describes_weights(name: str) -> bool:
    return name == MANIFEST or name.endswith(".index.json")


def folder_of(path: str | Path, *, purpose: str) -> Path:
    """Return a local folder or file; a hub id is fetched, safetensors before `.bin`.

    A run directory means its last model.

    Raises:
        InputError: there is no such folder, or the hub does not give it.
    """
    place = Path(path).expanduser()
    if place.exists():
        return last_model(place)
    files = (*MODEL_FILES, *TOKENIZER_FILES, *OF_A_DIFF)
    place = local_folder(path, files=files, purpose=purpose)
    if any(place.glob("*.safetensors")):
        return place
    return local_folder(path, files=PICKLED, purpose=purpose)


def open_weights(path: str | Path, *, purpose: str) -> Weights:
    """Open the checkpoint that a path or a hub id means.

    Raises:
        InputError: there is none, or it is damaged.
    """
    is_local = Path(path).expanduser().exists()
    place = folder_of(path, purpose=purpose)
    name = place.resolve().name if is_local else str(path)
    return Weights(name, open_checkpoint(place), has_folder=place.is_dir())


def copy_files(names: Sequence[str], source: Path, target: Path) -> None:
    """Copy files from one folder to another."""
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target / name)


def _visible(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, without hidden ones such as `.cache` and `.git`."""
    for file in list_files(folder):
        if not any(part.startswith(".") for part in file.relative_to(folder).parts):
            yield file
