"""Which lists of digests lie beside a checkpoint, and do its files have these digests?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from hanlin.core.files import os_error
from hanlin.core.meter import Progress
from hanlin.weights.ahead import map_ahead
from hanlin.weights.checksums import Digest, read_list
from hanlin.weights.verify.findings import Finding

PATTERNS = (
    "*.chk", "*.md5", "*.sha1", "*.sha256", "md5sum*", "sha1sum*", "sha256sum*", "md5.txt",
    "sha256.txt",
)  # fmt: skip
TOKENIZER_LIST = "tokenizer_checklist.chk"  # Meta's, in the folder above, with the tokenizer
BLOCK_BYTES = 8 << 20


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


def check_files(
    lists: Sequence[Checklist],
    *,
    progress: Progress = lambda _done, _total, _text: None,
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
