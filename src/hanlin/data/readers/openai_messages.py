"""How does a row of OpenAI's `messages` become a conversation? Texts stay as they are."""

from __future__ import annotations

from typing import Any

from hanlin.core.records import Message, ToolCall
from hanlin.data.readers.turns import (
    BadRowError,
    Row,
    Turns,
    is_trained,
    role_of,
    text_of,
    tool_call,
)


def read_messages(row: Row) -> list[Turns]:
    """Read {"messages": [{"role", "content", "tool_calls", "weight"}, ...]}."""
    return [[_message(turn) for turn in row["messages"]]]


def _message(turn: Any) -> Message:  # noqa: ANN401 - any JSON value
    if not isinstance(turn, dict):
        raise BadRowError("a turn is not an object")
    role = role_of(turn.get("role"))
    calls = _calls(turn)
    content = turn.get("content")
    if content is None and calls:
        content = ""
    is_counted = is_trained(turn) or role != "assistant"
    text = _content(content)
    return Message(role, text, is_counted, calls, _input_at(turn.get("input_at"), text))


def _input_at(value: object, text: str) -> int | None:
    """Return where an input begins that was joined to its instruction: our own field, to go back.

    Raises:
        BadRowError: it is no place behind a line break.
    """
    if value is None or value == 0:
        return None if value is None else 0
    if not isinstance(value, int) or not 0 < value <= len(text) or text[value - 1] != "\n":
        raise BadRowError(f"input_at {value!r} is no place behind a line break")
    return value


def _content(content: object) -> str:
    """Return the text of a message, which may come in parts."""
    if not isinstance(content, list):
        return text_of(content)
    texts = []
    for part in content:
        if not isinstance(part, dict) or part.get("type") != "text":
            raise BadRowError("a message holds a part that is no text")
        texts.append(text_of(part.get("text")))
    return "".join(texts)


def _calls(turn: Row) -> tuple[ToolCall, ...]:
    if turn.get("function_call"):
        return (tool_call(turn["function_call"]),)
    calls = turn.get("tool_calls") or []
    if not isinstance(calls, list):
        raise BadRowError("tool_calls is not a list")
    wrapped = (c.get("function") if isinstance(c, dict) and "function" in c else c for c in calls)
    return tuple(map(tool_call, wrapped))
