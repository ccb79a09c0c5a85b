"""Which digests should files have: what do SHA256SUMS, MD5SUMS, checklist.chk and the like say?

Read are the lists of md5sum, sha1sum and sha256sum (also BSD's form), Meta's `checklist.chk`, and
files such as `model.safetensors.sha256` with one digest and no name.
"""

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

LISTS = ("SHA256SUMS", "MD5SUMS", "checklist.chk")  # beside a repository: the first that is there
MAX_LIST_BYTES = 1 << 20
_DIGEST = r"[0-9a-fA-F]{64}|[0-9a-fA-F]{40}|[0-9a-fA-F]{32}"
_LINE = re.compile(rf"({_DIGEST})[ \t][ \t*]?(\S.*)")
_BSD_LINE = re.compile(rf"(?:MD5|SHA1|SHA256) \((.+)\) = ({_DIGEST})")
_BARE = re.compile(_DIGEST)
_KINDS: dict[int, Kind] = {64: "sha256", 40: "sha1", 32: "md5"}
_CUT_OUT = "copy the lines of one model, and nothing else, into a file of their own"

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


def parse_list(data: bytes) -> list[tuple[str, Digest]] | None:
    """Return the file names and digests of a list, in its order.

    Comments and empty lines are passed over; None if any other line is no line of such a list.
    """
    found: list[tuple[str, Digest]] = []
    for line in data.decode("utf-8", errors="replace").splitlines():
        text = _BSD_LINE.sub(r"\2  \1", line.strip())
        if not text or text.startswith(("#", "```")):  # ``` where it was copied out of a README
            continue
        match = _LINE.fullmatch(text)
        if match is None:
            return None
        digits, name = match.groups()
        found.append((name.removeprefix("./"), _digest(digits)))
    return found


def read_list(file: Path) -> dict[str, Digest]:
    """Return the files that a list names, and their digests.

    Raises:
        InputError: it cannot be read, is no such list, or gives one file two digests.
    """
    try:
        data = file.read_bytes() if file.stat().st_size <= MAX_LIST_BYTES else b""
    except OSError as error:
        raise os_error(error, file) from error
    bare = data.decode("utf-8", errors="replace").strip()
    if _BARE.fullmatch(bare):
        return {file.stem: _digest(bare)}
    lines = parse_list(data)
    if not lines:
        raise InputError(
            f"{file} is no list of digests",
            why="its lines are not '<hex digest>  <file name>', as sha256sum and md5sum write them",
            fix=f"{_CUT_OUT}; or make it again: cd {file.parent} && sha256sum * > SHA256SUMS",
        )
    digests = dict(lines)
    if len(digests) < len(lines):
        raise InputError(
            f"{file} has the digest of a file twice",
            why="which of them is meant cannot be told",
            fix=_CUT_OUT,
        )
    return digests


def _digest(digits: str) -> Digest:
    return Digest(_KINDS[len(digits)], digits.lower())


def list_text(digests: dict[str, str], *, comment: str) -> str:
    """Return a SHA256SUMS for `sha256sum -c` with a comment on its first line."""
    lines = [f"{value}  {name}" for name, value in sorted(digests.items())]
    return "\n".join([f"# {comment}", *lines]) + "\n"
