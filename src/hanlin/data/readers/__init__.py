"""Which reader turns a file into documents, conversations or questions?

The format is found from the content: JSON whatever the name, CSV, else plain text. Another format
is one function `(path, bad_rows) -> Iterator[record]` and one line in a table, named by the file
suffix that it is for; other packages add theirs through the tables' entry-point groups.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from hanlin.core.errors import InputError
from hanlin.core.files import list_files, os_error
from hanlin.core.records import Conversation, Document, Question
from hanlin.core.registry import LazyTable
from hanlin.data.readers.rows import BadRow, BadRows

__all__ = [
    "BadRow",
    "BadRows",
    "detect",
    "files_in",
    "read_conversations",
    "read_documents",
    "read_questions",
]

HERE = "hanlin.data.readers"
JSON_START = re.compile(r'\{\s*"|\[\s*["{]')  # a text may begin with a bracket, hardly like this
DOCUMENTS = LazyTable(
    "document format",
    {"text": f"{HERE}.documents:read_text", "json": f"{HERE}.documents:read_json"},
    group="hanlin.readers.documents",
)
CONVERSATIONS = LazyTable(
    "conversation format",
    {"json": f"{HERE}.conversations:read_json"},
    group="hanlin.readers.conversations",
)
QUESTIONS = LazyTable(
    "question format",
    {"json": f"{HERE}.questions:read_json", "csv": f"{HERE}.questions:read_csv"},
    group="hanlin.readers.questions",
)


def read_documents(path: str | Path, *, bad: BadRows | None = None) -> Iterator[Document]:
    """Yield the documents of a file, or of every file in a folder.

    Args:
        path: plain text, JSON or JSON lines; see `documents` for the shapes.
        bad: counts the rows that are left out; at most 1 % without it.

    Raises:
        InputError: nothing is there, nothing is in it, or too many rows are bad.
    """
    return _read(DOCUMENTS, Path(path), bad)


def read_conversations(path: str | Path, *, bad: BadRows | None = None) -> Iterator[Conversation]:
    """Yield the conversations of a file or folder; see `conversations` for the shapes of rows."""
    return _read(CONVERSATIONS, Path(path), bad)


def read_questions(path: str | Path, *, bad: BadRows | None = None) -> Iterator[Question]:
    """Yield the questions of a file, or of a folder with one file for each subject."""
    return _read(QUESTIONS, Path(path), bad)


def detect(file: Path) -> str:
    """Return "json", "csv" or "text", or the suffix of a file that a plug-in reads.

    Raises:
        InputError: the file cannot be read.
    """
    suffix = file.suffix.lower().removeprefix(".")
    if suffix in _suffixes():
        return suffix
    if suffix in ("json", "jsonl"):
        return "json"
    try:
        with file.open("rb") as stream:
            start = stream.read(4096).decode("utf-8-sig", "ignore").lstrip()
    except OSError as error:
        raise os_error(error, file) from error
    return "json" if JSON_START.match(start) else "text"


@cache
def _suffixes() -> frozenset[str]:
    """Return the formats that a suffix decides; looking for plug-ins once is slow enough."""
    tables = (DOCUMENTS, CONVERSATIONS, QUESTIONS)
    return frozenset(name for table in tables for name in table) - {"json", "text"}


def files_in(path: Path) -> list[Path]:
    """Return a file, or the files below a folder without hidden ones, in a fixed order.

    Raises:
        InputError: nothing is there.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist", fix="check the path")
    return [file for file in list_files(path) if not file.name.startswith(".")]


def _read(table: LazyTable, path: Path, bad: BadRows | None) -> Iterator[Any]:
    files = files_in(path)
    bad = bad or BadRows()
    return bad.counted(path, _records(table, files, bad))


def _records(table: LazyTable, files: list[Path], bad: BadRows) -> Iterator[Any]:
    known = table.names()
    for file in files:
        format = detect(file)
        if format not in known:
            raise InputError(
                f"{file}: {format} is no {table.noun}",
                why=f"known: {', '.join(known)}",
                fix=f"hanlin data inspect {file} shows what is in it",
            )
        yield from table.get(format)(file, bad)
