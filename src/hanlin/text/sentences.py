"""Where do the sentences of a text end, in Chinese, in English, and in both mixed?

The sentences are a partition of the text. Quotes and brackets that close go with the sentence that
they close; a short quotation or remark in brackets is not cut at all. Line breaks belong to the
sentence before them, other white space to the one behind: there tokenizers put it too.

All of a text's characters are looked at together, as an array of their classes: a regular
expression was about as slow as the tokenizer itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hanlin.core.records import Span

KEPT_TOGETHER = 100  # characters of a quotation, or of brackets, inside of which nothing ends
HANGING = ",，、:：;；-—(（"  # a line that ends so goes on in the next one
PAIRS = ("“”", "‘’", "「」", "『』", "（）", "()", "【】", "《》")
ABBREVIATIONS = frozenset(
    [
        "Mr",
        "Mrs",
        "Ms",
        "Dr",
        "Prof",
        "St",
        "Sr",
        "Jr",
        "Rev",
        "Hon",
        "Gen",
        "Col",
        "Maj",
        "Capt",
        "Lt",
        "Sgt",
        "Gov",
        "Sen",
        "Rep",
        "Pres",
        "Messrs",
        "Mme",
        "Mlle",
        "vs",
        "etc",
        "cf",
        "al",
        "eg",
        "ie",
        "viz",
        "approx",
        "ca",
        "No",
        "Nos",
        "Vol",
        "vol",
        "pp",
        "pg",
        "p",
        "Fig",
        "Figs",
        "fig",
        "Eq",
        "Sec",
        "sec",
        "Ch",
        "ch",
        "Art",
        "art",
        "Inc",
        "Ltd",
        "Co",
        "Corp",
        "Dept",
        "Univ",
        "Assn",
        "Bros",
        "Ave",
        "Blvd",
        "Rd",
        "Mt",
        "Ft",
        "Jan",
        "Feb",
        "Mar",
        "Apr",
        "Jun",
        "Jul",
        "Aug",
        "Sep",
        "Sept",
        "Oct",
        "Nov",
        "Dec",
        "Mon",
        "Tue",
        "Wed",
        "Thu",
        "Fri",
        "Sat",
        "Sun",
    ]
)
LONGEST_WORD = 20  # characters before a full stop in which an abbreviation is looked for
Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.uint32]
Classes = npt.NDArray[np.uint8]

# Classes of characters. From NEWLINE on they matter; the brackets of PAIRS follow from BRACKET on.
OTHER, SPACE, LOWER, DIGIT, WIDE, NEWLINE, PAUSE, COMMA = range(8)  # WIDE: most beyond ASCII
FULL, HALF, STOP, ELLIPSIS, WIDE_STOP, QUOTE, CLOSE, BRACKET = range(8, 16)
_CHARACTERS = {
    SPACE: " \t\v\f\r\u3000\u00a0", NEWLINE: "\n", LOWER: "abcdefghijklmnopqrstuvwxyz",
    DIGIT: "0123456789", FULL: "。！？｡", HALF: "!?", STOP: ".", ELLIPSIS: "…", WIDE_STOP: "．",
    QUOTE: '"', CLOSE: "'»〉〕］]}", PAUSE: "，、；：—", COMMA: ",;:",
}  # fmt: skip
# What a group of stops and closing marks has in it, as bits.
HAS_FULL, HAS_HALF, HAS_STOP, HAS_ELLIPSIS, HAS_WIDE_STOP, HAS_QUOTE, HAS_CLOSE = (
    1 << bit for bit in range(7)
)
HAS_STOPS = HAS_FULL | HAS_HALF | HAS_STOP | HAS_ELLIPSIS | HAS_WIDE_STOP


def _tables() -> tuple[Classes, Classes]:
    """Return the class of each character below U+10000, and the bits of each class."""
    classes = np.full(1 << 16, WIDE, np.uint8)
    classes[:128] = OTHER
    for name, characters in _CHARACTERS.items():
        classes[[ord(character) for character in characters]] = name
    bits = np.zeros(BRACKET + 2 * len(PAIRS), np.uint8)
    for number, pair in enumerate(PAIRS):
        classes[[ord(character) for character in pair]] = BRACKET + 2 * number + np.arange(2)
        bits[BRACKET + 2 * number + 1] = HAS_CLOSE
    for name in range(FULL, BRACKET):
        bits[name] = 1 << (name - FULL)
    return classes, bits


CLASSES, BITS = _tables()
IS_HANGING = np.zeros(1 << 16, np.bool_)
IS_HANGING[[ord(character) for character in HANGING]] = True


@dataclass(frozen=True)
class Borders:
    """Where the parts of a text end, ascending; the last number of each is the text's length."""

    sentences: Ints
    clauses: Ints


