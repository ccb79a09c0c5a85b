"""Which words and n-grams does a text hold, as numbers that can be compared?

Words count for scripts that set them apart by spaces; where a script does not (Chinese, Japanese,
Thai, ...), each character counts as a word, and so does a symbol such as `+` or an emoji. Width,
case and punctuation do not count. All arithmetic is on unsigned 64-bit integers: the same numbers
on every machine and in every process.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int64]
Item = TypeVar("Item")

BATCH_CHARACTERS = 1 << 16  # some megabytes of arrays: they stay in the processor's cache
SEPARATOR, LETTER, SINGLE = 0, 1, 2
CODE_POINTS, ASSIGNED = 0x110000, 0x33480  # no letter or symbol has a place above the second
# Scripts without spaces between words: Thai to Myanmar, Khmer, radicals, kana, Han.
UNSPACED_RANGES = (
    (0x0E00, 0x10A0), (0x1780, 0x1800), (0x2E80, 0x2FE0), (0x3005, 0x3008), (0x3040, 0x3100),
    (0x31F0, 0x3200), (0x3400, 0x4DC0), (0x4E00, 0xA000), (0xF900, 0xFB00), (0x20000, ASSIGNED),
)  # fmt: skip
# Only letters, and none that is a form of another: Han and Hangul. Looking at each would take long.
UNIFORM_RANGES = ((0x3400, 0x4DC0), (0x4E00, 0xA000), (0xAC00, 0xD7A4), (0x20000, 0x2F800))
GOLDEN = 0x9E3779B97F4A7C15
LONGEST = 64  # from here on the places in a word are numbered anew


@dataclass(frozen=True)
class Words:
    """The words of several texts, one after another.

    Attributes:
        hashes: (W,) a number for each word.
        is_single: (W,) whether it is a character of a script without spaces, or a symbol.
        text: (W,) number of the text that it stands in, ascending.
        counts: (T,) words of each text.
    """

    hashes: Hashes
    is_single: npt.NDArray[np.bool_]
    text: Indices
    counts: Indices


def split_words(texts: Sequence[str]) -> Words:
    """Find the words of texts."""
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    joined = "".join(texts).encode("utf-32-le", "surrogatepass")
    points = np.frombuffer(joined, "<u4").astype(np.int64)
    kinds, numbers, powers = _tables()
    kind = kinds[points]
    is_letter = kind == LETTER
    goes_on = np.zeros(len(points), np.bool_)  # a letter after a letter of the same text
    goes_on[1:] = is_letter[1:] & is_letter[:-1]
    begins = (np.cumsum(lengths) - lengths)[lengths > 0]
    goes_on[begins] = False
    is_counted = kind != SEPARATOR
    starts = np.flatnonzero(~goes_on[is_counted])
    terms = numbers[points[is_counted]]
    place = np.arange(len(terms))
    place -= np.repeat(starts, np.diff(starts, append=len(terms)))
    terms *= powers[place % LONGEST]
    hashes = np.add.reduceat(terms, starts) if len(starts) else np.zeros(0, np.uint64)
    where = np.repeat(np.arange(len(texts)), lengths)[is_counted][starts]
    is_single = kind[is_counted][starts] == SINGLE
    return Words(hashes, is_single, where, np.bincount(where, minlength=len(texts)))


def shingles(words: Words, size: int) -> tuple[Hashes, Indices]:
    """Return the n-grams of words, doubled ones too, and the number of the text of each.

    A text with fewer words than `size` gives one n-gram of all of them; a text without words
    gives one that stands for no words.
    """
    padded = np.append(words.hashes, np.zeros(size - 1, np.uint64))
    where = np.append(words.text, np.full(size - 1, -1))
    total = len(words.hashes)
    sums = np.zeros(total, np.uint64)
    for place in range(size):
        same = where[place : place + total] == words.text
        sums += np.where(same, padded[place : place + total], 0) * _odd(place)
    is_whole = where[size - 1 :] == words.text
    firsts = (np.cumsum(words.counts) - words.counts)[words.counts > 0]
    is_whole[firsts] = True
    wordless = np.flatnonzero(words.counts == 0)
    found = np.append(mix(sums[is_whole]), np.zeros(len(wordless), np.uint64))
    return found, np.append(words.text[is_whole], wordless)


def mix(values: Hashes) -> Hashes:
    """Return numbers of which every bit depends on every bit of `values`.

    The finalizer of SplitMix64 (Steele, Lea, Flood 2014, https://doi.org/10.1145/2660193.2660195).
    """
    mixed = values ^ (values >> np.uint64(30))
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed


def in_batches(items: Iterable[Item], *, text: Callable[[Item], str]) -> Iterator[list[Item]]:
    """Yield items some at a time, so that the arrays of their texts stay small."""
    held: list[Item] = []
    size = 0
    for item in items:
        held.append(item)
        size += len(text(item)) + 64  # many short texts have a cost too
        if size >= BATCH_CHARACTERS:
            yield held
            held, size = [], 0
    if held:
        yield held


def _odd(place: int) -> np.uint64:
    return np.uint64((GOLDEN * (2 * place + 1)) % (1 << 64) | 1)


@cache
def _tables() -> tuple[npt.NDArray[np.uint8], Hashes, Hashes]:
    """Return the kind and a random number of each code point, and a factor for each place."""
    kinds = np.zeros(CODE_POINTS, np.uint8)
    folded = np.arange(CODE_POINTS, dtype=np.uint64)
    for start, end in UNIFORM_RANGES:
        kinds[start:end] = LETTER
    for point in np.flatnonzero(kinds[:ASSIGNED] == SEPARATOR).tolist():
        category = unicodedata.category(chr(point))
        if category[0] in "LMN":
            kinds[point] = LETTER
        elif category in ("Sm", "Sc", "So"):
            kinds[point] = SINGLE
        plain = unicodedata.normalize("NFKC", chr(point)).lower()
        if len(plain) == 1:
            folded[point] = ord(plain)
    for start, end in UNSPACED_RANGES:
        block = kinds[start:end]
        block[block == LETTER] = SINGLE
    numbers = mix((folded + np.uint64(1)) * np.uint64(GOLDEN))
    powers = mix(np.arange(LONGEST, dtype=np.uint64) * np.uint64(GOLDEN) + np.uint64(1))
    return kinds, numbers, powers | np.uint64(1)
