"""How does a row of ShareGPT's `conversations` become a conversation?"""

from __future__ import annotations

import json
from typing import Any

from hanlin.core.records import Message, ToolCall
from hanlin.data.readers.turns import (
    BadRowError,
    Row,
    Turns,
    is_trained,
    role_of,
    system_turns,
    tool_call,
    trimmed,
)


def read_sharegpt(row: Row) -> list[Turns]:
    """Read {"conversations": [{"from": "human", "value": ...}, ...], "system", "tools"}.

    `function_call` is an answer that calls tools, `observation` what a tool gave back.
    """
    return [[*system_turns(row), *(_message(turn) for turn in row["conversations"])]]


def _message(turn: Any) -> Message:  # noqa: ANN401 - any JSON value
    if not isinstance(turn, dict):
        raise BadRowError("a turn is not an object")
    speaker, value = turn.get("from", turn.get("role")), turn.get("value", turn.get("content"))
    if speaker == "function_call":
        return Message("assistant", "", is_trained(turn), _calls(value))
    role = role_of(speaker)
    return Message(role, trimmed(value), is_trained(turn) or role != "assistant")


def _calls(value: object) -> tuple[ToolCall, ...]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise BadRowError(f"a function call that is not JSON: {error}") from error
    calls = tuple(map(tool_call, value if isinstance(value, list) else [value]))
    if not calls:
        raise BadRowError("a function call that calls nothing")
    return calls
