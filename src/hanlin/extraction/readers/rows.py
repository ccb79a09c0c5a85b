"""How do the rows of a set become examples, with spans that are checked?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hanlin.data.readers import BadRows
from hanlin.data.readers.json_rows import read_values
from hanlin.extraction.facts import Extraction, Mention


def read_rows(
    path: Path, bad: BadRows, example: Callable[[dict[str, Any], str], Extraction]
) -> Iterator[Extraction]:
    """Yield the example that each JSON row makes; `example` gets the row and the line as an id.

    A row that it fails on is counted with the reason.
    """
    for line, row in read_values(path, bad):
        try:
            if not isinstance(row, dict):
                raise TypeError(f"expected an object, found {type(row).__name__}")
            yield example(row, str(line))
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            reason = f"no key {error}" if isinstance(error, KeyError) else str(error)
            bad.add(str(path), line, reason)


class Mentions:
    """Collects the mentions of one text; the same span with the same type is one mention."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.found: dict[tuple[int, int, str], int] = {}

    def add(self, name: str, start: int, end: int, type_: str = "") -> int:
        """Return the index of a mention.

        Raises:
            ValueError: the name does not stand there.
        """
        if start < 0 or not name or self.text[start:end] != name:
            raise ValueError(f"the span [{start}, {end}) is {self.text[start:end]!r}, not {name!r}")
        return self.found.setdefault((start, end, type_), len(self.found))

    def all(self) -> tuple[Mention, ...]:
        """Return them in the order in which they were added."""
        return tuple(
            Mention(self.text[start:end], type_, start, end) for start, end, type_ in self.found
        )
