"""The four text forms of DeepKE's InstructKGC (2023), that KnowLM's models were tuned on.

    0  (实体,实体类型)      (头实体,关系,尾实体)      (触发词,类型,角色#论元;角色#论元)
    1  实体是…,实体类型是…   头实体是…,关系是…,尾实体是…  事件触发词是…,事件类型是… ¶ 事件论元1是…
    2  实体类型：实体        关系：头实体,尾实体       事件类型：触发词 ¶ 角色：论元;角色：论元
    3  the rows as Python dictionaries

A type that is not there is a line NAN. The published text of form 0 says 论元#角色, the program
that made the data wrote 角色#论元: so do we, and both are read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from hanlin.extraction.facts import Extraction
from hanlin.extraction.formats.answer_format import (
    AnswerFormat,
    Asking,
    Question,
    Task,
    said,
    tasks_of,
)
from hanlin.extraction.formats.deepke_prompts import prompt
from hanlin.extraction.formats.deepke_read import read_answer
from hanlin.extraction.formats.deepke_words import NOTHING, Words, words_of
from hanlin.extraction.parse import NamedEvent, NamedRelation
from hanlin.extraction.schema import Schema

TASKS: tuple[Task, ...] = ("NER", "RE", "EE")


def _ask(text: str, schema: Schema, asking: Asking, *, form: int) -> list[Question]:
    return [
        Question(task, schema, prompt(text, schema, task, form=form, template=asking.template))
        for task in tasks_of(schema, asking, TASKS)
    ]


def _write(known: Extraction, question: Question, *, form: int) -> str:
    answer, schema, words = said(known, question), question.schema, words_of(question.schema)
    if question.task == "NER":
        groups = [
            [_entity(form, words)(type_, name) for own, name in answer.entities if own == type_]
            for type_ in schema.entities
        ]
    elif question.task == "RE":
        groups = [
            [_relation(form, words)(r) for r in answer.relations if r.type == type_]
            for type_ in schema.relations
        ]
    else:
        groups = [
            [_event(form, words)(e) for e in answer.events if e.type == type_]
            for type_ in schema.events
        ]
    return _joined(groups, is_spread=question.task == "EE" and form in (1, 2))


def _joined(groups: Sequence[Sequence[str]], *, is_spread: bool) -> str:
    """Put records behind one another, NAN for a group without any; one NAN where all are empty."""
    if not any(groups):
        return NOTHING
    records = [record for group in groups for record in (group or [NOTHING])]
    return ("\n\n" if is_spread else "\n").join(records)


def _entity(form: int, words: Words) -> Callable[[str, str], str]:
    return (
        lambda type_, name: f"({name},{type_})",
        lambda type_, name: f"{words.entity}{name},{words.entity_type}{type_}",
        lambda type_, name: f"{type_}：{name}",
        lambda type_, name: str({"entity": name, "entity_type": type_}),
    )[form]


def _relation(form: int, words: Words) -> Callable[[NamedRelation], str]:
    return (
        lambda r: f"({r.head},{r.type},{r.tail})",
        lambda r: f"{words.head}{r.head},{words.relation}{r.type},{words.tail}{r.tail}",
        lambda r: f"{r.type}：{r.head},{r.tail}",
        lambda r: str({"head": r.head, "relation": r.type, "tail": r.tail}),
    )[form]


def _event(form: int, words: Words) -> Callable[[NamedEvent], str]:
    return (_tuple_event, partial(_told_event, words=words), _colon_event, _dict_event)[form]


def _tuple_event(event: NamedEvent) -> str:
    arguments = ";".join(f"{role}#{name}" for role, name in event.arguments)
    return f"({event.trigger or NOTHING},{event.type},{arguments or NOTHING})"


def _told_event(event: NamedEvent, words: Words) -> str:
    arguments = ";".join(
        f"{words.argument.format(number)}{name},{words.role.format(number)}{role}"
        for number, (role, name) in enumerate(event.arguments, 1)
    )
    first = f"{words.trigger}{event.trigger or NOTHING},{words.event_type}{event.type}"
    return f"{first}\n{arguments or NOTHING}"


def _colon_event(event: NamedEvent) -> str:
    arguments = ";".join(f"{role}：{name}" for role, name in event.arguments)
    return f"{event.type}：{event.trigger or NOTHING}\n{arguments or NOTHING}"


def _dict_event(event: NamedEvent) -> str:
    arguments = [{"argument": name, "role": role} for role, name in event.arguments]
    return str(
        {
            "event_trigger": event.trigger or NOTHING,
            "event_type": event.type,
            "arguments": arguments,
        }
    )


TUPLES, SENTENCES, COLONS, DICTS = (
    AnswerFormat(
        f"deepke-{form}",
        TASKS,
        partial(_ask, form=form),
        partial(_write, form=form),
        partial(read_answer, form=form),
    )
    for form in range(4)
)
