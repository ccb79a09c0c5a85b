"""Where in texts is something named? All aliases are looked for in one pass.

The automaton (Aho and Corasick, 1975) gives the leftmost longest alias at each place. A word of a
script with spaces must not go on beyond an alias: no "Art" in "Arthur", no "art" in "smart";
Chinese has no such borders. For its end both aliases and texts get a mark behind such words before
they meet (a single space between two words becomes the mark), so that the automaton itself knows
it. Where a word begins is asked of the hits. To ask the hits for both ends took up to fifty times
as long (every "in" of an "into"), and a mark before each word as well a third of the speed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from hanlin.core.extras import require
from hanlin.text.normalize import fold_width

Hit = tuple[int, int, int]  # alias, start, end
Ints = npt.NDArray[np.int64]
MARK, SPACE = 0x1F, 0x20
_MARK = bytes([MARK])
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
        joined = _mark(_utf8("\n".join(aliases))).marked
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
        marked = _mark(_utf8(text))
        hits = self._whole(marked, _hits(self._search(marked.marked)))
        found = marked.in_characters(hits)
        is_number = self._is_number[found[:, 0]]
        if not is_number.any():
            return found
        is_good = np.ones(len(found), np.bool_)
        for at in np.flatnonzero(is_number).tolist():
            is_good[at] = _is_whole_number(text, *found[at, 1:].tolist())
        return found[is_good]

    def _whole(self, marked: _Marked, hits: Ints) -> Ints:
        """Return the hits that begin where a word does, and those that the others have hidden."""
        while len(inside := marked.inside(hits[:, 1])):
            starts, ends = hits[inside, 1].tolist(), hits[inside, 2].tolist()
            is_good = np.ones(len(hits), np.bool_)
            is_good[inside] = False
            for at, start, end in zip(inside.tolist(), starts, ends, strict=True):
                behind = marked.marked.find(_MARK, start, end - 1) + 1
                if behind:  # the hit goes on behind the word in which it begins
                    last = marked.marked.find(b"\n", behind)
                    stop = last if last >= 0 else len(marked.marked)
                    more = _hits(self._search(marked.marked[behind:stop]))
                    more[:, 1:] += behind
                    later = hits[at:][hits[at:, 1] >= stop]
                    hits = np.concatenate([hits[:at][is_good[:at]], more, later])
                    break
            else:
                return hits[is_good]
        return hits


def _hits(found: Iterable[tuple[int, int, int]]) -> Ints:
    return np.fromiter(chain.from_iterable(found), np.int64).reshape(-1, 3)


def _utf8(text: str) -> bytes:
    plain = text.encode("utf-8", "replace")
    folded = fold_width(text).encode("utf-8", "replace") if _WIDE.search(plain) else plain
    return folded.replace(_MARK, b"\x1e")  # it stands for nothing in a text


def _classes() -> bytes:
    """Return for each byte 1 where it begins a letter or digit of a spaced script, 2 inside of one.

    ASCII is exact. U+0080 to U+00BF and U+2000 to U+2FFF (signs) are none; the other characters
    below U+2000 are, and those from U+3000 on (Han, kana and what belongs to them) are not.
    """
    ascii_ = bytes(chr(code).isalnum() for code in range(0x80))
    return ascii_ + bytes([INSIDE]) * 0x40 + bytes(0xC3 <= code < 0xE2 for code in range(0xC0, 256))


INSIDE = 2
CLASSES = _classes()
_CLASSES = np.frombuffer(CLASSES, np.uint8)


@dataclass(frozen=True)
class _Marked:
    """A text with a mark behind each word.

    Attributes:
        marked: the text in UTF-8, with marks.
        added: places of the marks that stand for nothing in the text.
    """

    marked: bytes
    added: Ints

    def inside(self, starts: Ints) -> Ints:
        """Return which of these places, where characters begin, are inside of a word."""
        text = np.frombuffer(self.marked, np.uint8)
        found = np.flatnonzero((_CLASSES[text[starts]] == 1) & (starts > 0))
        before = starts[found] - 1
        for _ in range(2):  # back to the first byte of the character; no word has one of four
            before -= (text[before] & 0xC0) == 0x80
        return found[_CLASSES[text[before]] == 1]

    def in_characters(self, hits: Ints) -> Ints:
        """Return hits with places in characters of the text, the marks at their ends left out."""
        if not len(hits):
            return hits
        text = np.frombuffer(self.marked, np.uint8)
        is_none = (text & 0xC0) == 0x80  # the inner bytes of a character
        is_none[self.added] = True
        none = np.flatnonzero(is_none)
        starts, ends = hits[:, 1].copy(), hits[:, 2].copy()
        ends -= text[ends - 1] == MARK
        hits[:, 1] = starts - none.searchsorted(starts)
        hits[:, 2] = ends - none.searchsorted(ends)
        return hits


def _mark(plain: bytes) -> _Marked:
    """Put a mark behind each word; a single space between two words becomes one."""
    own, classes = (np.frombuffer(one, np.uint8) for one in (plain, plain.translate(CLASSES)))
    is_word = classes == 1
    if not plain.isascii():
        is_inner = classes == INSIDE
        for _ in range(2):  # bytes of a character are of a kind with its first; no word has four
            is_word[1:] |= is_word[:-1] & is_inner[1:]
    is_end = is_word.copy()
    is_end[:-1] &= ~is_word[1:]
    is_space = np.zeros_like(is_word)
    is_space[1:-1] = is_end[:-2] & (own[1:-1] == SPACE) & is_word[2:]
    is_end[:-1] &= ~is_space[1:]
    ends = np.flatnonzero(is_end)
    added = ends + np.arange(1, len(ends) + 1)
    marked = np.full(len(own) + len(ends), MARK, np.uint8)
    is_own = np.ones(len(marked), np.bool_)
    is_own[added] = False
    marked[is_own] = own ^ (is_space.view(np.uint8) * np.uint8(SPACE ^ MARK))
    return _Marked(marked.tobytes(), added)


def _is_whole_number(text: str, start: int, end: int) -> bool:
    """Tell 871 from a part of 1,871 or 3.871."""
    before, behind = text[max(0, start - 2) : start], text[end : end + 2]
    goes_back = text[start].isdigit() and before[-1:] in (".", ",") and before[0].isdigit()
    goes_on = text[end - 1].isdigit() and behind[:1] in (".", ",") and behind[1:].isdigit()
    return not (goes_back or goes_on)
