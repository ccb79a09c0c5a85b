"""Which checkpoints can be trusted after a kill, and which go?

A checkpoint counts once its marker is there. The marker is written last, atomically, after all
other files of the checkpoint are flushed to the disk; so `kill -9` at any moment leaves either a
checkpoint without a marker, which is deleted at the next start, or a whole one.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from hanlin.core.files import fsync_tree, write_json

MARKER = "complete.json"
KEPT = 2  # the newest, and one more in case the newest is damaged by hand


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint.

    Attributes:
        path: its folder.
        step: updates of the weights that it holds.
        tokens: tokens seen until then, over all processes.
        processes: how many wrote it.
    """

    path: Path
    step: int
    tokens: int
    processes: int = 1


def checkpoint_path(folder: Path, step: int) -> Path:
    """Return where the checkpoint of a step lives; the Trainer uses the same name."""
    return folder / f"checkpoint-{step}"


def complete_checkpoints(folder: Path) -> list[Checkpoint]:
    """Return the complete checkpoints below a folder, oldest first."""
    found = [_read(path) for path in folder.glob("checkpoint-*")]
    return sorted((c for c in found if c is not None), key=lambda checkpoint: checkpoint.step)


def clean(folder: Path) -> None:
    """Delete what a killed process left unfinished, and make the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = {checkpoint.path for checkpoint in complete_checkpoints(folder)}
    for path in sorted(folder.iterdir()):
        if path not in whole:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def latest(folder: Path) -> Checkpoint | None:
    """Return the newest complete checkpoint, or None."""
    return next(reversed(complete_checkpoints(folder)), None)


def mark_complete(path: Path, *, step: int, tokens: int, processes: int = 1) -> None:
    """Flush a checkpoint's files to the disk, then write its marker."""
    fsync_tree(path)
    record = {"version": 1, "step": step, "tokens": tokens, "processes": processes}
    write_json(path / MARKER, record)


def prune(folder: Path, *, keep: int = KEPT) -> None:
    """Delete all but the newest complete checkpoints."""
    for checkpoint in complete_checkpoints(folder)[:-keep]:
        delete(checkpoint)


def delete(checkpoint: Checkpoint) -> None:
    """Delete a checkpoint; the marker goes first."""
    (checkpoint.path / MARKER).unlink()
    shutil.rmtree(checkpoint.path)


def _read(path: Path) -> Checkpoint | None:
    try:
        record = dict(json.loads((path / MARKER).read_text(encoding="utf-8")))
        processes = int(record.get("processes", 1))
        return Checkpoint(path, int(record["step"]), int(record["tokens"]), processes)
    except (OSError, ValueError, KeyError, TypeError):  # no readable marker: not complete
        return None
