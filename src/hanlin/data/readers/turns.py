"""What do all shapes of conversation rows share? Speakers, texts, calls of tools, and checks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hanlin.core.records import Message, Role, ToolCall

Row = Mapping[str, Any]
Turns = list[Message]
ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
}


class BadRowError(ValueError):
    """Why a row cannot be used."""


def text_of(value: object) -> str:
    """Return a text as it is, a number as text.

    Raises:
        BadRowError: it is neither.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadRowError(f"expected text, found {type(value).__name__}")
    return str(value)


def trimmed(value: object) -> str:
    """Return a text without outer white space, which instruction data often has by chance."""
    return text_of(value).strip()


def role_of(name: object) -> Role:
    """Return the role that a file's word for a speaker means.

    Raises:
        BadRowError: the word is unknown.
    """
    role = ROLES.get(str(name))
    if role is None:
        raise BadRowError(f"unknown speaker {name!r}; known: {', '.join(ROLES)}")
    return role


def question(instruction: object, input_: object) -> Message:
    """Join instruction and input by a line break, so that one template fits every turn."""
    asked, given = trimmed(instruction), trimmed("" if input_ is None else input_)
    if not given:
        return Message("user", asked)
    before = f"{asked}\n" if asked else ""
    return Message("user", before + given, input_at=len(before))


def answer(value: object) -> Message:
    """Return an answer without outer white space."""
    return Message("assistant", trimmed(value))


def system_turns(row: Row) -> Turns:
    """Return the row's system message, if it has one."""
    text = row.get("system")
    return [Message("system", trimmed(text))] if text else []


def is_trained(turn: Row) -> bool:
    """Tell whether the loss counts a turn: `weight` 0 or 1, as OpenAI has it, or `train`.

    Raises:
        BadRowError: another weight.
    """
    weight = turn.get("weight")
    weight = turn.get("train") if weight is None else weight
    if weight not in (None, 0, 1):
        raise BadRowError(f"weight {weight!r}; known: 0 and 1")
    return weight != 0


def tool_call(value: object) -> ToolCall:
    """Return a call {"name", "arguments"}; arguments are an object, or its text.

    Raises:
        BadRowError: the name is missing, or the arguments are no object.
    """
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise BadRowError("a tool call without a name")
    arguments = value.get("arguments")
    text = arguments if isinstance(arguments, str) else json_text(arguments or {})
    if not isinstance(_parsed(text), dict):
        raise BadRowError("the arguments of a tool call are no JSON object")
    return ToolCall(value["name"], text)


def tools_of(value: object) -> tuple[str, ...]:
    """Return the functions that may be called: a list of objects, or its JSON text.

    OpenAI's {"type": "function", "function": {...}} is unwrapped.

    Raises:
        BadRowError: it is no list of objects.
    """
    if isinstance(value, str):
        value = _parsed(value) if value.strip() else None
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(tool, dict) for tool in value):
        raise BadRowError("tools are no list of objects")
    return tuple(json_text(_unwrapped(tool)) for tool in value)


def json_text(value: object) -> str:
    """Return a value as JSON in the one way that is used here."""
    return json.dumps(value, ensure_ascii=False)


def checked(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Return messages that make a conversation.

    Raises:
        BadRowError: it has no question or no answer, or an empty one; or a late system message.
    """
    has_question = has_answer = False
    for index, message in enumerate(messages):
        if message.role == "assistant":
            has_answer = True
            if not message.tool_calls and not message.content.strip():
                raise BadRowError("an answer is empty")
        elif message.role == "user":
            has_question = has_question or bool(message.content.strip())
        elif message.role == "system" and index:
            raise BadRowError("a system message that is not the first")
    if not has_answer or not has_question:
        raise BadRowError("no question in it" if has_answer else "no answer in it")
    return tuple(messages)


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRowError(f"tools or arguments that are not JSON: {error}") from error


def _unwrapped(tool: dict[str, Any]) -> dict[str, Any]:
    function = tool.get("function")
    is_wrapped = tool.get("type") == "function" and isinstance(function, dict) and len(tool) == 2
    return function if is_wrapped and isinstance(function, dict) else tool
