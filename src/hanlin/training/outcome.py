"""How does a training stage end, so that a kill in its last second costs nothing?

Outputs are written, then named with their digests in `finished.json`, then the checkpoints go. A
stage that finds an intact `finished.json` has nothing left to do.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hanlin.core.files import fsync_tree, sha256, write_json

FINISHED = "finished.json"
WRITTEN_ANEW = ("version", "tokenizer_sha256")  # `models.save` writes them from the tokenizer


def carried(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a trained model's hanlin.json keeps of the one that it started from."""
    return {key: value for key, value in manifest.items() if key not in WRITTEN_ANEW}


def is_finished(out: Path, output: str) -> bool:
    """Tell whether an earlier call wrote this output completely."""
    try:
        record = json.loads((out / FINISHED).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # no record, or half of one: not finished
        return False
    folder = out / output
    return folder.exists() and record == {"version": 1, output: sha256(folder)}


def finish(out: Path, output: str, write: Callable[[Path], object]) -> None:
    """Write an output anew, record its digest, and delete the checkpoints.

    Args:
        out: the stage's work folder.
        output: name of the folder to write.
        write: called with that folder.
    """
    (out / FINISHED).unlink(missing_ok=True)
    shutil.rmtree(out / output, ignore_errors=True)
    write(out / output)
    fsync_tree(out / output)
    write_json(out / FINISHED, {"version": 1, output: sha256(out / output)})
    shutil.rmtree(out / "checkpoints", ignore_errors=True)
