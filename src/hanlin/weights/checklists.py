"""Do files have the digests that a list beside them, or one from a README, says?

Read are the lists of md5sum, sha1sum and sha256sum (also BSD's form), Meta's `checklist.chk`, and
files such as `model.safetensors.sha256` with one digest and no name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from hanlin.core.errors import InputError
from hanlin.core.files import os_error
from hanlin.weights.ahead import map_ahead
from hanlin.weights.checksums import Digest, Kind, parse_list
from hanlin.weights.findings import Finding

PATTERNS = (
    "*.chk", "*.md5", "*.sha1", "*.sha256", "md5sum*", "sha1sum*", "sha256sum*", "md5.txt",
    "sha256.txt",
)  # fmt: skip
TOKENIZER_LIST = "tokenizer_checklist.chk"  # Meta's, in the folder above, with the tokenizer
MAX_LIST_BYTES = 1 << 20
CUT_OUT = "copy the lines of one model, and nothing else, into a file of their own"
BLOCK_BYTES = 8 << 20
KINDS: dict[int, Kind] = {32: "md5", 40: "sha1", 64: "sha256"}
BSD_LINE = re.compile(r"(?:MD5|SHA1|SHA256) \((.+)\) = ([0-9a-fA-F]+)")
BARE_DIGEST = re.compile(r"[0-9a-fA-F]{32}|[0-9a-fA-F]{40}|[0-9a-fA-F]{64}")


@dataclass(frozen=True)
class Checklist:
    """A list of digests, and the folder that its names are meant from."""

    file: Path
    base: Path


def find_lists(folder: Path) -> list[Checklist]:
    """Return the lists of digests in a folder, by their names, and Meta's for the tokenizer."""
    files = [
        file
        for file in sorted(folder.iterdir())
        if any(fnmatch(file.name.lower(), pattern) for pattern in PATTERNS) and file.is_file()
    ]
    above = folder.parent / TOKENIZER_LIST
    if above.is_file() and not (folder / "tokenizer.model").is_file():
        files.append(above)
    return [Checklist(file, file.parent) for file in files]


def read_list(file: Path) -> dict[str, Digest]:
    """Return the files that a list names, and their digests.

    Raises:
        InputError: it cannot be read, is no such list, or gives one file two digests.
    """
    try:
        data = file.read_bytes() if file.stat().st_size <= MAX_LIST_BYTES else b""
    except OSError as error:
        raise os_error(error, file) from error
    digests = _parse(data, file)
    if not digests:
        raise InputError(
            f"{file} is no list of digests",
            why="its lines are not '<hex digest>  <file name>', as md5sum and sha256sum write them",
            fix=CUT_OUT,
        )
    return digests


def _parse(data: bytes, file: Path) -> dict[str, Digest] | None:
    text = data.decode("utf-8", errors="replace").strip()
    if BARE_DIGEST.fullmatch(text):
        return {file.stem: Digest(KINDS[len(text)], text.lower())}
    lines = [line.strip() for line in text.splitlines() if not line.startswith("```")]
    lines = [BSD_LINE.sub(r"\2  \1", line) for line in lines]
    found = parse_list("\n".join(lines).encode())
    if found and len(found) < sum(bool(line) and not line.startswith("#") for line in lines):
        raise InputError(
            f"{file} has the digest of a file twice",
            why="which of them is meant cannot be told",
            fix=CUT_OUT,
        )
    return found


def check_files(
    lists: Sequence[Checklist],
    *,
    progress: Callable[[int, int, str], None] = lambda _done, _total, _text: None,
) -> tuple[int, list[Finding]]:
    """Hash the files that lists name; return how many, and those missing or with another digest.

    Args:
        lists: the lists.
        progress: called with (files done, files in all, name).

    Raises:
        InputError: a list is none.
    """
    wanted = [
        (given.base / name, digest, given.file.name)
        for given in lists
        for name, digest in read_list(given.file).items()
    ]
    findings = []
    for done, finding in enumerate(map_ahead(_check, wanted), start=1):
        progress(done, len(wanted), wanted[done - 1][0].name)
        findings += [finding] if finding else []
    return len(wanted), findings


def _check(wanted: tuple[Path, Digest, str]) -> Finding | None:
    path, digest, list_name = wanted
    if not path.is_file():
        return Finding("error", path.name, f"{list_name} names it, but it is not there")
    hasher = digest.hasher(path.stat().st_size)
    try:
        with path.open("rb", buffering=0) as stream:
            buffer = bytearray(BLOCK_BYTES)
            while count := stream.readinto(buffer):
                hasher.update(memoryview(buffer)[:count])
    except OSError as error:
        raise os_error(error, path) from error
    if hasher.hexdigest() == digest.value:
        return None
    what = f"its {digest.kind} is {hasher.hexdigest()}, {list_name} says {digest.value}"
    return Finding("error", path.name, what)
