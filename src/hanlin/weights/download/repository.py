"""What is a repository: files, sizes, digests; and may the names of its files be trusted?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from hanlin.core.errors import InputError
from hanlin.weights.checksums import Digest
from hanlin.weights.download.connection import Connection

PARTS = ".hanlin-parts"  # folder for halves of files while a repository is fetched


@dataclass(frozen=True)
class RemoteFile:
    """One file of a repository.

    Attributes:
        path: its name, with `/` between folders; never leads out of the folder.
        size_bytes: of its content.
        digest: of its content, None where nobody says it.
        address: an http(s) address, or the path of a local file.
    """

    path: str
    size_bytes: int
    digest: Digest | None
    address: str


@dataclass(frozen=True)
class Repository:
    """A repository at one moment.

    Attributes:
        name: as the user wrote it, or `owner/name`.
        origin: the server or folder that has it.
        revision: the commit, or what was asked for where there are no commits; "" without any.
        files: in the order of their names.
        connection: how its server is asked, None for a local folder.
    """

    name: str
    origin: str
    revision: str
    files: tuple[RemoteFile, ...]
    connection: Connection | None


def checked(repository: Repository) -> Repository:
    """Return it with its files in order, none of them leading out of the folder.

    Raises:
        InputError: it has no files, or one whose name cannot be honest.
    """
    files = sorted(repository.files, key=lambda file: file.path)
    if not files:
        raise InputError(f"{repository.name} holds no files", fix="check the name")
    for reason, found in _refusals(files):
        raise InputError(
            f"{repository.origin} names the file {found!r} in {repository.name}",
            why=f"{reason}; no honest repository has such a name",
            fix="do not trust it; get the model from elsewhere",
        )
    return replace(repository, files=tuple(files))


def _refusals(files: list[RemoteFile]) -> Iterator[tuple[str, str]]:
    folders = {parent for file in files for parent in _parents(file.path)}
    seen: set[str] = set()
    for file in files:
        parts = file.path.split("/")
        if any(part in ("", ".", "..") for part in parts) or re.match("[A-Za-z]:", file.path):
            yield "it leads out of the folder", file.path
        if parts[0] == PARTS:
            yield "that folder is ours", file.path
        if re.search(r"[\\\x00-\x1f\x7f]", file.path):
            yield "it has a control character or a backslash", file.path
        if file.path in seen or file.path in folders:
            yield "it is there twice", file.path
        if file.size_bytes < 0:
            yield f"its size is {file.size_bytes}", file.path
        seen.add(file.path)


def _parents(path: str) -> Iterator[str]:
    parts = path.split("/")
    return ("/".join(parts[:end]) for end in range(1, len(parts)))
