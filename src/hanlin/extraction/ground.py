"""Where can a name stand in a text? As it is written, in another width or script, or nearly so.

    exact    character for character
    folded   up to full and half width: ＡＢＣ公司 is ABC公司
    script   up to simplified and traditional characters (OpenCC): 臺灣 is 台湾
    fuzzy    up to case, white space and punctuation; else the place that is most alike

Every step but the last finds all places. No step needs words: Chinese without spaces is the rule.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from functools import cache, cached_property, lru_cache
from importlib.util import find_spec
from typing import Protocol

from hanlin.core.extras import require
from hanlin.extraction.facts import STATUSES, Status
from hanlin.text.normalize import fold_width

Places = list[tuple[int, int]]
PURPOSE = "finding names that are written otherwise in the text"
# Characters that are alike, of 100 (Indel): one wrong in five. What langextract takes (75) finds
# another person where two of three Chinese characters fit.
LIKENESS = 80
SHORTEST_FUZZY = 4  # characters: in a shorter name one wrong character makes another name
SLACK = 2  # characters by which a place that is alike is moved at either end


class Ground:
    """A text in which names are looked for.

    Args:
        text: the text.
        until: the last step that is tried; those behind it are not.

    Raises:
        MissingExtraError: a step needs a package that is not installed.
    """

    def __init__(self, text: str, *, until: Status = "folded") -> None:
        self.text = text
        self.steps = STATUSES[: STATUSES.index(until) + 1]
        if "script" in self.steps:
            _converters()
        if "fuzzy" in self.steps:
            require("rapidfuzz", extra="extract", purpose=PURPOSE)

    def places(self, name: str) -> tuple[Places, Status]:
        """Return all places of a name by the first step that finds any, in order."""
        look: dict[str, Callable[[str], Places]] = {
            "exact": self._exact,
            "folded": self._folded,
            "script": self._in_script,
            "fuzzy": self._fuzzy,
        }
        for status in self.steps:
            found = look[status](name) if status in look and name else []
            if found:
                return found, status
        return [], "missing"

    def _exact(self, name: str) -> Places:
        return _occurrences(self.text, name)

    def _folded(self, name: str) -> Places:
        return _occurrences(self._wide, fold_width(name))

    def _in_script(self, name: str) -> Places:
        return _occurrences(self._simple, fold_script(fold_width(name)))

    def _fuzzy(self, name: str) -> Places:
        bare, _ = _bare(name)
        found = _occurrences(self._skeleton[0], bare) if bare else []
        at = self._skeleton[1]
        if found:
            return [(at[start], at[end - 1] + 1) for start, end in found]
        return self._alike(name)

    def _alike(self, name: str) -> Places:
        """Return the one place that is most alike, if it is alike enough."""
        from rapidfuzz import fuzz

        name, text = fold_script(fold_width(name)).casefold(), self._simple.casefold()
        if not SHORTEST_FUZZY <= len(name) <= len(text) or len(text) != len(self.text):
            return []
        rough = fuzz.partial_ratio_alignment(name, text, score_cutoff=LIKENESS - 15)
        if rough is None or (rough.dest_start, rough.dest_end) == (0, 0):
            return []
        starts = range(max(0, rough.dest_start - SLACK), rough.dest_start + SLACK + 1)
        ends = range(rough.dest_end - SLACK, min(len(text), rough.dest_end + SLACK) + 1)
        best = max(
            (fuzz.ratio(name, text[start:end]), -start, -end)
            for start in starts
            for end in ends
            if start < end
        )
        start, end = -best[1], -best[2]
        return [(start, end)] if best[0] >= LIKENESS else []

    @cached_property
    def _wide(self) -> str:
        return fold_width(self.text)

    @cached_property
    def _simple(self) -> str:
        return fold_script(self._wide)

    @cached_property
    def _skeleton(self) -> tuple[str, list[int]]:
        return _bare(self.text)


def farthest() -> Status:
    """Return the last step that the installed packages allow."""
    if find_spec("opencc") is None:
        return "folded"
    return "script" if find_spec("rapidfuzz") is None else "fuzzy"


def fold_script(text: str) -> str:
    """Turn traditional characters into simplified ones, each by itself: lengths stay.

    Without looking at words 乾隆 becomes 干隆; so it does on both sides of a comparison.
    """
    return "".join(map(_simplified, text))


@lru_cache(maxsize=1 << 16)
def _simplified(character: str) -> str:
    if character < "\u2e80":
        return character
    to_traditional, to_simplified = _converters()
    simple = to_simplified.convert(to_traditional.convert(character))  # 钜 and 鉅 are both 巨
    return simple if len(simple) == 1 else character


class _Converter(Protocol):
    """What is used of OpenCC's converters."""

    def convert(self, text: str) -> str:
        """Return the converted text."""


@cache
def _converters() -> tuple[_Converter, _Converter]:
    """Return OpenCC's conversions to traditional and to simplified."""
    opencc = require("opencc", extra="extract", purpose=PURPOSE)
    return opencc.OpenCC("s2t"), opencc.OpenCC("t2s")


def _bare(text: str) -> tuple[str, list[int]]:
    """Return letters, digits and signs alone, in one case and script; and where each stood."""
    kept = [
        (folded, place)
        for place, character in enumerate(fold_script(fold_width(text)))
        if (folded := _plain(character))
    ]
    return "".join(folded for folded, _ in kept), [place for _, place in kept]


@lru_cache(maxsize=1 << 16)
def _plain(character: str) -> str:
    """Return a character without case and accents, "" for blanks, punctuation and marks."""
    first = unicodedata.normalize("NFKD", character)[:1].casefold()[:1]
    return "" if unicodedata.category(first or " ")[0] in "ZPCM" else first


def _occurrences(text: str, name: str) -> Places:
    found, start = [], text.find(name) if name else -1
    while start >= 0:
        found.append((start, start + len(name)))
        start = text.find(name, start + 1)
    return found


def is_bordered(text: str, start: int, end: int) -> bool:
    """Tell whether no Latin word or number is cut at the ends of a place."""
    return not (_is_cut(text[start - 1 : start + 1]) or _is_cut(text[end - 1 : end + 1]))


def _is_cut(pair: Iterable[str]) -> bool:
    """Tell whether two neighboring characters are of one word."""
    both = list(pair)
    return len(both) == 2 and all(c.isalnum() and c < "\u2e80" for c in both)
