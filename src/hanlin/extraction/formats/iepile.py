"""The JSON of IEPile and OneKE: a schema of a few types in each question, an object in the answer.

The user's message is itself JSON: {"instruction": ..., "schema": [...], "input": ...}. For OneKE
ask it in the prompt format `oneke`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeVar

from hanlin.extraction.facts import Extraction
from hanlin.extraction.formats.answer_format import AnswerFormat, Asking, Question, Task, tasks_of
from hanlin.extraction.formats.iepile_answer import read_answer, write_answer
from hanlin.extraction.formats.wordings import in_language
from hanlin.extraction.schema import Schema

T = TypeVar("T")
TASKS: tuple[Task, ...] = ("NER", "RE", "SPO", "EE", "EET", "EEA", "KG")
TYPES_AT_ONCE = {"NER": 6, "RE": 4, "SPO": 4, "EE": 4, "EET": 4, "EEA": 4, "KG": 1}  # published


def _ask(text: str, schema: Schema, asking: Asking) -> list[Question]:
    questions = []
    for task in tasks_of(schema, asking, TASKS):
        names = _types(schema, task, asking.gold)
        for group in split(names, asking.types_at_once or TYPES_AT_ONCE[task]):
            part = _part(schema, task, group)
            questions.append(Question(task, part, _prompt(text, part, task, asking.gold)))
    return questions


def split(names: Sequence[T], size: int) -> list[Sequence[T]]:
    """Divide types into groups of a size; a rest below half of it joins the last group."""
    groups = [names[start : start + size] for start in range(0, len(names), size)]
    if len(groups) > 1 and len(groups[-1]) < size / 2:
        last = groups.pop()
        groups[-1] = [*groups[-1], *last]
    return groups


def _types(schema: Schema, task: Task, gold: Extraction | None) -> list[str]:
    if task == "NER":
        return schema.entities
    if task in ("RE", "SPO"):
        return list(schema.relations)
    if task == "KG":
        return list(schema.attributes)
    if task == "EEA":
        present = {event.type for event in gold.events} if gold else set()
        return [name for name in schema.events if name in present]
    return list(schema.events)


def _part(schema: Schema, task: Task, group: Sequence[str]) -> Schema:
    """Return a schema with only the types of one group, of one kind."""
    if task == "NER":
        return Schema(language=schema.language, entities=list(group))
    if task in ("RE", "SPO"):
        ends = {end: None for name in group for end in schema.relations[name] if end}
        relations = {name: schema.relations[name] for name in group}
        return Schema(language=schema.language, entities=list(ends), relations=relations)
    if task == "KG":
        attributes = {name: schema.attributes[name] for name in group}
        return Schema(language=schema.language, attributes=attributes)
    return Schema(language=schema.language, events={name: schema.events[name] for name in group})


def _prompt(text: str, schema: Schema, task: Task, gold: Extraction | None) -> str:
    value = {
        "instruction": in_language("iepile", schema)[task],
        "schema": _schema_value(schema, task, gold),
        "input": text,
    }
    return json.dumps(value, ensure_ascii=False)


def _schema_value(schema: Schema, task: Task, gold: Extraction | None) -> list[Any]:
    if task == "NER":
        return list(schema.entities)
    if task == "RE":
        return list(schema.relations)
    if task == "SPO":
        return [
            {"subject_type": head, "predicate": name, "object_type": tail}
            for name, (head, tail) in schema.relations.items()
        ]
    if task == "KG":
        return [{"entity_type": name, "attributes": own} for name, own in schema.attributes.items()]
    if task == "EET":
        return list(schema.events)
    known = gold.events if task == "EEA" and gold else ()
    triggers = {name: [e.trigger.text for e in known if e.type == name] for name in schema.events}
    return [
        {
            "event_type": name,
            "trigger": (triggers[name] if task == "EEA" else True) if event.trigger else False,
            "arguments": event.roles,
        }
        for name, event in schema.events.items()
    ]


IEPILE = AnswerFormat("iepile", TASKS, _ask, write_answer, read_answer)
