"""How does an answer appear on the terminal? As it comes; of beams, the best one's end in gray."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

from hanlin.cli import console

if TYPE_CHECKING:
    from hanlin.inference.engine import StreamEvent

GRAY, PLAIN, CLEAR = "\x1b[90m", "\x1b[0m", "\x1b[K"
MARGIN = 2  # columns kept free: terminals differ in the width of some characters


def show_answer(events: Generator[StreamEvent], *, may_cancel: bool, show: bool) -> str:
    """Write an answer as it comes, and return it.

    Args:
        events: of the answer; closed at the end.
        may_cancel: Ctrl-C stops the answer, and not the program.
        show: write it to the standard output.
    """
    parts: list[str] = []
    tail = Tail(is_shown=show and sys.stdout.isatty())
    with contextlib.closing(events), _ctrl_c(is_caught=may_cancel) as pressed:
        try:
            for event in events:
                tail.remove()
                parts.append(event.text)
                if show and event.text:
                    console.write(event.text)
                if pressed:
                    break
                if event.beams and event.generation is None:
                    tail.write("".join(parts), event.beams[0].tail)
        finally:
            tail.remove()
            if show and (parts or pressed):
                console.write("\n")
    if pressed:
        console.note("(stopped)")
    return "".join(parts).rstrip()


class Tail:
    """The end of a text that may still change, on the line where the text ends.

    Args:
        is_shown: False where nobody looks: not on a terminal.
    """

    def __init__(self, *, is_shown: bool) -> None:
        self._is_shown = is_shown
        self._columns = 0

    def write(self, text: str, tail: str) -> None:
        """Write as much of a tail as fits into the line behind a text."""
        if not self._is_shown:
            return
        from rich.cells import cell_len, set_cell_size

        width = shutil.get_terminal_size().columns
        used = cell_len(text.rpartition("\n")[2]) % width
        line = "".join(c if c.isprintable() else " " for c in tail.partition("\n")[0])
        room = max(0, width - used - MARGIN)
        line = line if cell_len(line) <= room else set_cell_size(line, room)
        self._columns = cell_len(line)
        if self._columns:
            console.write(f"{GRAY}{line}{PLAIN}")

    def remove(self) -> None:
        """Take it away again."""
        if self._columns:
            console.write(f"\x1b[{self._columns}D{CLEAR}")
            self._columns = 0


@contextlib.contextmanager
def _ctrl_c(*, is_caught: bool) -> Iterator[list[int]]:
    """Fill a list at Ctrl-C while the block runs; a second one interrupts it.

    An exception at any moment can be lost in a library's clean-up; a mark cannot.
    """
    pressed: list[int] = []
    if not is_caught:
        yield pressed
        return

    def mark(number: int, _frame: object) -> None:
        if pressed:
            raise KeyboardInterrupt
        pressed.append(number)

    before = signal.signal(signal.SIGINT, mark)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)
