"""Which digest should a file have, and what do SHA256SUMS, MD5SUMS and checklist.chk say?"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hanlin.core.errors import InputError
from hanlin.core.files import os_error

if TYPE_CHECKING:
    from hashlib import _Hash

LISTS = ("SHA256SUMS", "MD5SUMS", "checklist.chk")  # the first that is there counts
_LINE = re.compile(r"([0-9a-fA-F]{64}|[0-9a-fA-F]{40}|[0-9a-fA-F]{32})[ \t][ \t*]?(\S.*)")
_KINDS: dict[int, Kind] = {64: "sha256", 40: "sha1", 32: "md5"}

Kind = Literal["sha256", "sha1", "md5", "git"]


@dataclass(frozen=True)
class Digest:
    """What a file's content must hash to.

    Attributes:
        kind: "git" is SHA-1 over git's header and the content, as the hub has for small files.
        value: lower-case hex digits.
    """

    kind: Kind
    value: str

    def hasher(self, size_bytes: int) -> _Hash:
        """Return an object to feed the content to; `size_bytes` is the whole file's."""
        if self.kind == "git":
            return hashlib.sha1(b"blob %d\0" % size_bytes, usedforsecurity=False)
        return hashlib.new(self.kind, usedforsecurity=False)


def parse_list(data: bytes) -> dict[str, Digest] | None:
    """Return file name -> digest of a list as `sha256sum` and `md5sum` write it.

    Comments and empty lines are passed over; None if any other line is no line of such a list.
    """
    found: dict[str, Digest] = {}
    for line in data.decode("utf-8", errors="replace").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line.rstrip())
        if match is None:
            return None
        digits, name = match.groups()
        found[name.removeprefix("./")] = Digest(_KINDS[len(digits)], digits.lower())
    return found


def read_lists(folder: Path) -> dict[str, Digest]:
    """Return file name -> digest as the first list in a folder has it; {} where there is none.

    Raises:
        InputError: the list cannot be read as one.
    """
    file = next((folder / name for name in LISTS if (folder / name).is_file()), None)
    if file is None:
        return {}
    try:
        found = parse_list(file.read_bytes())
    except OSError as error:
        raise os_error(error, file) from error
    if found is None:
        raise InputError(
            f"{file} is no list of digests",
            why="its lines are not '<hex digest>  <file name>', as sha256sum and md5sum write them",
            fix=f"make it again (cd {folder} && sha256sum * > SHA256SUMS), or remove it",
        )
    return found


def list_text(digests: dict[str, str], *, comment: str) -> str:
    """Return a SHA256SUMS for `sha256sum -c` with a comment on its first line."""
    lines = [f"{value}  {name}" for name, value in sorted(digests.items())]
    return "\n".join([f"# {comment}", *lines]) + "\n"
