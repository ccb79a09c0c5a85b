"""Which lines stand in so many documents that they say nothing: menus, notices, footers?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

LONGEST = 200  # characters; a longer line that comes often is a duplicate, not boilerplate
CELLS = 1 << 24  # counters in each of two rows: a million lines are counted right but for 0.4 %


def repeated_lines(texts: Iterable[str], *, documents: int) -> frozenset[int]:
    """Return the digests of lines that stand in at least so many documents.

    Counted in a count-min sketch (Cormode and Muthukrishnan 2005): 32 MB however many lines there
    are. A line may be counted too high, never too low.

    Args:
        texts: tidy documents.
        documents: at most 255.
    """
    counters = np.zeros((2, CELLS), np.uint8)
    found: set[int] = set()
    for text in texts:
        numbers = {line_digest(line) for line in text.split("\n")} - {0}
        for number in sorted(numbers - found):
            cells = (0, number % CELLS), (1, (number >> 32) % CELLS)
            for cell in cells:
                counters[cell] += counters[cell] < 255
            if min(counters[cell] for cell in cells) >= documents:
                found.add(number)
    return frozenset(found)


def without_lines(text: str, repeated: frozenset[int]) -> str:
    """Return a text without the lines of these digests."""
    return "\n".join([line for line in text.split("\n") if line_digest(line) not in repeated])


def line_digest(line: str) -> int:
    """Return 64 bits of a line's digest; 0 for a line that is empty or too long to count."""
    line = line.strip()
    if not line or len(line) > LONGEST:
        return 0
    return int.from_bytes(hashlib.blake2b(line.encode("utf-8", "replace"), digest_size=8).digest())
