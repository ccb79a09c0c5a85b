"""How do the sentences of a CoNLL or BIO file become documents?

Each line is a token and its tag, a blank line ends a sentence. The tags are for extraction; here
the text is made: Chinese without spaces, other tokens with one between them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from hanlin.core.records import Document
from hanlin.data.readers.detect import TAGGED
from hanlin.data.readers.opened import bounded_lines, head, opened, too_long
from hanlin.data.readers.rows import BadRows

# Weibo NER writes the place of a character in its word behind it: 科0 技1.
PLACED = re.compile(r"\S\d$")
UNSPACED = re.compile(
    r"[\u2e80-\u9fff\uac00-\ud7ff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]"
)


def read_bio(path: Path, bad: BadRows) -> Iterator[Document]:
    """Yield the text of each sentence."""
    has_places = _has_places(path)
    tokens: list[str] = []
    first = 0
    with opened(path) as stream:
        for number, raw in bounded_lines(stream):
            line = _decoded(raw or b"\xff")
            if line is None:
                bad.add(str(path), number, too_long() if raw is None else "not UTF-8 text")
            elif line and not TAGGED.match(line):
                bad.add(str(path), number, "no token with a tag")
            elif line:
                first = first if tokens else number
                token = line.split()[0]
                tokens.append(token[:-1] if has_places else token)
            elif tokens:
                yield Document(_joined(tokens), None, str(path), first)
                tokens = []
    if tokens:
        yield Document(_joined(tokens), None, str(path), first)


def _decoded(raw: bytes) -> str | None:
    try:
        return raw.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        return None


def _has_places(path: Path) -> bool:
    lines = head(path).decode("utf-8-sig", "ignore").splitlines()[:-1]
    return all(PLACED.match(line.split()[0]) for line in lines if line.strip())


def _joined(tokens: Sequence[str]) -> str:
    text = tokens[0]
    for token in tokens[1:]:
        is_close = UNSPACED.match(text[-1]) or UNSPACED.match(token[0])
        text += token if is_close else f" {token}"
    return text
