"""BIO and CoNLL files: a token and its tag on each line, a blank line between sentences.

A chunk begins at B-, and at I- behind another type or behind O (the IO and IOB1 schemes).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from hanlin.data.readers import BadRows
from hanlin.data.readers.bio import PLACED, UNSPACED
from hanlin.data.readers.detect import TAGGED
from hanlin.data.readers.opened import bounded_lines, head, opened
from hanlin.extraction.facts import Extraction
from hanlin.extraction.readers.rows import Mentions

Token = tuple[str, str]


def read_bio_tags(path: Path, bad: BadRows) -> Iterator[Extraction]:
    """Yield each sentence with its chunks as entities."""
    has_places = _has_places(path)
    sentence: list[Token] = []
    first = 1
    with opened(path) as stream:
        for number, raw in bounded_lines(stream):
            line = (raw or b"\xff").decode("utf-8", "replace").strip("\ufeff\r\n ")
            if line and not TAGGED.match(line):
                bad.add(str(path), number, "no token with a tag")
            elif line:
                first = first if sentence else number
                token, *_, tag = line.split()
                sentence.append((token[:-1] if has_places else token, tag))
            elif sentence:
                yield _example(sentence, str(first))
                sentence = []
    if sentence:
        yield _example(sentence, str(first))


def _has_places(path: Path) -> bool:
    """Tell whether the tokens are characters with their place in the word: 科0 技1 (Weibo NER)."""
    lines = head(path).decode("utf-8-sig", "ignore").splitlines()[:-1]
    return all(PLACED.match(line.split()[0]) for line in lines if line.strip())


def _example(sentence: Sequence[Token], id_: str) -> Extraction:
    text, places = _joined([token for token, _ in sentence])
    mentions = Mentions(text)
    for first, last, type_ in chunks([tag for _, tag in sentence]):
        start, end = places[first][0], places[last - 1][1]
        mentions.add(text[start:end], start, end, type_)
    is_chinese = any(UNSPACED.match(character) for character in text)
    return Extraction(id_, text, "zh" if is_chinese else "en", mentions.all())


def _joined(tokens: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """Put tokens together, without blanks beside Chinese ones; say where each stands."""
    text, places = "", []
    for token in tokens:
        if text and not (UNSPACED.match(text[-1]) or UNSPACED.match(token[0])):
            text += " "
        places.append((len(text), len(text) + len(token)))
        text += token
    return text, places


def chunks(tags: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """Yield (first, end, type) of the chunks in a row of tags, as conlleval counts them."""
    start, open_ = 0, ""
    for index, tag in enumerate([*tags, "O"]):
        mark, _, type_ = tag.partition("-")
        goes_on = mark in ("I", "M", "E") and type_ == open_
        if open_ and not goes_on:
            yield start, index, open_
            open_ = ""
        if mark != "O" and not goes_on:
            start, open_ = index, type_
