"""Which reader turns a file into documents, conversations or questions?

The format is found from the content and, where that does not tell, from the name (`detect`).
Another format is one function `(path, bad_rows) -> Iterator[record]` and one line in a table, named
by the file suffix that it is for; other packages add theirs through the tables' entry-point groups.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from hanlin.core.errors import InputError
from hanlin.core.files import list_files
from hanlin.core.records import Conversation, Document, Question
from hanlin.core.registry import LazyTable
from hanlin.data.readers.detect import ROWS, format_of
from hanlin.data.readers.hub import fetched, is_hub_id, of_one_dataset
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
DOCUMENTS = LazyTable(
    "document format",
    {
        "text": f"{HERE}.documents:read_text",
        "bio": f"{HERE}.bio:read_bio",
        **{name: f"{HERE}.documents:read_document_rows" for name in ROWS.targets},
    },
    group="hanlin.readers.documents",
)
CONVERSATIONS = LazyTable(
    "conversation format",
    {name: f"{HERE}.conversations:read_conversation_rows" for name in ROWS.targets},
    group="hanlin.readers.conversations",
)
QUESTIONS = LazyTable(
    "question format",
    {
        "json": f"{HERE}.questions:read_json",
        "csv": f"{HERE}.questions:read_csv",
        "parquet": f"{HERE}.questions:read_parquet",
    },
    group="hanlin.readers.questions",
)


def read_documents(path: str | Path, *, bad: BadRows | None = None) -> Iterator[Document]:
    """Yield the documents of a file, of every file in a folder, or of a data set on the hub.

    Args:
        path: plain text, sentences with tags, or rows; see `documents` for the shapes.
        bad: counts the rows that are left out; at most 1 % without it.

    Raises:
        InputError: nothing is there, nothing is in it, or too many rows are bad.
    """
    return _read(DOCUMENTS, Path(path), bad)


def read_conversations(path: str | Path, *, bad: BadRows | None = None) -> Iterator[Conversation]:
    """Yield the conversations of a file, folder or hub id; see `conversations` for the shapes."""
    return _read(CONVERSATIONS, Path(path), bad)


def read_questions(path: str | Path, *, bad: BadRows | None = None) -> Iterator[Question]:
    """Yield the questions of a file, or of a folder with one file for each subject."""
    return _read(QUESTIONS, Path(path), bad)


def detect(file: Path) -> str:
    """Return the format of a file: see `detect.format_of`, or the suffix that a plug-in reads.

    Raises:
        InputError: the file cannot be read, or is binary and of an unknown format.
    """
    suffix = file.suffix.lower().removeprefix(".")
    return suffix if suffix in _plugins() else format_of(file)


@cache
def _plugins() -> frozenset[str]:
    """Return the formats that plug-ins read; looking for them once is slow enough."""
    tables = (DOCUMENTS, CONVERSATIONS, QUESTIONS)
    return frozenset(name for t in tables for name in t if name not in t.targets)


def files_in(path: Path) -> list[Path]:
    """Return a file, or the files below a folder without hidden ones, in a fixed order.

    Of a saved Hugging Face data set only the tables count, not what describes them. A hub id
    (`owner/name`) is fetched.

    Raises:
        InputError: nothing is there.
    """
    if not path.exists() and is_hub_id(path):
        path = fetched(path)
    if not path.exists():
        raise InputError(f"{path} does not exist", fix="check the path")
    files = [file for file in list_files(path) if not file.name.startswith(".")]
    return of_one_dataset(files) if path.is_dir() else files


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
