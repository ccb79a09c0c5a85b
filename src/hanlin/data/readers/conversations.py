"""How does a row of an instruction or chat file become conversations?

A table of shapes, the first that fits is taken; a file may mix them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hanlin.core.records import Conversation
from hanlin.data.readers.detect import read_rows
from hanlin.data.readers.instructions import (
    read_completion,
    read_dialogue,
    read_instances,
    read_instruction,
    read_parallel,
)
from hanlin.data.readers.openai_messages import read_messages
from hanlin.data.readers.rows import BadRows
from hanlin.data.readers.sharegpt import read_sharegpt
from hanlin.data.readers.turns import BadRowError, Row, Turns, checked, tools_of


@dataclass(frozen=True)
class Shape:
    """A shape of rows.

    Attributes:
        keys: the fields that tell it.
        read: makes conversations of a row.
        are_lists: whether the fields must be lists.
        known: all fields that are read.
    """

    keys: frozenset[str]
    read: Callable[[Any], list[Turns]]
    are_lists: bool
    known: frozenset[str]

    def fits(self, row: Row) -> bool:
        """Tell whether a row has this shape."""
        if not row.keys() >= self.keys:
            return False
        return not self.are_lists or all(isinstance(row[key], list) for key in self.keys)


def _shape(
    keys: str, read: Callable[[Any], list[Turns]], *, optional: str = "", are_lists: bool = False
) -> Shape:
    told_by = frozenset(keys.split())
    return Shape(told_by, read, are_lists, told_by | frozenset(optional.split()))


SHAPES = [
    _shape("messages", read_messages, optional="tools functions", are_lists=True),
    _shape("conversations", read_sharegpt, optional="system tools", are_lists=True),
    _shape("instances", read_instances, optional="instruction", are_lists=True),
    _shape("instruction output", read_instruction, optional="input history system"),
    _shape("input output", read_parallel, are_lists=True),
    _shape("prompt completion", read_completion, optional="system"),
    _shape("prompt response", read_completion, optional="system"),
]
DIALOGUE = _shape("", read_dialogue)  # of rows that are lists


def read_conversation_rows(path: Path, bad: BadRows) -> Iterator[Conversation]:
    """Yield the conversations of a file of rows; notes count the fields that are left out."""
    source = str(path)
    for line, row in read_rows(path, bad):
        try:
            shape = _shape_of(row)
            found = _read(row, shape, source=source, line=line)
        except BadRowError as error:
            bad.add(source, line, str(error))
            continue
        if shape is not DIALOGUE:
            for key in row.keys() - shape.known:
                if row[key] is not None:
                    bad.note(f"field {key}")
        yield from found


def is_conversation(row: object) -> bool:
    """Tell whether a row has the shape of a conversation, whatever its fields hold."""
    try:
        return bool(_shape_of(row))
    except BadRowError:
        return False


def conversations_of(row: object) -> list[Conversation]:
    """Return the conversations of one row: several where an instruction has several instances.

    Raises:
        BadRowError: it cannot be used; its text says why.
    """
    return _read(row, _shape_of(row), source="", line=0)


def _shape_of(row: object) -> Shape:
    if isinstance(row, dict):
        for shape in SHAPES:
            if shape.fits(row):
                return shape
    elif isinstance(row, list) and row and all(_is_turn(turn) for turn in row):
        return DIALOGUE
    keys = ", ".join(sorted(map(str, row))) if isinstance(row, dict) else type(row).__name__
    raise BadRowError(
        f"not a conversation (found {keys}); expected messages, conversations, "
        "instruction + output, or input + output lists"
    )


def _is_turn(value: object) -> bool:
    return isinstance(value, dict) and "instruction" in value


def _read(row: Any, shape: Shape, *, source: str, line: int) -> list[Conversation]:  # noqa: ANN401
    tools: tuple[str, ...] = ()
    if "tools" in shape.known:
        tools = tools_of(row.get("tools") or row.get("functions"))
    return [Conversation(checked(turns), source, line, tools) for turns in shape.read(row)]
