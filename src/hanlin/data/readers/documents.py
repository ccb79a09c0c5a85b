"""How does a plain text, or a file of rows, become documents?"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from hanlin.core.records import Document
from hanlin.data.readers.detect import read_rows
from hanlin.data.readers.opened import bounded_lines, opened, too_long
from hanlin.data.readers.rows import BadRows

# A page or two of a book: long enough to learn from context, short enough to be shuffled.
TEXT_CHARACTERS = 4000
SNIFFED_LINES = 2000


def read_document_rows(path: Path, bad: BadRows) -> Iterator[Document]:
    """Yield the documents of a file of rows; notes count the fields that are left out.

    A row is a text, or an object with "text" (or "content", or "context"), or with "paragraphs", a
    list that is joined by line breaks below the "title" (or "rhythmic", as collections of poems
    call it).
    """
    for line, row in read_rows(path, bad):
        found = _text_of(row)
        if found is None:
            bad.add(str(path), line, 'no text: expected {"text": ...} or {"paragraphs": [...]}')
            continue
        text, used = found
        language = None
        if isinstance(row, dict):
            for key in row.keys() - used - {"language"}:
                if row[key] is not None:
                    bad.note(f"field {key}")
            language = row.get("language")
        yield Document(text, language if isinstance(language, str) else None, str(path), line)


def is_document(row: object) -> bool:
    """Tell whether a row has a text."""
    return _text_of(row) is not None


def _text_of(row: object) -> tuple[str, set[str]] | None:
    """Return the text of a row and the fields that it was made of."""
    if isinstance(row, str):
        return row, set()
    if not isinstance(row, dict):
        return None
    for key in ("text", "content", "context"):
        if isinstance(row.get(key), str):
            return str(row[key]), {key}
    paragraphs = row.get("paragraphs")
    if not isinstance(paragraphs, list) or not all(isinstance(part, str) for part in paragraphs):
        return None
    title = next((row[key] for key in ("title", "rhythmic") if isinstance(row.get(key), str)), "")
    used = {"paragraphs", "title" if title == row.get("title") else "rhythmic"}
    return "\n".join([*([title] if title else []), *paragraphs]), used


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
    with opened(path) as stream:
        lines = [(line or b"x").strip() for _, line in islice(bounded_lines(stream), SNIFFED_LINES)]
    while lines and not lines[-1]:
        lines.pop()
    return b"" in lines


def _blocks(path: Path, bad: BadRows, *, by_line: bool) -> Iterator[tuple[int, str]]:
    held: list[str] = []
    first = 0
    with opened(path) as stream:
        for number, raw in bounded_lines(stream):
            if raw is None:
                bad.add(str(path), number, too_long())
                continue
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
