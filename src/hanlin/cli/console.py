"""The only file that prints: results to stdout, everything else to stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

SECONDS_BETWEEN_LINES = 30.0
_quiet = False


def set_quiet(quiet: bool) -> None:
    """Silence notes and progress; results and errors are still printed."""
    global _quiet
    _quiet = quiet


def result(value: object, *, as_json: bool, text: str) -> None:
    """Print a command's result once: one JSON document, or text for people."""
    if as_json:
        text = json.dumps(value, ensure_ascii=False)
    sys.stdout.write(text if text.endswith("\n") else text + "\n")
    sys.stdout.flush()


def write(text: str) -> None:
    """Write a piece of a streamed result at once, without a line end."""
    sys.stdout.write(text)
    sys.stdout.flush()


def note(message: str) -> None:
    """Say something to people; never part of the result."""
    if not _quiet:
        sys.stderr.write(message + "\n")
        sys.stderr.flush()


def error(message: str) -> None:
    """Print an error, also when quiet."""
    sys.stderr.write(message + "\n")
    sys.stderr.flush()


def table(rows: list[list[str]], *, header: list[str]) -> str:
    """Lay out a table for a terminal; Chinese characters count two columns."""
    from rich.cells import cell_len

    widths = [max(cell_len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def line(row: list[str]) -> str:
        cells = [
            cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)
        ]
        return "  ".join(cells).rstrip()

    return "\n".join([line(header), line(["-" * width for width in widths]), *map(line, rows)])


def progress() -> Callable[[int, int, str], None]:
    """Return a function for (done, total, text): a bar on a terminal, else a line every 30 s."""
    if _quiet:
        return lambda _done, _total, _text: None
    return _bar if sys.stderr.isatty() else _Lines()


def _bar(done: int, total: int, text: str) -> None:
    width = 24
    filled = width * done // total if total else 0
    end = "\n" if done >= total else ""
    sys.stderr.write(
        f"\r\x1b[2K  [{'#' * filled}{'.' * (width - filled)}] {done}/{total} {text}{end}"
    )
    sys.stderr.flush()


class _Lines:
    """A plain line at most every 30 seconds, for logs."""

    def __init__(self) -> None:
        self.last = time.monotonic()

    def __call__(self, done: int, total: int, text: str) -> None:
        if time.monotonic() - self.last >= SECONDS_BETWEEN_LINES:
            self.last = time.monotonic()
            sys.stderr.write(f"  {done}/{total} {text}\n")
            sys.stderr.flush()
