"""What does an answer of IEPile look like, and what is read from one with mistakes?

NER {type: [name]} · RE {relation: [{"head", "tail"}]} · SPO {relation: [{"subject", "object"}]} ·
EE and EEA {type: [{"trigger", "arguments": {role: name, list of names or "NAN"}}]} ·
EET {type: [trigger]} · KG {type: {name: {attribute: value or list of values}}}
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from hanlin.extraction.facts import Extraction
from hanlin.extraction.formats.answer_format import Question, said
from hanlin.extraction.formats.loose_json import read_value, shown, texts_of
from hanlin.extraction.parse import NamedEvent, NamedRelation, Parsed

NOTHING = "NAN"
HEADS, TAILS = ("head", "subject"), ("tail", "object")


def write_answer(known: Extraction, question: Question) -> str:
    """Return the answer as IEPile writes it, types in the order of the schema."""
    task, schema = question.task, question.schema
    answer = said(known, question)
    value: dict[str, Any]
    if task == "NER":
        value = {t: [name for own, name in answer.entities if own == t] for t in schema.entities}
    elif task in ("RE", "SPO"):
        head, tail = ("head", "tail") if task == "RE" else ("subject", "object")
        value = {
            t: [{head: r.head, tail: r.tail} for r in answer.relations if r.type == t]
            for t in schema.relations
        }
    elif task == "EET":
        value = {t: [e.trigger for e in answer.events if e.type == t] for t in schema.events}
    elif task == "KG":
        value = _attributes(known, question, answer)
    else:
        value = {
            t: [_event(e, event.roles) for e in answer.events if e.type == t]
            for t, event in schema.events.items()
        }
    return json.dumps(value, ensure_ascii=False)


def _event(event: NamedEvent, roles: list[str]) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    for role in roles if event.arguments else ():
        names = [name for own, name in event.arguments if own == role]
        arguments[role] = names if len(names) > 1 else names[0] if names else NOTHING
    trigger = {"trigger": event.trigger} if event.trigger else {}
    return {**trigger, "arguments": arguments}


def _attributes(known: Extraction, question: Question, answer: Parsed) -> dict[str, Any]:
    """Return entity -> attribute -> values, each below the entity's type or the first that fits."""
    types = question.schema.attributes
    own = {mention.text: mention.type for mention in known.entities if mention.type in types}
    value: dict[str, Any] = {type_: {} for type_ in types}
    for relation in answer.relations:
        fits = [t for t, names in types.items() if relation.type in names or not names]
        type_ = own.get(relation.head, fits[0] if fits else next(iter(types)))
        entity = value[type_].setdefault(relation.head, {})
        values = [*texts_of(entity.get(relation.type, [])), relation.tail]
        entity[relation.type] = values if len(values) > 1 else values[0]
    return value


def read_answer(answer: str, question: Question) -> Parsed:
    """Read whatever can be read; the rest goes to `unread`."""
    value, is_right = read_value(answer)
    reader = _Reader(question, [] if is_right else [answer])
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        for item in value:
            reader.read(item)
    elif isinstance(value, dict):
        reader.read(value)
    elif value is not None and is_right:
        reader.unread.append(answer)
    return Parsed(
        tuple(reader.entities), tuple(reader.relations), tuple(reader.events), tuple(reader.unread)
    )


class _Reader:
    """Collects what the objects say."""

    def __init__(self, question: Question, unread: list[str]) -> None:
        self.task, self.schema, self.unread = question.task, question.schema, unread
        self.entities: list[tuple[str, str]] = []
        self.relations: list[NamedRelation] = []
        self.events: list[NamedEvent] = []

    def read(self, value: Mapping[Any, Any]) -> None:
        """Read one object: type -> what was found of it."""
        known = {
            "NER": self.schema.entities,
            "RE": self.schema.relations,
            "SPO": self.schema.relations,
            "KG": self.schema.attributes,
        }.get(self.task, self.schema.events)
        for type_, found in value.items():
            if type_ not in known:
                self._leave(type_, found)
            elif self.task == "NER":
                self.entities += [(type_, name) for name in self._names(type_, found)]
            elif self.task == "EET":
                self.events += [NamedEvent(type_, name) for name in self._names(type_, found)]
            elif self.task == "KG":
                self._entities_with_attributes(type_, found)
            elif found not in (None, NOTHING, "", {}):
                for item in found if isinstance(found, (list, tuple)) else [found]:
                    is_relation = self.task in ("RE", "SPO")
                    self._relation(type_, item) if is_relation else self._event(type_, item)

    def _names(self, key: object, found: object) -> Iterator[str]:
        """Yield the names in a value; anything else in it is left."""
        items = found if isinstance(found, (list, tuple)) else [found]
        for item in items:
            texts = list(texts_of(item)) if not isinstance(item, (list, tuple)) else []
            if not texts and item not in (None, [], {}):
                self._leave(key, item)
            yield from (text for text in texts if text not in ("", NOTHING))

    def _relation(self, type_: str, item: object) -> None:
        ends = [_first(item, keys) for keys in (HEADS, TAILS)] if isinstance(item, dict) else []
        if len(ends) == 2 and all(ends):
            self.relations.append(NamedRelation(type_, ends[0], ends[1]))
        else:
            self._leave(type_, item)

    def _event(self, type_: str, item: object) -> None:
        event = self.schema.events[type_]
        trigger = _first(item, ("trigger",)) if event.trigger else ""
        if not isinstance(item, dict) or (event.trigger and not trigger):
            self._leave(type_, item)
            return
        given = item.get("arguments")
        arguments: list[tuple[str, str]] = []
        for role, names in given.items() if isinstance(given, dict) else ():
            if role in event.roles:
                arguments += [(role, name) for name in self._names(role, names)]
            else:
                self._leave(role, names)
        if trigger or arguments:
            self.events.append(NamedEvent(type_, trigger, tuple(arguments)))

    def _entities_with_attributes(self, type_: str, found: object) -> None:
        if not isinstance(found, dict):
            if found not in (None, [], "", NOTHING):
                self._leave(type_, found)
            return
        own = self.schema.attributes[type_]
        for name, attributes in found.items():
            if not isinstance(name, str) or not name or not isinstance(attributes, dict):
                self._leave(name, attributes)
                continue
            self.entities.append((type_, name))
            for attribute, values in attributes.items():
                if isinstance(attribute, str) and attribute and (attribute in own or not own):
                    self.relations += [
                        NamedRelation(attribute, name, value)
                        for value in self._names(attribute, values)
                    ]
                else:
                    self._leave(attribute, values)

    def _leave(self, key: object, value: object) -> None:
        self.unread.append(f"{key}: {shown(value)}")


def _first(item: object, keys: tuple[str, ...]) -> str:
    """Return the text at the first of the keys that is there."""
    for key in keys:
        if isinstance(item, dict) and isinstance(item.get(key), str):
            return item[key] if item[key] != NOTHING else ""
    return ""
