"""How is a conversation written in each format, and which ones can a format not hold?"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from hanlin.core.records import Conversation, Message, ToolCall
from hanlin.data.readers.turns import json_text

Row = dict[str, Any] | list[Any]


class CannotHoldError(ValueError):
    """What in a conversation the format has no place for."""


def to_messages(conversation: Conversation) -> Row:
    """Return OpenAI's {"messages": [...], "tools": [...]}, which holds everything.

    `input_at` of a question is our own field: where an input begins that Alpaca keeps apart.
    """
    row: dict[str, Any] = {"messages": []}
    open_calls: list[str] = []
    for message in conversation.messages:
        turn: dict[str, Any] = {"role": message.role, "content": message.content}
        if message.tool_calls:
            turn["tool_calls"] = _openai_calls(message.tool_calls)
            open_calls = [call["id"] for call in turn["tool_calls"]]
        elif message.role == "tool" and open_calls:
            turn["tool_call_id"] = open_calls.pop(0)
        if message.role == "assistant" and not message.is_trained:
            turn["weight"] = 0
        if message.input_at is not None:
            turn["input_at"] = message.input_at
        row["messages"].append(turn)
    if conversation.tools:
        row["tools"] = [
            {"type": "function", "function": json.loads(tool)} for tool in conversation.tools
        ]
    return row


def to_sharegpt(conversation: Conversation) -> Row:
    """Return ShareGPT's {"conversations": [{"from", "value"}], "system", "tools"}."""
    system, messages = _split_system(conversation)
    row: dict[str, Any] = {"conversations": [_sharegpt_turn(message) for message in messages]}
    if system:
        row["system"] = system
    if conversation.tools:
        row["tools"] = json_text([json.loads(tool) for tool in conversation.tools])
    return row


def to_alpaca(conversation: Conversation) -> Row:
    """Return Alpaca's {"instruction", "input", "output"} with "system" and "history"."""
    system, messages = _split_system(conversation)
    pairs = _pairs(conversation, messages)
    instruction, input_ = _parts(pairs[-1][0])
    row: dict[str, Any] = {
        "instruction": instruction, "input": input_, "output": pairs[-1][1].content,
    }  # fmt: skip
    if system:
        row["system"] = system
    if len(pairs) > 1:
        row["history"] = [[asked.content, given.content] for asked, given in pairs[:-1]]
    return row


def to_chinese_vicuna(conversation: Conversation) -> Row:
    """Return Chinese-Vicuna's lists: {"input": [questions], "output": [answers]}."""
    pairs = _pairs(conversation, _without_system(conversation))
    return {
        "input": [asked.content for asked, _ in pairs],
        "output": [given.content for _, given in pairs],
    }


def to_cutegpt(conversation: Conversation) -> Row:
    """Return CuteGPT's dialogue: a list of {"instruction", "input", "output"}."""
    pairs = _pairs(conversation, _without_system(conversation))
    return [
        dict(zip(("instruction", "input", "output"), (*_parts(asked), given.content), strict=True))
        for asked, given in pairs
    ]


def to_self_instruct(conversation: Conversation) -> Row:
    """Return a seed task: {"instruction", "instances": [{"input", "output"}]}."""
    pairs = _pairs(conversation, _without_system(conversation))
    if len(pairs) > 1:
        raise CannotHoldError("more than one turn")
    instruction, input_ = _parts(pairs[0][0])
    instance = {"input": input_, "output": pairs[0][1].content}
    return {"instruction": instruction, "instances": [instance]}


FORMATS: dict[str, Callable[[Conversation], Row]] = {
    "messages": to_messages,
    "sharegpt": to_sharegpt,
    "alpaca": to_alpaca,
    "chinese-vicuna": to_chinese_vicuna,
    "cutegpt": to_cutegpt,
    "self-instruct": to_self_instruct,
}


def _openai_calls(calls: Sequence[ToolCall]) -> list[dict[str, Any]]:
    return [
        {
            "id": f"call_{number}",
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for number, call in enumerate(calls)
    ]


def _sharegpt_turn(message: Message) -> dict[str, Any]:
    names = {"user": "human", "assistant": "gpt", "tool": "observation", "system": "system"}
    turn: dict[str, Any] = {"from": names[message.role], "value": message.content}
    if message.tool_calls:
        if message.content.strip():
            raise CannotHoldError("text beside a tool call")
        calls = [{"name": c.name, "arguments": _arguments(c)} for c in message.tool_calls]
        turn = {"from": "function_call", "value": json_text(calls if calls[1:] else calls[0])}
    if not message.is_trained:
        turn["weight"] = 0
    return turn


def _arguments(call: ToolCall) -> object:
    """Return arguments as an object where that gives the same text again."""
    value = json.loads(call.arguments)
    return value if json_text(value) == call.arguments else call.arguments


def _split_system(conversation: Conversation) -> tuple[str, Sequence[Message]]:
    first, rest = conversation.messages[0], conversation.messages[1:]
    has_system = first.role == "system" and bool(first.content.strip())
    return (first.content, rest) if has_system else ("", conversation.messages)


def _without_system(conversation: Conversation) -> Sequence[Message]:
    if conversation.messages[0].role == "system":
        raise CannotHoldError("a system message")
    return conversation.messages


def _pairs(
    conversation: Conversation, messages: Sequence[Message]
) -> list[tuple[Message, Message]]:
    """Return (question, answer) pairs of a plain dialogue."""
    if conversation.tools or any(m.tool_calls or m.role == "tool" for m in messages):
        raise CannotHoldError("tools")
    if not all(message.is_trained for message in messages):
        raise CannotHoldError("an answer that is not trained")
    roles = [message.role for message in messages]
    if not roles or roles != ["user", "assistant"] * (len(roles) // 2):
        raise CannotHoldError("turns that are not question and answer by turns")
    return list(zip(messages[::2], messages[1::2], strict=True))


def _parts(asked: Message) -> tuple[str, str]:
    """Return instruction and input of a question."""
    at = asked.input_at
    if at is None:
        return asked.content, ""
    return asked.content[: max(at - 1, 0)], asked.content[at:]
