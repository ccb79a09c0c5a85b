"""KnowLM's own examples: an instruction, `[input]`, the text; tuples in brackets as the answer.

(实体,实体类型) · (头实体,关系,尾实体) · (事件触发词,事件类型,[(事件论元,论元角色)]);
read with any brackets.
"""

from __future__ import annotations

import json
import re

from hanlin.extraction.facts import Extraction
from hanlin.extraction.formats.answer_format import (
    AnswerFormat,
    Asking,
    Question,
    Task,
    said,
    tasks_of,
)
from hanlin.extraction.formats.deepke_read import CLOSE, COMMA, OPEN, one_of
from hanlin.extraction.formats.deepke_read import read_answer as read_tuples
from hanlin.extraction.formats.deepke_words import NOTHING
from hanlin.extraction.formats.wordings import in_language
from hanlin.extraction.parse import NamedEvent, Parsed
from hanlin.extraction.schema import Schema

TASKS: tuple[Task, ...] = ("NER", "RE", "EE")


def _ask(text: str, schema: Schema, asking: Asking) -> list[Question]:
    return [
        Question(task, schema, _prompt(text, schema, task))
        for task in tasks_of(schema, asking, TASKS)
    ]


def _prompt(text: str, schema: Schema, task: Task) -> str:
    types = {"NER": schema.entities, "RE": schema.relations, "EE": schema.events}[task]
    roles = dict.fromkeys(role for event in schema.events.values() for role in event.roles)
    words = in_language("knowlm", schema)[task].replace(
        "{types}", json.dumps(list(types), ensure_ascii=False)
    )
    return f"{words.replace('{roles}', json.dumps(list(roles), ensure_ascii=False))}[input]{text}"


def _write(known: Extraction, question: Question) -> str:
    answer = said(known, question)
    if question.task == "NER":
        records = [f"({name},{type_})" for type_, name in answer.entities]
    elif question.task == "RE":
        records = [f"({r.head},{r.type},{r.tail})" for r in answer.relations]
    else:
        records = [_event(event) for event in answer.events]
    return "\n".join(records) or NOTHING


def _event(event: NamedEvent) -> str:
    arguments = ",".join(f"({name},{role})" for role, name in event.arguments)
    return f"({event.trigger or NOTHING},{event.type},[{arguments}])"


def _read(answer: str, question: Question) -> Parsed:
    if question.task != "EE":
        return read_tuples(answer, question, form=0)
    events: list[NamedEvent] = []
    unread: list[str] = []
    for record in answer.split("\n"):
        if record.strip() in ("", NOTHING):
            continue
        event = _read_event(record, question.schema, unread)
        if event is None:
            unread.append(record)
        else:
            events.append(event)
    return Parsed(events=tuple(events), unread=tuple(unread))


def _read_event(record: str, schema: Schema, unread: list[str]) -> NamedEvent | None:
    type_ = f"(?P<type>{one_of(schema.events)})"
    pattern = rf"\s*{OPEN}(?P<trigger>.+?){COMMA}\s*{type_}(?:{COMMA}\s*(?P<rest>.*))?"
    match = re.fullmatch(pattern, record)
    if not match:
        return None
    event = schema.events[match["type"]]
    arguments, at = [], 0
    rest = match["rest"] or ""
    role = rf"{COMMA}\s*(?P<role>{one_of(event.roles)}){CLOSE}"
    for found in re.finditer(rf"{role}(?={COMMA}|{CLOSE}|\s|$)", rest):
        name = re.sub(rf"^[\s,，\[]*{OPEN}", "", rest[at : found.start()], count=1)
        arguments += [(found["role"], name)] if name else []
        at = found.end()
    if re.sub(rf"{OPEN}|{CLOSE}|{COMMA}|\s", "", rest[at:]):
        unread.append(rest[at:])
    trigger = match["trigger"] if event.trigger and match["trigger"] != NOTHING else ""
    is_there = bool(trigger) if event.trigger else bool(arguments)
    return NamedEvent(match["type"], trigger, tuple(arguments)) if is_there else None


KNOWLM = AnswerFormat("knowlm", TASKS, _ask, _write, _read)
