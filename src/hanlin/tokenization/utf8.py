"""Which bytes begin a character, which end one, and which characters begin so?"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product


def open_end(text: bytes) -> bytes:
    """Return the bytes of a character that begins at the end of a text and is not complete."""
    for length in range(1, min(3, len(text)) + 1):
        if not is_continuation(text[-length]):
            return text[-length:] if _character_bytes(text[-length]) > length else b""
    return b""


def completions(start: bytes) -> Iterator[str]:
    """Yield all characters whose UTF-8 begins with some bytes."""
    missing = _character_bytes(start[0]) - len(start)
    for end in product(range(0x80, 0xC0), repeat=missing):
        yield from (start + bytes(end)).decode("utf-8", "ignore")  # some are no characters


def is_continuation(byte: int) -> bool:
    """Tell whether a byte cannot be a character's first one."""
    return 0x80 <= byte < 0xC0


def _character_bytes(first: int) -> int:
    """Return how many bytes a character has in UTF-8, from its first one."""
    return 1 + sum(first >= least for least in (0xC0, 0xE0, 0xF0))
