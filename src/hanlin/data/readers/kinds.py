"""What kind of records does a file hold: texts, conversations, questions, or token ids?"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from hanlin.core.errors import InputError
from hanlin.data.readers import detect, files_in
from hanlin.data.readers.conversations import is_conversation
from hanlin.data.readers.csv_rows import header_of
from hanlin.data.readers.detect import ROWS
from hanlin.data.readers.documents import is_document
from hanlin.data.readers.rows import BadRows
from hanlin.data.readers.token_ids import is_token_pickle

SNIFFED_ROWS = 20


def kind_of(path: Path) -> str:
    """Return "documents", "conversations", "questions" or "token ids", by the first rows.

    Raises:
        InputError: no row is of a known kind.
    """
    files = files_in(path)
    bad = BadRows()
    for file in files:
        if kind := _kind_of_file(file, bad):
            return kind
    if not files or (len(files) == 1 and not files[0].stat().st_size):
        raise InputError(f"{path} is empty", fix="check the path")
    broken = f"; {bad.bad} could not be read: {bad.rows[0].reason}" if bad.bad else ""
    raise InputError(
        f"{path} holds no rows of a known kind",
        why=f"none of the first rows is a text, a conversation or a question{broken}",
        fix='corpus rows look like {"text": ...}, conversations like {"messages": [...]} or '
        '{"instruction": ..., "output": ...}',
    )


def _kind_of_file(file: Path, bad: BadRows) -> str | None:
    format = detect(file)
    if format == "knowlm" or (format == "pickle" and is_token_pickle(file)):
        return "token ids"
    if format == "csv" and not header_of(file, ","):
        return "questions"  # MMLU's files have no line of names
    if format not in ROWS.targets:
        return "documents"
    for _, row in islice(ROWS.get(format)(file, bad), SNIFFED_ROWS):
        if kind := kind_of_row(row):
            return kind
    return None


def kind_of_row(row: object) -> str | None:
    """Return the kind of record that one row makes, if any."""
    keys = {str(key).lower() for key in row} if isinstance(row, dict) else set()
    if "question" in keys and keys & {"options", "a"}:
        return "questions"
    if is_conversation(row):
        return "conversations"
    if keys & {"messages", "conversations", "instruction"}:
        return "conversations"  # broken ones: their reader says what is wrong
    return "documents" if is_document(row) else None
