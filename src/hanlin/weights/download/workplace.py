"""What did a run before leave in a folder that is being filled, and what is finished in it?"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hanlin.core.files import work_journal
from hanlin.weights.download.repository import PARTS, RemoteFile


@dataclass(frozen=True)
class Arrived:
    """A file that is in its place.

    Attributes:
        path: its name in the folder.
        size_bytes: of its content.
        sha256: of its content.
        checked_by: kind of the digest it was compared with, "size" where there was none.
    """

    path: str
    size_bytes: int
    sha256: str
    checked_by: str


class Workplace:
    """A folder that is being filled, and what a run before left in it.

    Args:
        folder: where the files go, from `resumable_directory`; its journal tells what is finished.
    """

    def __init__(self, folder: Path) -> None:
        journal = work_journal(folder)
        assert journal is not None, "the folder is not one of resumable_directory"
        self.folder, self._parts, self._journal = folder, folder / PARTS, journal
        self._lock = threading.Lock()

    def begin(self, files: Sequence[RemoteFile]) -> None:
        """Remove what is of no use for these files: what was wanted before, other content."""
        finished = self.finished(files)
        self._keep_only(
            self.folder / f.path if f.path in finished else self.part_of(f) for f in files
        )
        self._parts.mkdir(exist_ok=True)

    def end(self, files: Iterable[RemoteFile]) -> None:
        """Remove all but the files."""
        self._keep_only(self.folder / file.path for file in files)

    def finished(self, files: Sequence[RemoteFile]) -> dict[str, Arrived]:
        """Return the files that came whole in a run before, by name."""
        noted = {row["path"]: row for row in self._read_journal()}
        found = {}
        for file in files:
            row, target = noted.get(file.path), self.folder / file.path
            is_same = row and file.digest and row["digest"] == asdict(file.digest)
            if row and is_same and target.is_file() and target.stat().st_size == file.size_bytes:
                found[file.path] = Arrived(**row["arrived"])
        return found

    def part_of(self, file: RemoteFile) -> Path:
        """Return where the first half of a file lies: another content, another name."""
        digest = file.digest.value if file.digest else ""
        key = hashlib.sha256(f"{file.path}\0{file.size_bytes}\0{digest}".encode()).hexdigest()
        return self._parts / f"{key[:32]}.part"

    def finish(self, file: RemoteFile, arrived: Arrived) -> None:
        """Note a file as finished, then put it in its place."""
        target = self.folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)  # so that the note is never about another content
        row = {"path": file.path, "digest": file.digest and asdict(file.digest),
               "arrived": asdict(arrived)}  # fmt: skip
        with self._lock, self._journal.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        self.part_of(file).replace(target)

    def _keep_only(self, wanted: Iterable[Path]) -> None:
        keep = set(wanted)
        for path in sorted(self.folder.rglob("*"), reverse=True):  # what is in a folder before it
            if path.is_dir():
                if not any(path.iterdir()):
                    path.rmdir()
            elif path not in keep:
                path.unlink()

    def _read_journal(self) -> Iterator[dict[str, Any]]:
        if not self._journal.is_file():
            return
        for line in self._journal.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                row = json.loads(line)
            except ValueError:  # cut by a kill
                continue
            yield row
