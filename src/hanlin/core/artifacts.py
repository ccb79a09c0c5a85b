"""What a stage leaves: a kind, a path, a sha256, a maker."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hanlin.core.errors import InputError
from hanlin.core.files import sha256, size_bytes

PAGE = "README.md"


@dataclass(frozen=True)
class Artifact:
    """A file or folder that a stage made.

    Attributes:
        name: the output's name within its stage ("model", "adapter", ...).
        kind: what it is ("corpus", "tokenizer", "model", "adapter", "scores", ...).
        path: where it is, relative to the stage's folder.
        sha256: digest of its content (`core.files.sha256`).
        size_bytes: bytes of its content.
        made_by: id of the stage.
    """

    name: str
    kind: str
    path: str
    sha256: str
    size_bytes: int
    made_by: str

    @classmethod
    def of(cls, name: str, *, kind: str, folder: Path, relative: str, made_by: str) -> Artifact:
        """Describe something that now exists below a stage's folder.

        Raises:
            InputError: the stage did not write it.
        """
        path = folder / relative
        if not path.exists():
            raise InputError(
                f"stage {made_by!r} promised the {kind} {relative!r} but did not write it",
                why="a stage must write every output it declares",
            )
        return cls(name, kind, relative, sha256(path), size_bytes(path), made_by)

    def is_intact(self, folder: Path) -> bool:
        """Tell whether the content on disk is still what the digest says.

        A README.md that was written into the folder later (`hanlin weights card`) is no damage.
        """
        path = folder / self.path
        if not path.exists():
            return False
        if sha256(path) == self.sha256:
            return True
        return (path / PAGE).is_file() and sha256(path, but=path / PAGE) == self.sha256
