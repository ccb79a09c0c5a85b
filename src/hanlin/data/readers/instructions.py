"""How do rows of instruction data become conversations? One function for each shape."""

from __future__ import annotations

import re
from typing import Any

from hanlin.core.records import Message
from hanlin.data.readers.turns import (
    BadRowError,
    Row,
    Turns,
    answer,
    question,
    system_turns,
    trimmed,
)

# BELLE writes the turns before the last answer into the instruction.
BELLE_SPEAKER = re.compile(r"(?:^|\n)\s*(Human|Assistant)\s*[:：]")


def read_instruction(row: Row) -> list[Turns]:
    """Read Alpaca's instruction, input and output; optional history of [question, answer] pairs.

    IEPile's and InstructIE's rows have the same shape; so has BELLE's, whose instruction may hold
    the turns of a conversation.
    """
    messages = system_turns(row)
    for pair in row.get("history") or []:
        if not isinstance(pair, list) or len(pair) != 2:
            raise BadRowError("history is not a list of [question, answer] pairs")
        messages += [Message("user", trimmed(pair[0])), answer(pair[1])]
    earlier = _belle_turns(row) if not row.get("input") else None
    turns = earlier or [question(row["instruction"], row.get("input"))]
    return [[*messages, *turns, answer(row["output"])]]


def _belle_turns(row: Row) -> Turns | None:
    """Return the turns of BELLE's "Human: ...\\nAssistant: ...\\nHuman: ...\\nAssistant:"."""
    text = row["instruction"]
    if not isinstance(text, str) or not text.lstrip().startswith("Human"):
        return None
    before, *parts = BELLE_SPEAKER.split(text)
    speakers, texts = parts[::2], [part.strip() for part in parts[1::2]]
    is_dialogue = speakers == ["Human", "Assistant"] * (len(speakers) // 2) and speakers
    if before.strip() or not is_dialogue or texts[-1] or not all(texts[:-1]):
        return None
    pairs = zip(speakers[:-1], texts[:-1], strict=True)
    return [Message("user" if who == "Human" else "assistant", text) for who, text in pairs]


def read_instances(row: Row) -> list[Turns]:
    """Read seed tasks: one instruction with several {"input", "output"} instances."""
    found = []
    for instance in row["instances"]:
        if not isinstance(instance, dict):
            raise BadRowError("an instance is not an object")
        asked = question(row["instruction"], instance.get("input"))
        found.append([asked, answer(instance.get("output"))])
    return found


def read_parallel(row: Row) -> list[Turns]:
    """Read Chinese-Vicuna's lists: {"input": [questions], "output": [answers]}."""
    if len(row["input"]) != len(row["output"]):
        raise BadRowError(f"{len(row['input'])} inputs but {len(row['output'])} outputs")
    messages = []
    for asked, given in zip(row["input"], row["output"], strict=True):
        messages += [Message("user", trimmed(asked)), answer(given)]
    return [messages]


def read_dialogue(row: list[Any]) -> list[Turns]:
    """Read CuteGPT's dialogue: a list of {"instruction", "input", "output"}, one for each turn."""
    messages = []
    for turn in row:
        if not isinstance(turn, dict) or not {"instruction", "output"} <= turn.keys():
            raise BadRowError("a turn of a dialogue without instruction and output")
        messages += [question(turn["instruction"], turn.get("input")), answer(turn["output"])]
    return [messages]


def read_completion(row: Row) -> list[Turns]:
    """Read {"prompt", "completion"} or {"prompt", "response"}."""
    given = row["completion"] if "completion" in row else row["response"]
    return [[*system_turns(row), Message("user", trimmed(row["prompt"])), answer(given)]]
