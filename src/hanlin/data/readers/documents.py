"""How does a text or JSON file become documents?"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from hanlin.core.files import os_error
from hanlin.core.records import Document
from hanlin.data.readers.json_rows import read_values
from hanlin.data.readers.rows import BadRows

# A page or two of a book: long enough to learn from context, short enough to be shuffled.
TEXT_CHARACTERS = 4000
SNIFFED_LINES = 2000


def read_json(path: Path, bad: BadRows) -> Iterator[Document]:
    """Yield the documents of a JSON or JSON-lines file.

    A row is a text, or an object with "text" (or "content"), or with "paragraphs", a list that is
    joined by line breaks below the "title" (or "rhythmic", as collections of poems call it).
    """
    for line, row in read_values(path, bad):
        text = _text_of(row)
        if text is None:
            bad.add(str(path), line, 'no text: expected {"text": ...} or {"paragraphs": [...]}')
            continue
        language = row.get("language") if isinstance(row, dict) else None
        yield Document(text, language if isinstance(language, str) else None, str(path), line)


def _text_of(row: object) -> str | None:
    if isinstance(row, str):
        return row
    if not isinstance(row, dict):
        return None
    for key in ("text", "content"):
        if isinstance(row.get(key), str):
            return str(row[key])
    paragraphs = row.get("paragraphs")
    if not isinstance(paragraphs, list) or not all(isinstance(part, str) for part in paragraphs):
        return None
    title = row.get("title") or row.get("rhythmic")
    return "\n".join([*([title] if isinstance(title, str) else []), *paragraphs])


def read_text(path: Path, bad: BadRows) -> Iterator[Document]:
    """Yield the documents of a plain text file.

    The file is a row of blocks: paragraphs between blank lines, or, where it has no blank line,
    its lines. Blocks that follow one another make one document of at most 4,000 characters; a
    longer block is a document of its own and stays whole.
    """
    separator = "\n\n" if _has_blank_lines(path) else "\n"
    held: list[str] = []
    first, size = 0, 0
    for line, block in _blocks(path, bad, by_line=separator == "\n"):
        if held and size + len(block) > TEXT_CHARACTERS:
            yield Document(separator.join(held), None, str(path), first)
            held, size = [], 0
        first = first if held else line
        held.append(block)
        size += len(block) + len(separator)
    if held:
        yield Document(separator.join(held), None, str(path), first)


def _has_blank_lines(path: Path) -> bool:
    """Tell whether blank lines stand between blocks; the first 2,000 lines decide."""
    try:
        with path.open("rb") as stream:
            lines = [line.strip() for line in islice(stream, SNIFFED_LINES)]
    except OSError as error:
        raise os_error(error, path) from error
    while lines and not lines[-1]:
        lines.pop()
    return b"" in lines


def _blocks(path: Path, bad: BadRows, *, by_line: bool) -> Iterator[tuple[int, str]]:
    held: list[str] = []
    first = 0
    with path.open("rb") as stream:
        for number, raw in enumerate(stream, 1):
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip()
            except UnicodeDecodeError as error:
                bad.add(str(path), number, f"not UTF-8 text: {error.reason}")
                continue
            if held and (by_line or not line):
                yield first, "\n".join(held)
                held = []
            if line:
                first = first if held else number
                held.append(line)
    if held:
        yield first, "\n".join(held)
