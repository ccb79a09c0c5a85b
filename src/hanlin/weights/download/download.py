"""How does a checkpoint come here complete and checked, over a line that breaks?

hanlin weights download REPO DIR
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hanlin.core.errors import ResourceError, StageFailedError
from hanlin.core.files import read_json, resumable_directory, write_atomic
from hanlin.core.meter import Progress, size_text
from hanlin.models.tensors import MANIFEST, open_checkpoint, tensor_sha256
from hanlin.weights.checksums import LISTS, list_text
from hanlin.weights.download.choice import choose
from hanlin.weights.download.repository import RemoteFile, Repository
from hanlin.weights.download.transfer import fetch_all
from hanlin.weights.download.workplace import Arrived, Workplace

log = logging.getLogger(__name__)


def download(
    repository: Repository,
    out: Path,
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    force: bool = False,
    progress: Progress = lambda _done, _total, _text: None,
) -> dict[str, Any]:
    """Fetch a repository's files into a folder that appears complete and checked, or not at all.

    Every file is compared with the digest that its repository has for it; a SHA256SUMS of all of
    them is written beside them. The same call after a failure or a kill goes on where it stopped.

    Args:
        repository: what `listing.find_repository` found.
        out: the folder to make.
        include: patterns of files; none: the weights in one format, and all that is no code.
        exclude: patterns of files that are not wanted.
        force: replace what is at `out`.
        progress: called with (done, total, text).

    Raises:
        ConfigError: `out` is the current folder or one above it.
        InputError: `out` exists already or holds the repository, or the patterns leave no file.
        ResourceError: not enough space on the disk (before the first byte), or no permission.
        StageFailedError: the line stayed broken, the server refused, or a file is damaged.
    """
    files, skipped = choose(repository.files, include=include, exclude=exclude)
    key = f"download {repository.name} from {repository.origin}"
    inputs = [Path(file.address) for file in files] if repository.connection is None else []
    with resumable_directory(out, key=key, force=force, inputs=inputs) as folder:
        place = Workplace(folder)
        place.begin(files)
        before = _bytes_here(files, place)
        total = sum(file.size_bytes for file in files)
        _check_space(total - before, folder=folder, out=out)
        arrived = fetch_all(
            files, place, name=repository.name, connection=repository.connection, progress=progress
        )
        place.end(files)
        arrived = _check_tensors(folder, arrived)
        _write_list(folder, arrived, repository)
    _warn_of_unchecked(arrived)
    return {
        "repository": repository.name,
        "origin": repository.origin,
        "revision": repository.revision,
        "out": str(out),
        "size_bytes": total,
        "resumed_bytes": before,
        "files": [asdict(file) for file in arrived],
        "skipped": [asdict(file) for file in skipped],
    }


def _bytes_here(files: Sequence[RemoteFile], place: Workplace) -> int:
    """Return how many of the bytes a run before has brought."""
    finished = place.finished(files)
    parts = [place.part_of(f) for f in files if f.digest and f.path not in finished]
    halves = sum(part.stat().st_size for part in parts if part.is_file())
    return sum(file.size_bytes for file in finished.values()) + halves


def _check_space(needed: int, *, folder: Path, out: Path) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ResourceError(
            f"{size_text(needed)} are to come to {out}, but the disk has {size_text(free)} left",
            why="nothing was downloaded: a download that must fail would only cost time",
            fix="free some space, choose another DIR, or take fewer files with --include",
        )


def _check_tensors(folder: Path, arrived: list[Arrived]) -> list[Arrived]:
    """Compare shards without a digest of their own with the digests of `tensors.json`."""
    shards = {f.path for f in arrived if f.checked_by == "size" and f.path.endswith(".safetensors")}
    if not shards or not (folder / MANIFEST).is_file():
        return arrived
    content = read_json(folder / MANIFEST)
    expected = content.get("tensors") if isinstance(content, dict) else None
    if not isinstance(expected, dict) or not all(isinstance(e, dict) for e in expected.values()):
        return arrived  # somebody else's file of that name
    checkpoint = open_checkpoint(folder)
    for name, spec in checkpoint.specs.items():
        if expected.get(name, {}).get("sha256") != tensor_sha256(spec, checkpoint.read(name)):
            raise StageFailedError(
                f"{checkpoint.files[name]}: {name} is not what {MANIFEST} says",
                why="the file was changed or damaged after the manifest was written",
                fix="copy it from where it is whole; hanlin weights verify shows every tensor",
            )
    known = shards & set(checkpoint.files.values())
    return [
        Arrived(f.path, f.size_bytes, f.sha256, MANIFEST) if f.path in known else f for f in arrived
    ]


def _write_list(folder: Path, arrived: Sequence[Arrived], repository: Repository) -> None:
    at = f" at {repository.revision}" if repository.revision else ""
    text = list_text(
        {file.path: file.sha256 for file in arrived},
        comment=f"{repository.name}{at}, from {repository.origin}",
    )
    write_atomic(folder / LISTS[0], text.encode())


def _warn_of_unchecked(arrived: Sequence[Arrived]) -> None:
    unchecked = [file.path for file in arrived if file.checked_by == "size"]
    if unchecked:
        log.warning(
            "%d of %d files have no digest to be compared with, first %s",
            len(unchecked), len(arrived), unchecked[0],
        )  # fmt: skip
