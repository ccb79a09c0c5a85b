"""Which rows do files hold, just as they stand there, and what text is compared of each?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hanlin.core.errors import InputError
from hanlin.data.corpus.shingles import Indices
from hanlin.data.readers import DOCUMENTS, BadRows, detect, files_in
from hanlin.data.readers.conversations import conversations_of
from hanlin.data.readers.detect import ROWS
from hanlin.data.readers.kinds import kind_of_row
from hanlin.data.readers.turns import BadRowError


@dataclass(frozen=True)
class Row:
    """A row that can be used.

    Attributes:
        input: number of the input (a file or a folder) that it stands in.
        file: number of its file among all.
        line: 1-based line or number in the file, for people.
        place: 0-based number among all rows that the file's reader gives.
        text: all that it says.
    """

    input: int
    file: int
    line: int
    place: int
    text: str


def list_inputs(inputs: Sequence[Path]) -> list[tuple[int, Path]]:
    """Return the files of inputs, each with the number of its input.

    Raises:
        InputError: nothing is there.
    """
    return [(number, file) for number, path in enumerate(inputs) for file in files_in(path)]


def read(
    inputs: Sequence[Path], files: Sequence[tuple[int, Path]], *, bad: BadRows
) -> Iterator[Row]:
    """Yield the usable rows of all files, in order.

    Raises:
        InputError: a file is of no known kind, or too many rows of an input are bad.
    """
    for number, path in enumerate(inputs):
        own = [(index, file) for index, (owner, file) in enumerate(files) if owner == number]
        yield from bad.counted(path, _rows(number, own, bad))


def read_values(files: Sequence[tuple[int, Path]], wanted: Sequence[Indices]) -> Iterator[Any]:
    """Yield wanted rows as they stand there; {"text": ...} for a part of a plain text.

    Args:
        files: what `list_inputs` gave.
        wanted: of each file the places of rows, ascending.
    """
    for (_, file), places in zip(files, wanted, strict=True):
        left = iter(places.tolist())
        place = next(left, None)
        for number, (_, value) in enumerate(_numbered(file, BadRows(1.0))):
            if place is None:
                break
            if number == place:
                yield value
                place = next(left, None)


def _rows(number: int, files: Iterable[tuple[int, Path]], bad: BadRows) -> Iterator[Row]:
    for index, file in files:
        for place, (line, value) in enumerate(_numbered(file, bad)):
            try:
                yield Row(number, index, line, place, text_of(value))
            except BadRowError as error:
                bad.add(str(file), line, str(error))


def _numbered(file: Path, bad: BadRows) -> Iterator[tuple[int, Any]]:
    """Yield (line, row) of a file; a row of a plain text is {"text": ...}."""
    format = detect(file)
    if format in ROWS:
        yield from ROWS.get(format)(file, bad)
    elif format in DOCUMENTS:
        for document in DOCUMENTS.get(format)(file, bad):
            yield document.line, {"text": document.text}
    else:
        raise InputError(
            f"{file} holds token ids, not text",
            why="rows are compared by their words",
            fix=f"hanlin data convert {file} texts.jsonl --to text --tokenizer TOKENIZER",
        )


def text_of(row: object) -> str:
    """Return what a row says: the turns of a conversation, or all texts of any other row.

    Raises:
        BadRowError: it is of no known kind, broken, or holds what JSON cannot.
    """
    kind = kind_of_row(row)
    if kind is None:
        raise BadRowError("neither a conversation nor a text nor a question")
    strings = list(_strings(row))
    if kind != "conversations":
        return "\n".join(strings)
    turns = (message for found in conversations_of(row) for message in found.messages)
    return "\n".join(message.content for message in turns)


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif value is not None and not isinstance(value, bool | int | float):
        raise BadRowError(f"a value of type {type(value).__name__}, which JSON cannot hold")
