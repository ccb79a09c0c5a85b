"""CuteGPT's complex extraction: the attributes of a company, a ship, ... as one flat JSON object.

The key of the entity itself is its type and 名称 (name); a type without listed attributes takes all
that the model names. Several entities of a type are a list of objects.
"""

from __future__ import annotations

import json
from typing import Any

from hanlin.extraction.facts import Extraction
from hanlin.extraction.formats.answer_format import (
    AnswerFormat,
    Asking,
    Question,
    Task,
    said,
    tasks_of,
)
from hanlin.extraction.formats.loose_json import read_value, shown, texts_of
from hanlin.extraction.parse import NamedRelation, Parsed
from hanlin.extraction.schema import Schema

TASKS: tuple[Task, ...] = ("KG",)
EMPTY = ("", "NAN", "无", "未提及", "none", "None", "N/A")


def _ask(text: str, schema: Schema, asking: Asking) -> list[Question]:
    tasks_of(schema, asking, TASKS)
    questions = []
    for type_, own in schema.attributes.items():
        part = Schema(language=schema.language, attributes={type_: own})
        questions.append(Question("KG", part, _prompt(text, type_, own, part)))
    return questions


def _prompt(text: str, type_: str, own: list[str], schema: Schema) -> str:
    key = _key(type_, schema)
    form = json.dumps({name: "" for name in [key, *own]}, ensure_ascii=False, indent=0)
    if schema.language.startswith("zh") and not own:
        return (
            f"在以下{type_}相关的文本中，请抽取出{type_}中所有的属性和其对应的属性值，"
            f"并以键值对的形式进行输出。\n\n{text}"
        )
    if schema.language.startswith("zh"):
        names = "、".join([key, *own])
        return (
            f"从句子中提取{type_}的基本信息。需要提取{names}等信息。其中的输出格式为字典，包含以下键值对：\n"
            f"{form}\n\n{text}"
        )
    if not own:
        return (
            f"Extract all attributes of the {type_} in the following text with their values, and "
            f"output them as key-value pairs.\n\n{text}"
        )
    return (
        f"Extract the basic facts about the {type_} from the text: {', '.join([key, *own])}. "
        f"Output a dictionary with these keys:\n{form}\n\n{text}"
    )


def _key(type_: str, schema: Schema) -> str:
    return f"{type_}名称" if schema.language.startswith("zh") else f"{type_} name"


def _write(known: Extraction, question: Question) -> str:
    (type_,) = question.schema.attributes
    key = _key(type_, question.schema)
    objects: dict[str, dict[str, Any]] = {}
    for relation in said(known, question).relations:
        row = objects.setdefault(relation.head, {key: relation.head})
        values = [*texts_of(row.get(relation.type, [])), relation.tail]
        row[relation.type] = values if len(values) > 1 else values[0]
    rows = list(objects.values())
    return json.dumps(rows[0] if len(rows) == 1 else rows, ensure_ascii=False)


def _read(answer: str, question: Question) -> Parsed:
    type_, own = next(iter(question.schema.attributes.items()))
    value, is_right = read_value(answer)
    unread = [] if is_right else [answer]
    entities, relations = [], []
    for row in value if isinstance(value, list) else [value] if value is not None else []:
        name = _name(row, _key(type_, question.schema)) if isinstance(row, dict) else ""
        if not isinstance(row, dict) or not name:
            unread.append(shown(row))
            continue
        entities.append((type_, name))
        for key, item in row.items():
            values = [text for text in texts_of(item) if text not in EMPTY]
            if key in _name_keys(_key(type_, question.schema)):
                continue
            if isinstance(key, str) and key and (key in own or not own):
                relations += [NamedRelation(key, name, text) for text in values]
            elif values:
                unread.append(shown({str(key): item}))
    return Parsed(tuple(entities), tuple(relations), (), tuple(unread))


def _name_keys(key: str) -> tuple[str, ...]:
    return key, "名称", "name"


def _name(row: dict[Any, Any], key: str) -> str:
    for own in _name_keys(key):
        if isinstance(row.get(own), str) and row[own]:
            return str(row[own])
    return ""


CUTEGPT = AnswerFormat("cutegpt", TASKS, _ask, _write, _read)
