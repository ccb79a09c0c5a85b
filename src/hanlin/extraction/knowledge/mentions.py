"""Where in texts is something named? All aliases are looked for in one pass.

The automaton (Aho and Corasick, 1975) gives the leftmost longest alias at each place. A word of a
script with spaces must not go on beyond an alias: no "Art" in "Arthur", no "art" in "smart";
Chinese has no such borders. The borders of all hits are looked at together, and what begins or
ends inside of a word is dropped. Where an alias has several words (or Chinese characters), it may
have hidden another one, which is then looked for. That is rare: the longest alias at the beginning
of a word mostly ends with a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from hanlin.core.extras import require

Hit = tuple[int, int, int]  # alias, start, end
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
NEW_LINE = "\n"
_CODE_POINTS = "utf-32-le"
WIDE = ((0xFF10, 0xFF19), (0xFF21, 0xFF3A), (0xFF41, 0xFF5A))  # full-width 0 to 9, A to Z, a to z
WIDER = 0xFEE0  # than the ordinary ones


class MentionFinder:
    """Finds aliases; to be made once for many texts.

    Args:
        aliases: different texts, none of them empty and none with a line break.

    Raises:
        MissingExtraError: ahocorasick-rs is not installed.
    """

    def __init__(self, aliases: Sequence[str]) -> None:
        library = require("ahocorasick_rs", extra="extract", purpose="finding many aliases at once")
        joined = _Text(NEW_LINE.join(aliases))
        self._search: Any = library.AhoCorasick(
            joined.plain.split(NEW_LINE) if aliases else [],
            matchkind=library.MatchKind.LeftmostLongest, store_patterns=False,
        ).find_matches_as_indexes  # fmt: skip
        lengths = np.array([len(alias) for alias in aliases], np.int64)
        self._longest = int(lengths.max(initial=0))
        self._has_borders = joined.lines_with_borders(lengths)
        self._is_number = np.array([a[0].isdigit() or a[-1].isdigit() for a in aliases], np.bool_)

    def find(self, texts: Sequence[str]) -> list[list[Hit]]:
        """Return for each text (alias, start, end) in its order; no two of them overlap.

        Full-width letters and digits of the texts count as ordinary ones.
        """
        hits = self.find_joined(NEW_LINE.join(texts))
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
        read = _Text(text)
        found = self._search(read.plain)
        hits = np.fromiter(chain.from_iterable(found), np.int64, 3 * len(found)).reshape(-1, 3)
        is_good = read.are_borders(hits[:, 1]) & read.are_borders(hits[:, 2])
        hiding = np.flatnonzero(~is_good & self._has_borders[hits[:, 0]])
        hits = self._with_hidden(read, hits, is_good, hiding) if len(hiding) else hits[is_good]
        numbers = np.flatnonzero(self._is_number[hits[:, 0]])
        if not len(numbers):
            return hits
        is_part = [at for at in numbers if _is_part_of_number(read.plain, *hits[at, 1:].tolist())]
        return np.delete(hits, is_part, axis=0)

    def _with_hidden(self, read: _Text, hits: Ints, is_good: Bools, hiding: Ints) -> Ints:
        """Return the good hits, and those that bad ones have hidden.

        What is found instead may go on behind the bad hit, over the next ones, which then are bad
        as well and may have hidden another.
        """
        found, first = [], 0
        for bad in hiding.tolist():
            if bad < first:
                continue
            found.append(hits[first:bad][is_good[first:bad]])
            _, place, end = hits[bad].tolist()
            first = bad + 1
            while place < end:
                hit = self._longest_at(read, place)
                if hit is None:
                    place = next(filter(read.is_border, range(place + 1, end)), end)
                    continue
                found.append(np.array([hit]))
                place = hit[2]
                while first < len(hits) and hits[first, 1] < place:
                    end = int(hits[first, 2])
                    first += 1
        found.append(hits[first:][is_good[first:]])
        return np.concatenate(found)

    def _longest_at(self, read: _Text, start: int) -> Hit | None:
        """Return the longest alias with borders that begins at a place."""
        end = start + self._longest if read.is_border(start) else start
        while end > start:
            found = self._search(read.plain[start:end])
            if not found or found[0][1]:
                break
            alias, _, length = found[0]
            end = start + length
            if read.is_border(end):
                return alias, start, end
            end = next(filter(read.is_border, range(end - 1, start, -1)), start)
        return None


class _Text:
    """A text with ordinary letters and digits in place of full-width ones.

    Attributes:
        plain: it, as long as before.
    """

    def __init__(self, text: str) -> None:
        between = f"{NEW_LINE}{text}{NEW_LINE}"
        try:
            encoded = between.encode(_CODE_POINTS)
        except UnicodeEncodeError:  # half of a pair: no library takes it
            encoded = between.encode(_CODE_POINTS, "replace")
            text = encoded.decode(_CODE_POINTS)[1:-1]
        self._codes = np.frombuffer(encoded, np.uint32)  # with a line end before and behind
        if self._codes.max() >= WIDE[0][0]:
            is_wide = np.zeros(len(self._codes), np.bool_)
            for low, high in WIDE:
                is_wide |= (self._codes >= low) & (self._codes <= high)
            if is_wide.any():
                self._codes = self._codes - is_wide * np.uint32(WIDER)
                text = self._codes[1:-1].tobytes().decode(_CODE_POINTS)
        self.plain = text

    def are_borders(self, places: Ints) -> Bools:
        """Tell which of these places are not inside of a word."""
        return ~(_IS_OF_WORD[self._codes[places]] & _IS_OF_WORD[self._codes[places + 1]])

    def is_border(self, place: int) -> bool:
        """Tell whether a place is not inside of a word."""
        before, behind = self._codes[place], self._codes[place + 1]
        return not (_IS_OF_WORD[before] and _IS_OF_WORD[behind])

    def lines_with_borders(self, lengths: Ints) -> Bools:
        """Tell for each line, given their lengths, whether it has a place that is in no word."""
        if not len(lengths):
            return np.zeros(0, np.bool_)
        is_of_word = _IS_OF_WORD[self._codes]
        borders = ~(is_of_word[:-1] & is_of_word[1:])  # of all places: no array of places is needed
        starts = np.cumsum(lengths + 1) - lengths - 1
        return np.add.reduceat(borders, starts, dtype=np.int64) > 2  # more than its two ends


def _of_words() -> Bools:
    """Return for each code point whether it is a letter or digit of a script with spaces.

    ASCII is exact. U+0080 to U+00BF and U+2000 to U+2FFF (signs) are none; the other characters
    below U+2000 are, and those from U+3000 on (Han, kana and what belongs to them) are not.
    """
    found = np.zeros(0x110000, np.bool_)
    found[:0x80] = [chr(code).isalnum() for code in range(0x80)]
    found[0xC0:0x2000] = True
    return found


_IS_OF_WORD = _of_words()


def _is_part_of_number(text: str, start: int, end: int) -> bool:
    """Tell the 871 of 1,871 or 3.871 from one that stands alone."""
    before, behind = text[max(0, start - 2) : start], text[end : end + 2]
    goes_back = text[start].isdigit() and before[-1:] in (".", ",") and before[0].isdigit()
    goes_on = text[end - 1].isdigit() and behind[:1] in (".", ",") and behind[1:].isdigit()
    return goes_back or goes_on