def sentences(text: str) -> list[Span]:
    """Return the sentences in order; one behind another they are the text."""
    ends = find_borders(text).sentences.tolist()
    return [Span(start, end) for start, end in zip([0, *ends], ends, strict=False)]


def find_borders(text: str) -> Borders:
    """Return where sentences end, and where clauses do: at commas, semicolons, colons, dashes."""
    if not text:
        return Borders(np.zeros(0, np.int64), np.zeros(0, np.int64))
    codes = np.frombuffer((text + "\n").encode("utf-32-le", "surrogatepass"), "<u4")
    classes = CLASSES.take(codes, mode="clip")  # the end of a text ends a line
    marks = np.flatnonzero(classes >= NEWLINE)
    kinds = classes[marks]
    groups, lines = _ends_of_groups(text, classes, marks, kinds)
    lines = _ends_of_lines(codes, classes, marks[kinds == NEWLINE], lines)
    ends = np.sort(np.concatenate([groups, lines]), kind="stable")
    ends = ends[(ends > 0) & (ends < len(text)) & ~_is_together(marks, kinds, ends)]
    clauses = _ends_of_clauses(classes, marks, kinds)
    return Borders(np.append(ends, len(text)), np.append(clauses[clauses < len(text)], len(text)))


def _ends_of_groups(text: str, classes: Classes, marks: Ints, kinds: Classes) -> tuple[Ints, Ints]:
    """Return ends behind groups of stops and closing marks, and line breaks that end a sentence.

    A group that stands last in its line ends the sentence together with the line break.
    """
    is_in = BITS[kinds] > 0
    at, bits = marks[is_in], BITS[kinds[is_in]]
    firsts = np.flatnonzero(np.diff(at, prepend=-2) > 1)
    if not len(firsts):
        return at, at
    has = np.bitwise_or.reduceat(bits, firsts)
    starts, ends = at[firsts], at[np.append(firsts[1:], len(at)) - 1] + 1
    is_stop = has & HAS_STOPS > 0
    starts, ends, has = starts[is_stop], ends[is_stop], has[is_stop]
    before, behind = classes[starts - 1], classes[ends]
    line = _skip(classes, ends, (SPACE,))
    is_line = classes[line] == NEWLINE
    follower = _skip(classes, line, (SPACE, NEWLINE))
    is_new = (follower > ends) & (classes[follower] != LOWER) & (classes[follower] != COMMA)
    is_wide = (behind >= BRACKET) | (behind == WIDE)
    is_end = has & HAS_FULL > 0
    is_end |= (has & HAS_HALF > 0) & (is_new | is_wide)
    is_end |= (has & HAS_ELLIPSIS > 0) & ((has & (HAS_CLOSE | HAS_QUOTE) > 0) | is_line)
    is_end |= (has & HAS_WIDE_STOP > 0) & ~((before == DIGIT) & (behind == DIGIT))
    is_plain = (has & HAS_STOP > 0) & ~is_end
    is_end |= is_plain & (is_new | ((before == WIDE) & (behind == WIDE)))
    for index in np.flatnonzero(is_end & is_plain & (before != WIDE)).tolist():
        is_end[index] = not _abbreviates(text, int(starts[index]))
    for index in np.flatnonzero(is_end & (has & HAS_QUOTE > 0)).tolist():
        quote = text.index('"', starts[index])
        if quote > starts[index] and _opens(text, quote):
            ends[index], is_line[index] = quote, False
    return ends[is_end & ~is_line], line[is_end & is_line]


