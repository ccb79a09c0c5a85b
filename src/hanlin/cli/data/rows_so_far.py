"""How far is a command that reads a file of unknown length? A line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable

from hanlin.cli import console


def rows_so_far() -> Callable[[int], None]:
    """Return a function for the number of rows so far; it says so every 30 seconds."""
    last = time.monotonic()

    def tell(rows: int) -> None:
        nonlocal last
        if time.monotonic() - last >= console.SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            console.note(f"  {rows:,} rows")

    return tell
