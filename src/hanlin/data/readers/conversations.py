"""How does a row of an instruction or chat file become conversations?

One function for each shape that rows come in; a file may mix them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hanlin.core.records import Conversation, Message, Role
from hanlin.data.readers.json_rows import read_values
from hanlin.data.readers.rows import BadRows

Row = Mapping[str, Any]
ROLES: dict[str, Role] = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
}


class _BadRowError(ValueError):
    """Why a row cannot be used."""


def read_json(path: Path, bad: BadRows) -> Iterator[Conversation]:
    """Yield the conversations of a JSON or JSON-lines file; outer white space is taken away."""
    for line, row in read_values(path, bad):
        try:
            found = [_checked(messages) for messages in _messages_of(row)]
        except _BadRowError as error:
            bad.add(str(path), line, str(error))
            continue
        for messages in found:
            yield Conversation(tuple(messages), str(path), line)


def _messages_of(row: object) -> list[list[Message]]:
    if isinstance(row, dict):
        for fits, convert in SHAPES:
            if fits(row):
                return convert(row)
    keys = ", ".join(sorted(map(str, row))) if isinstance(row, dict) else type(row).__name__
    raise _BadRowError(
        f"not a conversation (found {keys}); expected messages, conversations, "
        "instruction + output, or input + output lists"
    )


def _from_messages(row: Row) -> list[list[Message]]:
    """Read {"messages": [{"role": "user", "content": ...}, ...]}."""
    return [[_message(turn, "role", "content") for turn in row["messages"]]]


def _from_sharegpt(row: Row) -> list[list[Message]]:
    """Read ShareGPT's {"conversations": [{"from": "human", "value": ...}, ...]}."""
    if row.get("tools"):
        raise _BadRowError("tool calls are not read")
    turns = [_message(turn, "from", "value") for turn in row["conversations"]]
    return [_system(row) + turns]


def _from_instruction(row: Row) -> list[list[Message]]:
    """Read Alpaca's instruction, input and output; optional history of [question, answer] pairs."""
    messages = _system(row)
    for pair in row.get("history") or []:
        if not isinstance(pair, list) or len(pair) != 2:
            raise _BadRowError("history is not a list of [question, answer] pairs")
        messages += [Message("user", _text(pair[0])), Message("assistant", _text(pair[1]))]
    question = _question(row["instruction"], row.get("input"))
    return [[*messages, question, Message("assistant", _text(row["output"]))]]


def _from_instances(row: Row) -> list[list[Message]]:
    """Read seed tasks: one instruction with several {"input", "output"} instances."""
    found = []
    for instance in row["instances"]:
        if not isinstance(instance, dict):
            raise _BadRowError("an instance is not an object")
        question = _question(row["instruction"], instance.get("input"))
        found.append([question, Message("assistant", _text(instance.get("output")))])
    return found


def _from_parallel(row: Row) -> list[list[Message]]:
    """Read Chinese-Vicuna's lists: {"input": [questions], "output": [answers]}."""
    if len(row["input"]) != len(row["output"]):
        raise _BadRowError(f"{len(row['input'])} inputs but {len(row['output'])} outputs")
    messages = []
    for question, answer in zip(row["input"], row["output"], strict=True):
        messages += [Message("user", _text(question)), Message("assistant", _text(answer))]
    return [messages]


def _is_list(*keys: str) -> Callable[[Row], bool]:
    return lambda row: all(isinstance(row.get(key), list) for key in keys)


def _has(*keys: str) -> Callable[[Row], bool]:
    return lambda row: all(key in row for key in keys)


SHAPES: list[tuple[Callable[[Row], bool], Callable[[Row], list[list[Message]]]]] = [
    (_is_list("messages"), _from_messages),
    (_is_list("conversations"), _from_sharegpt),
    (_is_list("instances"), _from_instances),
    (_has("instruction", "output"), _from_instruction),
    (_is_list("input", "output"), _from_parallel),
]


def _system(row: Row) -> list[Message]:
    text = row.get("system")
    return [Message("system", _text(text))] if text else []


def _question(instruction: object, input_: object) -> Message:
    """Join instruction and input by a line break, so that one template fits every turn."""
    parts = [_text(instruction), _text(input_ or "")]
    return Message("user", "\n".join(part for part in parts if part))


def _message(turn: object, role_key: str, text_key: str) -> Message:
    if not isinstance(turn, dict):
        raise _BadRowError("a turn is not an object")
    role = ROLES.get(str(turn.get(role_key)))
    if role is None:
        raise _BadRowError(f"unknown speaker {turn.get(role_key)!r}; known: {', '.join(ROLES)}")
    return Message(role, _text(turn.get(text_key)))


def _text(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _BadRowError(f"expected text, found {type(value).__name__}")
    return str(value).strip()


def _checked(messages: list[Message]) -> list[Message]:
    answers = [message.content for message in messages if message.role == "assistant"]
    if not answers:
        raise _BadRowError("no answer in it")
    if not all(answers):
        raise _BadRowError("an answer is empty")
    if not any(message.role == "user" and message.content for message in messages):
        raise _BadRowError("no question in it")
    if "system" in [message.role for message in messages[1:]]:
        raise _BadRowError("a system message that is not the first")
    return messages
