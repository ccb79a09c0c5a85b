"""How is a conversation kept in a file? As JSON, with the parameters that every answer had."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_args

from hanlin.core.errors import ConfigError, InputError
from hanlin.core.files import read_json
from hanlin.core.records import Grammar, Message, Role
from hanlin.inference.engine import Sampling
from hanlin.prompts.fit import Truncate

VERSION = 1
KIND = "hanlin conversation"


@dataclass(frozen=True)
class Said:
    """A message, and how it was made where it is an answer of the model."""

    message: Message
    sampling: Sampling | None = None


@dataclass(frozen=True)
class SavedTalk:
    """What a file of a conversation holds.

    Attributes:
        format: name of the prompt format.
        system: the system text; None for none.
        truncate: which turns leave a prompt that is too long.
        memory_turns: how many earlier turns a prompt has; None for all that fit.
        sampling: how the next answer is chosen.
        history: what was said.
    """

    format: str
    system: str | None
    truncate: Truncate
    memory_turns: int | None
    sampling: Sampling
    history: tuple[Said, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the file's content."""
        return {
            "kind": KIND,
            "version": VERSION,
            "format": self.format,
            "system": self.system,
            "truncate": self.truncate,
            "memory_turns": self.memory_turns,
            "sampling": sampling_to_json(self.sampling),
            "messages": [_said_to_json(said) for said in self.history],
        }


def sampling_to_json(sampling: Sampling) -> dict[str, Any]:
    """Return the settings that are not at their defaults."""
    default = asdict(Sampling())
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(sampling).items()
        if value != default[name]
    }


def sampling_from_json(data: Mapping[str, Any]) -> Sampling:
    """Return the sampling that `sampling_to_json` wrote.

    Raises:
        ValueError: a setting is unknown or of the wrong type.
        ConfigError: a value is out of its range.
    """
    types = {field.name: type(field.default) for field in fields(Sampling)}
    values = dict(data)
    if unknown := sorted(set(values) - set(types)):
        raise ValueError(f"{unknown[0]!r} is no parameter of an answer")
    for name, value in values.items():
        if isinstance(value, list):
            values[name] = tuple(value)
        elif name == "grammar" and value is not None:
            values[name] = Grammar(**value)
        elif types[name] in (int, float) and not _is_number(value, types[name]):
            raise ValueError(f"{name} is {value!r}, which is no number of its kind")
    return Sampling(**values)


def saved_talk(data: object, *, where: str = "the conversation") -> SavedTalk:
    """Return what the content of a file says.

    Args:
        data: what `SavedTalk.to_json` gave.
        where: the file, for the message.

    Raises:
        InputError: it is no conversation, or of a later version.
    """
    try:
        if not isinstance(data, dict) or data.get("kind") != KIND:
            raise ValueError(f"its kind is not {KIND!r}")
        if data.get("version") != VERSION:
            raise ValueError(f"its version is {data.get('version')}, not {VERSION}")
        if data["truncate"] not in get_args(Truncate):
            raise ValueError(f"truncate is {data['truncate']!r}")
        history = tuple(map(_said_from_json, data["messages"]))
        for before, said in zip((None, *history), history, strict=False):
            if said.sampling and (before is None or before.message.role != "user"):
                raise ValueError("an answer of the model has no question before it")
        return SavedTalk(
            format=str(data["format"]),
            system=None if data["system"] is None else str(data["system"]),
            truncate=data["truncate"],
            memory_turns=None if data["memory_turns"] is None else int(data["memory_turns"]),
            sampling=sampling_from_json(data["sampling"]),
            history=history,
        )
    except (KeyError, TypeError, ValueError, AttributeError, ConfigError) as error:
        missing = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(
            f"{where} holds no conversation that can be read",
            why=missing,
            fix="give a file that /save wrote",
        ) from error


def read_saved_talk(path: Path) -> SavedTalk:
    """Return the conversation in a file.

    Raises:
        InputError: there is none.
    """
    return saved_talk(read_json(path), where=str(path))


def _said_to_json(said: Said) -> dict[str, Any]:
    row: dict[str, Any] = {"role": said.message.role, "content": said.message.content}
    if said.sampling is not None:
        row["sampling"] = sampling_to_json(said.sampling)
    return row


def _said_from_json(row: Mapping[str, Any]) -> Said:
    if row["role"] not in get_args(Role) or not isinstance(row["content"], str):
        raise ValueError(f"a message is {dict(row)!r}")
    made = row.get("sampling")
    message = Message(row["role"], row["content"])
    return Said(message, None if made is None else sampling_from_json(made))


def _is_number(value: object, kind: type) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole or (kind is float and isinstance(value, float))