def _ends_of_lines(codes: Codes, classes: Classes, breaks: Ints, forced: Ints) -> Ints:
    """Return the ends of lines, behind their line breaks, except where a line was only too long."""
    is_first = np.diff(breaks, prepend=-2) > 1
    starts, ends = breaks[is_first], breaks[np.append(is_first[1:], True)] + 1
    starts, ends = starts[ends < len(codes)], ends[ends < len(codes)]
    before = np.minimum(codes[starts - 1], len(CLASSES) - 1)
    is_wrapped = (before < 128) & (classes[ends] == LOWER)
    is_end = (ends - starts > 1) | ~(IS_HANGING[before] | is_wrapped)
    is_end |= np.isin(starts, forced, assume_unique=True)
    return ends[is_end]


def _ends_of_clauses(classes: Classes, marks: Ints, kinds: Classes) -> Ints:
    is_pause = (kinds == PAUSE) | (kinds == COMMA)
    at, kind = marks[is_pause] + 1, kinds[is_pause]
    behind = classes[at]
    is_end = (kind == PAUSE) | (behind == SPACE) | (behind == NEWLINE) | (behind == WIDE)
    return at[is_end & (behind != PAUSE) & (BITS[behind] & (HAS_CLOSE | HAS_QUOTE) == 0)]


def _skip(classes: Classes, at: Ints, passed: tuple[int, ...]) -> Ints:
    """Return for each position the next one whose class is not passed over; at most the last."""
    at = at.copy()
    is_passed = np.zeros(len(BITS), np.bool_)
    is_passed[list(passed)] = True
    moving = np.arange(len(at))
    while len(moving):
        moving = moving[is_passed[classes[at[moving]]]]
        moving = moving[at[moving] < len(classes) - 1]
        at[moving] += 1
    return at


def _is_together(marks: Ints, kinds: Classes, ends: Ints) -> npt.NDArray[np.bool_]:
    """Tell which ends lie inside of a short quotation or of brackets."""
    inside = np.zeros(len(ends), np.bool_)
    is_paired = (kinds >= BRACKET) | (kinds == NEWLINE)
    marks, kinds = marks[is_paired], kinds[is_paired]
    for opening in set(kinds.tolist()) & set(range(BRACKET, BRACKET + 2 * len(PAIRS), 2)):
        mine = (kinds == opening) | (kinds == opening + 1) | (kinds == NEWLINE)
        at, kind = marks[mine], kinds[mine]
        is_pair = (kind[:-1] == opening) & (kind[1:] == opening + 1)
        is_pair &= np.diff(at) <= KEPT_TOGETHER + 1
        starts, stops = at[:-1][is_pair], at[1:][is_pair]
        if len(starts):
            pair = np.searchsorted(starts, ends) - 1  # the last that starts before
            inside |= (pair >= 0) & (ends <= stops[pair])
    return inside


def _opens(text: str, at: int) -> bool:
    """Tell whether a straight quote opens: an even number of others is before it in its line."""
    return text.count('"', text.rfind("\n", 0, at) + 1, at) % 2 == 0


def _abbreviates(text: str, at: int) -> bool:
    """Tell whether the full stop at a place belongs to an abbreviation or to a number in a list."""
    before = text[max(0, at - LONGEST_WORD) : at]
    if not before or not before[-1].isascii() or not before[-1].isalnum():
        return False
    word = before.split()[-1].lstrip("(\"'[")
    if word.isdigit():
        return before[: -len(word)].rstrip(" ")[-1:] in ("", "\n")
    return "." in word or word in ABBREVIATIONS or (len(word) == 1 and word != "I")
