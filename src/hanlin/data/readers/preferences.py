"""How does a row with a better and a worse answer become a preference?

The question is `prompt`, `question` or `instruction` (with `input`), or the turns in `messages` or
`conversations`; the answers are `chosen` and `rejected`, each a text, a turn, or the turns of the
whole conversation, whose last one is the answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hanlin.core.records import Message
from hanlin.data.readers import files_in
from hanlin.data.readers.detect import read_rows
from hanlin.data.readers.rows import BadRows
from hanlin.data.readers.turns import (
    BadRowError,
    Row,
    Turns,
    question,
    role_of,
    system_turns,
    text_of,
    trimmed,
)

QUESTIONS, CONVERSATIONS = ("prompt", "question", "instruction"), ("messages", "conversations")


@dataclass(frozen=True)
class Preference:
    """A conversation up to a question, and two answers to it.

    Attributes:
        messages: the turns; the last one is the user's.
        chosen: the better answer.
        rejected: the worse one.
        source: file that it came from.
        line: 1-based number of the row.
    """

    messages: tuple[Message, ...]
    chosen: str
    rejected: str
    source: str = ""
    line: int = 0


def read_preferences(path: str | Path, *, bad: BadRows | None = None) -> Iterator[Preference]:
    """Yield the preferences of a file of rows, or of every file in a folder.

    Args:
        path: JSON, JSON lines, CSV or parquet.
        bad: counts the rows that are left out; at most 1 % without it.

    Raises:
        InputError: nothing is there, nothing is in it, or too many rows are bad.
    """
    bad = bad or BadRows()
    return bad.counted(Path(path), _records(files_in(Path(path)), bad))


def _records(files: list[Path], bad: BadRows) -> Iterator[Preference]:
    for file in files:
        for line, row in read_rows(file, bad):
            try:
                yield _preference(row, str(file), line)
            except BadRowError as error:
                bad.add(str(file), line, str(error))


def _preference(row: object, source: str, line: int) -> Preference:
    if not isinstance(row, dict) or not {"chosen", "rejected"} <= row.keys():
        raise BadRowError("a preference has the fields chosen and rejected")
    before = _question(row)
    chosen_before, chosen = _answer(row["chosen"])
    rejected_before, rejected = _answer(row["rejected"])
    if chosen_before != rejected_before:
        raise BadRowError("chosen and rejected answer different conversations")
    messages = tuple(before or chosen_before)
    if not messages or messages[-1].role != "user":
        raise BadRowError("no question comes before the answers")
    if not chosen or not rejected:
        raise BadRowError("an answer is empty")
    if chosen == rejected:
        raise BadRowError("chosen and rejected are the same")
    return Preference(messages, chosen, rejected, source, line)


def _question(row: Row) -> Turns:
    for key in CONVERSATIONS:
        if isinstance(row.get(key), list):
            return [*system_turns(row), *map(_turn, row[key])]
    asked = next((row[key] for key in QUESTIONS if row.get(key)), None)
    if asked is None:
        return []
    if isinstance(asked, list):
        return [*system_turns(row), *map(_turn, asked)]
    return [*system_turns(row), question(asked, row.get("input"))]


def _answer(value: object) -> tuple[Turns, str]:
    """Return the turns before an answer, where they are given with it, and its text."""
    if isinstance(value, dict):
        return [], _turn(value).content
    if not isinstance(value, list):
        return [], trimmed(value)
    turns = [_turn(turn) for turn in value]
    if not turns or turns[-1].role != "assistant":
        raise BadRowError("the last turn of chosen or rejected is no answer")
    return turns[:-1], turns[-1].content


def _turn(value: object) -> Message:
    if not isinstance(value, dict):
        raise BadRowError(f"expected a turn, found {type(value).__name__}")
    name = value.get("role", value.get("from"))
    role, text = role_of(name), text_of(value.get("content", value.get("value", "")))
    if role == "tool":
        raise BadRowError("tools have no place in a preference")
    return Message(role, text.strip() if role == "assistant" else text)
