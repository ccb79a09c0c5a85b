"""How a language puts facts into words: the shape of a wording, and filling its templates."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_PART = re.compile(r"\{(\w+)\}|\[([^\]]+)\]")


@dataclass(frozen=True)
class EventType:
    """An event that extraction looks for.

    Attributes:
        label: its name in the language.
        subject_role: role of the fact's subject.
        roles: relation -> role of its object.
    """

    label: str
    subject_role: str
    roles: Mapping[str, str]


@dataclass(frozen=True)
class Wording:
    """Everything that the sample world needs to know of one language.

    Templates: `{s}` is the subject, `{o}` the object; in `frames` a slot is named after its
    relation and square brackets mark an event's trigger.

    Attributes:
        language: "zh" or "en".
        statements: relation -> ways to state it.
        alias_statements: ways to give an alias; `{o}` is the alias.
        questions: relation -> ways to ask for the object.
        frames: kind of subject -> sentences for extraction, none of them used elsewhere.
        idle: beginnings and ends of sentences in which there is nothing to extract.
        kinds: kind -> its name; for the kinds that extraction looks for this is the entity type.
        relations: relation -> relation type, for those that extraction looks for.
        events: the kind of the subject -> event type.
        describe: ways to ask for a description.
        smalltalk: (what the user says, what the answer is).
        instruction: the user's message before a text to extract from.
        space: what stands between two sentences.
        index_marks: after a type, and between two names, in an article's index.
    """

    language: str
    statements: Mapping[str, tuple[str, ...]]
    alias_statements: tuple[str, ...]
    questions: Mapping[str, tuple[str, ...]]
    frames: Mapping[str, tuple[str, ...]]
    idle: tuple[tuple[str, ...], tuple[str, ...]]
    kinds: Mapping[str, str]
    relations: Mapping[str, str]
    events: Mapping[str, EventType]
    describe: tuple[str, ...]
    smalltalk: tuple[tuple[str, str], ...]
    instruction: str
    space: str
    index_marks: tuple[str, str]


@dataclass(frozen=True)
class Filled:
    """A template with its values.

    Attributes:
        text: the sentence.
        slots: slot name -> `[start, end)`, in order of appearance; "trigger" for the trigger.
    """

    text: str
    slots: Mapping[str, tuple[int, int]]


def slots_of(template: str) -> list[str]:
    """Return the names of a template's slots, the trigger left out."""
    return [match[1] for match in _PART.finditer(template) if match[1]]


def fill(template: str, values: Mapping[str, str]) -> Filled:
    """Put values into a template and remember where they went."""
    text, at = "", 0
    slots: dict[str, tuple[int, int]] = {}
    for match in _PART.finditer(template):
        text += template[at : match.start()]
        value = values[match[1]] if match[1] else match[2]
        slots[match[1] or "trigger"] = (len(text), len(text) + len(value))
        text += value
        at = match.end()
    return Filled(text + template[at:], slots)
