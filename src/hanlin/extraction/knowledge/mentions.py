"""Where in texts is something named? All aliases are looked for in one pass.

The automaton (Aho and Corasick, 1975) gives the leftmost longest alias at each place. A word of a
script with spaces must not go on beyond an alias: no "Art" in "Arthur"; Chinese has no such
borders. For this both aliases and texts get a mark at each end of such words before they meet, so
that the automaton itself knows the borders. To check its hits afterwards took up to fifty times as
long (every "in" of an "into"), and a longer alias that breaks the rule hid shorter ones.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from hanlin.core.extras import require
from hanlin.text.normalize import fold_width

Hit = tuple[int, int, int]  # alias, start, end
Ints = npt.NDArray[np.int64]
MARK = 0x1F
# Full-width letters and digits in UTF-8, to be folded. Other full-width marks are no letters.
_WIDE = re.compile(rb"\xef(?:\xbc[\x90-\x99\xa1-\xba]|\xbd[\x81-\x9a])")


class MentionFinder:
    """Finds aliases; to be made once for many texts.

    Args:
        aliases: different texts, none of them empty and none with a line break.

    Raises:
        MissingExtraError: ahocorasick-rs is not installed.
    """

    def __init__(self, aliases: Sequence[str]) -> None:
        library = require("ahocorasick_rs", extra="extract", purpose="finding many aliases at once")
        joined = _marked(_utf8("\n".join(aliases)))[0]
        self._search: Any = library.BytesAhoCorasick(
            joined.split(b"\n") if aliases else [], matchkind=library.MatchKind.LeftmostLongest
        ).find_matches_as_indexes
        self._is_number = np.array([a[0].isdigit() or a[-1].isdigit() for a in aliases], np.bool_)

    def find(self, texts: Sequence[str]) -> list[list[Hit]]:
        """Return for each text (alias, start, end) in its order; no two of them overlap.

        Full-width letters and digits of the texts count as ordinary ones.
        """
        hits = self.find_joined("\n".join(texts))
        ends = np.cumsum([len(text) + 1 for text in texts])
        cuts = np.searchsorted(hits[:, 1], ends).tolist()
        starts = [0, *ends.tolist()]
        found, first = [], 0
        for number, last in enumerate(cuts):
            own = hits[first:last] - (0, starts[number], starts[number])
            found.append(list(map(tuple, own.tolist())))
            first = last
        return found

    def find_joined(self, text: str) -> Ints:
        """Return the rows (alias, start, end) of one text, or of several with line ends between."""
        marked, places, inner = _marked(_utf8(text))
        found = np.fromiter(chain.from_iterable(self._search(marked)), np.int64).reshape(-1, 3)
        found[:, 1:] -= np.searchsorted(places, found[:, 1:])  # from marked to plain bytes
        if len(inner):
            found[:, 1:] -= np.searchsorted(inner, found[:, 1:])  # from bytes to characters
        is_number = self._is_number[found[:, 0]]
        if not is_number.any():
            return found
        is_good = np.ones(len(found), np.bool_)
        for at in np.flatnonzero(is_number).tolist():
            is_good[at] = _is_whole_number(text, *found[at, 1:].tolist())
        return found[is_good]


def _utf8(text: str) -> bytes:
    plain = text.encode("utf-8", "replace")
    return fold_width(text).encode("utf-8", "replace") if _WIDE.search(plain) else plain


def _classes() -> bytes:
    """Return for each byte 1 where it begins a letter or digit of a spaced script, 2 inside of one.

    ASCII is exact. U+0080 to U+00BF and U+2000 to U+2FFF (signs) are none; the other characters
    below U+2000 are, and those from U+3000 on (Han, kana and what belongs to them) are not.
    """
    ascii_ = bytes(chr(code).isalnum() for code in range(0x80))
    return ascii_ + bytes([INSIDE]) * 0x40 + bytes(0xC3 <= code < 0xE2 for code in range(0xC0, 256))


INSIDE = 2
CLASSES = _classes()


def _marked(plain: bytes) -> tuple[bytes, Ints, Ints]:
    """Put a mark at each end of each word.

    Returns:
        The text with marks, where they are in it, and the places in `plain` inside of characters.
    """
    classes = np.frombuffer(bytearray(b"\0" + plain.translate(CLASSES) + b"\0"), np.uint8)
    inner = np.zeros(0, np.int64)
    if not plain.isascii():
        inside = np.flatnonzero(classes == INSIDE)
        for _ in range(3):  # the bytes of a character are of a kind with its first
            classes[inside] = classes[inside - 1]
        inner = inside - 1
    edges = np.flatnonzero(classes[1:] != classes[:-1])
    places = edges + np.arange(len(edges))
    marked = np.full(len(plain) + len(edges), MARK, np.uint8)
    is_own = np.ones(len(marked), np.bool_)
    is_own[places] = False
    marked[is_own] = np.frombuffer(plain, np.uint8)
    return marked.tobytes(), places, inner


def _is_whole_number(text: str, start: int, end: int) -> bool:
    """Tell 871 from a part of 1,871 or 3.871."""
    before, behind = text[max(0, start - 2) : start], text[end : end + 2]
    goes_back = text[start].isdigit() and before[-1:] in (".", ",") and before[0].isdigit()
    goes_on = text[end - 1].isdigit() and behind[:1] in (".", ",") and behind[1:].isdigit()
    return not (goes_back or goes_on)
