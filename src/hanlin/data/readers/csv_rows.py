"""How does a CSV or TSV file become rows?

The first line names the columns. Two kinds of files without such a line are known: lines of
relation extraction (head, tail, relation and the sentence that holds both), and one column of text.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from hanlin.core.errors import InputError
from hanlin.data.readers.json_rows import is_text
from hanlin.data.readers.opened import MAX_ROW_BYTES, head, opened
from hanlin.data.readers.rows import BadRows

NAMES = frozenset({
    "text", "content", "context", "language", "instruction", "input", "output", "system",
    "prompt", "response", "completion", "question", "answer", "messages", "conversations",
})  # fmt: skip
SNIFFED_BYTES = 1 << 16
RELATION = ["head", "tail", "relation", "text"]
Row = dict[str, str]


def read_csv(path: Path, bad: BadRows) -> Iterator[tuple[int, Row]]:
    """Yield (1-based line that a row begins on, row) of a file with commas."""
    return _read(path, bad, delimiter=",")


def read_tsv(path: Path, bad: BadRows) -> Iterator[tuple[int, Row]]:
    """Yield (1-based line that a row begins on, row) of a file with tabs."""
    return _read(path, bad, delimiter="\t")


def header_of(path: Path, delimiter: str) -> list[str]:
    """Return the names of the columns, [] where the first line names none."""
    lines = _Lines(io.BytesIO(head(path, SNIFFED_BYTES)))
    try:
        return _header(next(_cells(lines, delimiter), [])) or []
    except csv.Error:
        return []  # whoever reads the rows says what is wrong with them


def _read(path: Path, bad: BadRows, *, delimiter: str) -> Iterator[tuple[int, Row]]:
    with opened(path) as stream:
        header: list[str] = []
        line, lines = 1, _Lines(stream)
        try:
            for cells in _cells(lines, delimiter):
                here, line = line, lines.count + 1
                if not any(cell.strip() for cell in cells):
                    continue
                if not header:
                    header = _header(cells) or _headless(cells, path)
                    if _header(cells):
                        continue
                if len(cells) != len(header):
                    bad.add(str(path), here, f"{len(cells)} cells, expected {len(header)}")
                elif not is_text("".join(cells)):
                    bad.add(str(path), here, "not UTF-8 text")
                else:
                    yield here, dict(zip(header, cells, strict=True))
        except csv.Error as error:
            raise InputError(
                f"{path}:{line}: this is not readable CSV",
                why=str(error),
                fix="mend the quotes of this row; one that is never closed takes the rest in",
            ) from error


class _Lines:
    """The decoded lines of a stream, counted; broken characters are marked, not refused."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = io.TextIOWrapper(
            stream, encoding="utf-8-sig", errors="surrogateescape", newline=""
        )
        self.count = 0

    def __iter__(self) -> Iterator[str]:
        while line := self._stream.readline(MAX_ROW_BYTES):
            self.count += line.endswith(("\n", "\r"))
            yield line


def _cells(lines: _Lines, delimiter: str) -> Iterator[list[str]]:
    csv.field_size_limit(MAX_ROW_BYTES)
    if delimiter == "\t":  # a quote in a TSV file is a quote
        return csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    return csv.reader(lines, delimiter=delimiter)


def _header(cells: Sequence[str]) -> list[str] | None:
    names = [cell.strip().lower() for cell in cells]
    is_header = set(names) & NAMES and len(set(names)) == len(names)
    return [name or "id" for name in names] if is_header else None


def _headless(cells: Sequence[str], path: Path) -> list[str]:
    if len(cells) == len(RELATION) and all(cell in cells[3] for cell in cells[:2]):
        return RELATION
    if len(cells) == 1:
        return ["text"]
    raise InputError(
        f"{path}:1: the first line names no column that is known",
        why=f"it reads {', '.join(cells[:6])!r}",
        fix="put a line of names first, such as: text, or instruction,input,output",
    )
