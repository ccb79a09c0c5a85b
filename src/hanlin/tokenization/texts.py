"""Which texts does a tokenizer learn from? A local reader of `.jsonl` and `.txt` files.

The readers of `hanlin.data` know far more formats, but live on a higher line.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hanlin.core.errors import InputError
from hanlin.core.files import os_error

log = logging.getLogger(__name__)

SHOWN = 3


@dataclass(frozen=True)
class Text:
    """One text of a corpus; `language` is None where the file does not say it."""

    text: str
    language: str | None = None


def read_texts(path: str | Path, *, max_bad_rows: float = 0.01) -> Iterator[Text]:
    """Yield the texts of one file, in order; every line is one row.

    Args:
        path: `.jsonl` with rows {"text", "language"?}, or plain text in UTF-8.
        max_bad_rows: share of bad rows above which it stops.

    Raises:
        InputError: the file is missing, unreadable, or holds too many bad rows.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist", fix="check the path")
    if path.is_dir():
        raise InputError(
            f"{path} is a folder, not a text file",
            fix="name the files in it, for example with *.jsonl",
        )
    rows, bad = 0, []
    try:
        with path.open("rb") as stream:
            for number, raw in enumerate(stream, start=1):
                rows += 1
                try:
                    row = _read_row(raw, is_json=path.suffix == ".jsonl")
                except ValueError as error:
                    bad.append(f"line {number}: {error}")
                    continue
                if row is not None:
                    yield row
    except OSError as error:
        raise os_error(error, path) from error
    _judge(path, rows=rows, bad=bad, max_bad_rows=max_bad_rows)


def read_all(paths: Sequence[str | Path], *, max_bad_rows: float = 0.01) -> list[Text]:
    """Return the texts of all files.

    Raises:
        InputError: a file is unreadable, or there is no text in any of them.
    """
    texts = [text for path in paths for text in read_texts(path, max_bad_rows=max_bad_rows)]
    if paths and not texts:
        raise InputError(
            f"there is no text in {', '.join(map(str, paths))}",
            why="every line is empty",
            fix="give files with text in them",
        )
    return texts


def _read_row(raw: bytes, *, is_json: bool) -> Text | None:
    """Return one row, None for an empty line.

    Raises:
        ValueError: it is not UTF-8, not JSON, or has no text.
    """
    try:
        line = raw.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ValueError("not UTF-8") from error
    if not line.strip():
        return None
    if not is_json:
        return Text(line)
    try:
        row = json.loads(line)
    except RecursionError as error:
        raise ValueError("JSON nested too deeply") from error
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        raise ValueError('no "text" in the row')
    row["text"].encode("utf-8")  # a lone surrogate is no text: UnicodeEncodeError is a ValueError
    language = row.get("language")
    return Text(row["text"], language if isinstance(language, str) else None)


def _judge(path: Path, *, rows: int, bad: list[str], max_bad_rows: float) -> None:
    if not bad:
        return
    shown = "; ".join(bad[:SHOWN]) + (f"; and {len(bad) - SHOWN} more" if len(bad) > SHOWN else "")
    if len(bad) > max_bad_rows * rows:
        raise InputError(
            f"{path}: {len(bad)} of {rows} rows are bad",
            why=f"{shown}; the limit is {max_bad_rows:.1%}",
            fix="mend those rows, or raise max_bad_rows",
        )
    log.warning("%s: %d of %d rows were left out: %s", path, len(bad), rows, shown)
