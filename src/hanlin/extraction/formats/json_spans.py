"""Our own JSON: entities, relations and events as objects, with spans on wish.

    {"entities": [{"type": "人物", "text": "王明", "span": [0, 2]}],
     "relations": [{"type": "出生地", "head": "王明", "tail": "青石镇"}],
     "events": [{"type": "成立", "trigger": "创办", "arguments": [{"role": "机构", "text": "…"}]}]}

A span that a model gives is used only where the text stands there; small models count badly.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from hanlin.extraction.facts import Extraction, Mention
from hanlin.extraction.formats.answer_format import AnswerFormat, Asking, Question, said
from hanlin.extraction.formats.loose_json import read_value, shown
from hanlin.extraction.parse import NamedEvent, NamedRelation, Parsed
from hanlin.extraction.prompt import extraction_prompt
from hanlin.extraction.schema import Schema

REQUESTS = {
    "zh": "请按照JSON字符串的格式回答。",
    "en": "Answer with a JSON string.",
}
PARTS = ("entities", "relations", "events")


def _ask(text: str, schema: Schema, asking: Asking) -> list[Question]:
    request = REQUESTS.get(schema.language, REQUESTS["en"])
    return [Question("all", schema, f"{request}\n{extraction_prompt(text, schema)}")]


def _write(known: Extraction, question: Question, *, has_spans: bool) -> str:
    answer = said(known, question)
    types = {*question.schema.entities, *question.schema.attributes}
    mentions = [e for e in known.entities if e.type in types]
    value: dict[str, Any] = {
        "entities": [_entity(mention, has_spans=has_spans) for mention in mentions],
        "relations": [{"type": r.type, "head": r.head, "tail": r.tail} for r in answer.relations],
        "events": [
            {
                "type": event.type,
                **({"trigger": event.trigger} if event.trigger else {}),
                "arguments": [{"role": role, "text": text} for role, text in event.arguments],
            }
            for event in answer.events
        ],
    }
    has = _parts_of(question.schema)
    return json.dumps({part: value[part] for part in PARTS if has[part]}, ensure_ascii=False)


def _parts_of(schema: Schema) -> dict[str, bool]:
    return {
        "entities": bool(schema.entities or schema.attributes),
        "relations": bool(schema.pairs) or schema.is_open,
        "events": bool(schema.events),
    }


def _entity(mention: Mention, *, has_spans: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"type": mention.type, "text": mention.text}
    if has_spans and mention.start is not None:
        row["span"] = [mention.start, mention.end]
    return row


def _read(answer: str, question: Question) -> Parsed:
    value, is_right = read_value(answer)
    unread = [] if is_right else [answer]
    if not isinstance(value, dict):
        return Parsed(unread=tuple(unread or ([answer] if value else [])))
    reader = _Reader(question.schema, unread)
    for part in PARTS:
        reader.read(part, value.get(part))
    unread += [shown({key: item}) for key, item in value.items() if key not in PARTS]
    return Parsed(
        tuple(item for item, _ in reader.entities),
        tuple(reader.relations),
        tuple(reader.events),
        tuple(unread),
        tuple(span for _, span in reader.entities),
    )


class _Reader:
    """Collects what the objects say; what makes no sense goes to `unread`."""

    def __init__(self, schema: Schema, unread: list[str]) -> None:
        self.schema, self.pairs, self.unread = schema, schema.pairs, unread
        self.names = {*schema.entities, *schema.attributes}
        self.entities: list[tuple[tuple[str, str], tuple[int, int] | None]] = []
        self.relations: list[NamedRelation] = []
        self.events: list[NamedEvent] = []

    def read(self, part: str, items: object) -> None:
        """Read the list of one part."""
        if items is None:
            return
        for item in items if isinstance(items, list) else [items]:
            is_read = isinstance(item, dict) and getattr(self, f"_{part}")(item)
            if not is_read:
                self.unread.append(shown(item))

    def _entities(self, item: Mapping[str, Any]) -> bool:
        type_, text = item.get("type"), item.get("text")
        if not isinstance(type_, str) or type_ not in self.names or not _is_name(text):
            return False
        self.entities.append(((type_, str(text)), _span(item.get("span"))))
        return True

    def _relations(self, item: Mapping[str, Any]) -> bool:
        type_, head, tail = item.get("type"), item.get("head"), item.get("tail")
        is_known = isinstance(type_, str) and (type_ in self.pairs or self.schema.is_open)
        if not is_known or not _is_name(head) or not _is_name(tail):
            return False
        self.relations.append(NamedRelation(str(type_), str(head), str(tail)))
        return True

    def _events(self, item: Mapping[str, Any]) -> bool:
        type_ = item.get("type")
        event = self.schema.events.get(type_) if isinstance(type_, str) else None
        trigger = item.get("trigger", "")
        if event is None or not isinstance(trigger, str) or (event.trigger and not trigger):
            return False
        arguments = tuple(self._arguments(item.get("arguments"), event.roles))
        self.events.append(NamedEvent(str(type_), trigger if event.trigger else "", arguments))
        return True

    def _arguments(self, items: object, roles: list[str]) -> Iterator[tuple[str, str]]:
        for item in items if isinstance(items, list) else []:
            found = (item.get("role"), item.get("text")) if isinstance(item, dict) else ("", "")
            if found[0] in roles and _is_name(found[1]):
                yield str(found[0]), str(found[1])
            else:
                self.unread.append(shown(item))


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _span(value: object) -> tuple[int, int] | None:
    if isinstance(value, list) and len(value) == 2 and all(type(n) is int for n in value):
        return value[0], value[1]
    return None


JSON = AnswerFormat("json", ("all",), _ask, partial(_write, has_spans=False), _read)
JSON_SPANS = AnswerFormat("json-spans", ("all",), _ask, partial(_write, has_spans=True), _read)
