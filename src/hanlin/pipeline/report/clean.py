"""Can this text be shown to anybody? Texts of models and data are hostile until cleaned."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

# Control characters but for tab and newline, lone surrogates (they cannot be written as UTF-8), and
# the two non-characters that XML forbids. Each becomes one character, so that spans stay right.
_UNSHOWABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")

# An absolute path of two parts or more; not the "//" of an address, nor "a/b".
_ABSOLUTE = re.compile(r"(?<![\w:/.@~-])(?:/|~/|[A-Za-z]:[\\/])(?:[^\s/\\:'\"<>|,]+[/\\])+")


def clean(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return a JSON value whose strings can be shown and whose numbers are finite or None."""
    if isinstance(value, str):
        return _UNSHOWABLE.sub("\ufffd", value.replace("\r", " "))
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(clean(str(key))): clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    return value


def without_paths(text: str, run_dir: Path) -> str:
    """Shorten absolute paths: a report is passed on, where somebody's home lies is not.

    Paths below the run become relative to it, others keep their last part: `…/corpus.jsonl`.
    """
    for folder in sorted({str(run_dir), str(run_dir.resolve())}, key=len, reverse=True):
        if folder not in (".", "/"):
            text = re.sub(rf"(?<![\w.-]){re.escape(folder)}[/\\]", "", text)
            text = re.sub(rf"(?<![\w.-]){re.escape(folder)}(?![\w.-])", "the run's folder", text)
    return _ABSOLUTE.sub("…/", text)
