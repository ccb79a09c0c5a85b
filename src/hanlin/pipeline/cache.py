"""Stages that are the same in many runs are made once: `HANLIN_CACHE` (default ~/.cache/hanlin).

`HANLIN_CACHE=off` turns it off. An entry is named by the stage's fingerprint and checked by its
digests before it is used.
"""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

from hanlin.core.files import move_into_place
from hanlin.pipeline.plan import why_not_finished

log = logging.getLogger(__name__)


def cache_folder() -> Path | None:
    """Return where cached stages live, or None when the cache is off."""
    name = os.environ.get("HANLIN_CACHE", "~/.cache/hanlin")
    return None if name.lower() in ("", "off", "0", "no") else Path(name).expanduser() / "stages"


def restore(fingerprint: str, folder: Path) -> bool:
    """Copy a cached stage to its folder; tell whether there was an intact one."""
    cache = cache_folder()
    if cache is None or why_not_finished(cache / fingerprint, fingerprint):
        return False
    _copy(cache / fingerprint, folder)
    return not why_not_finished(folder, fingerprint)


def keep(fingerprint: str, folder: Path) -> None:
    """Copy a finished stage to the cache; a cache that cannot be written is no failure."""
    cache = cache_folder()
    if cache is None:
        return
    try:
        _copy(folder, cache / fingerprint)
    except OSError as error:
        log.info("the cache %s could not be written: %s", cache, error)


def _copy(source: Path, target: Path) -> None:
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, part)
        move_into_place(part, target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
