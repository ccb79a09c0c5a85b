"""What is a model asked, and what does it answer? The user's message and the compact answer.

An answer has one line for each type of entity and relation that was found, and one for each event:

    人物：王明华；李雪                 Person: Ada Brook; Tom Hill
    出生地：王明华，青石镇             birthplace: Ada Brook, Lanford
    成立：创办，机构=宏远公司          founding: founded, firm=Brook Works

It is a fifth of the length of JSON, which matters to a small model; nothing found is "-". A mark
inside a name is written with a backslash before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hanlin.extraction.facts import Extraction
from hanlin.extraction.schema import MARKS, Schema
from hanlin.text.script import has_word_spaces

NOTHING = "-"
ESCAPE = "\\"
ROLE_MARK = "="


@dataclass(frozen=True)
class Marks:
    """What stands after a type, between items, and between the parts of an item."""

    type: str
    item: str
    part: str


SPACED = Marks(": ", "; ", ", ")
UNSPACED = Marks("：", "；", "，")

# Words of the general instruction: the request, then the headings of the lists of types.
INSTRUCTIONS = {
    "zh": ("从文本中抽取下列实体、关系和事件。", "实体", "关系", "事件", "属性", "文本"),
    "en": (
        "Extract these entities, relations and events from the text.",
        "Entities", "Relations", "Events", "Attributes", "Text",
    ),
}  # fmt: skip


def extraction_prompt(text: str, schema: Schema) -> str:
    """Return the user's message: the schema's instruction or a list of its types, then the text."""
    if schema.instruction is not None:
        return f"{schema.instruction}\n{text}"
    request, *headings, text_heading = INSTRUCTIONS.get(schema.language, INSTRUCTIONS["en"])
    marks = marks_of(schema)
    lists = (
        schema.entities,
        [
            _with(name, [end for end in ends if end], marks)
            for name, ends in schema.relations.items()
        ],
        [_with(name, event.roles, marks) for name, event in schema.events.items()],
        [_with(name, own, marks) for name, own in schema.attributes.items()],
    )
    lines = [
        f"{heading}{marks.type}{marks.item.join(items)}"
        for heading, items in zip(headings, lists, strict=True)
        if items
    ]
    return "\n".join([request, *lines, f"{text_heading}{marks.type}{text}"])


def _with(name: str, parts: Sequence[str], marks: Marks) -> str:
    return f"{name} ({marks.part.join(parts)})" if parts else name


def marks_of(schema: Schema) -> Marks:
    """Return the marks that suit the schema's language."""
    return SPACED if has_word_spaces(schema.language) else UNSPACED


def format_answer(example: Extraction, schema: Schema) -> str:
    """Return the answer that says what an example holds.

    Types come in the order of the schema, names in the order of the example; `parse_answer` reads
    it back.

    Raises:
        ValueError: the example uses a type or a role that the schema does not have.
    """
    _check_types(example, schema)
    marks = marks_of(schema)
    lines = []
    for type_ in dict.fromkeys([*schema.entities, *schema.attributes]):
        names = [escape(e.text) for e in example.entities if e.type == type_]
        lines += _line(type_, names, marks)
    for type_ in _relation_types(example, schema):
        pairs = [
            marks.part.join(escape(example.named(index)) for index in (r.head, r.tail))
            for r in example.relations
            if r.type == type_
        ]
        lines += _line(type_, pairs, marks)
    for event in example.events:
        parts = [escape(event.trigger.text)] if schema.events[event.type].trigger else []
        parts += [
            f"{escape(role)}{ROLE_MARK}{escape(example.named(i))}" for role, i in event.arguments
        ]
        lines += _line(event.type, [marks.part.join(parts)], marks)
    return "\n".join(lines) or NOTHING


def _relation_types(example: Extraction, schema: Schema) -> list[str]:
    """Return the types of relations in their order; those that an open schema allows come last."""
    named = [relation.type for relation in example.relations] if schema.is_open else []
    return list(dict.fromkeys([*schema.pairs, *named]))


def _line(type_: str, items: list[str], marks: Marks) -> list[str]:
    return [f"{escape(type_)}{marks.type}{marks.item.join(items)}"] if items else []


def escape(name: str) -> str:
    """Write a name so that no mark or outer white space in it is taken for one of ours."""
    escaped = "".join(ESCAPE + "n" if c == "\n" else ESCAPE + c if c in MARKS else c for c in name)
    if name[:1].isspace() and name[0] != "\n":
        escaped = ESCAPE + escaped
    if len(name) > 1 and name[-1].isspace() and name[-1] != "\n":
        escaped = escaped[:-1] + ESCAPE + escaped[-1]
    return escaped


def _check_types(example: Extraction, schema: Schema) -> None:
    types = {e.type for e in example.entities}
    _check(types - {""}, [*schema.entities, *schema.attributes], "entity type")
    if not schema.is_open:
        _check({r.type for r in example.relations}, schema.pairs, "relation type")
    _check({e.type for e in example.events}, schema.events, "event type")
    for event in example.events:
        _check({role for role, _ in event.arguments}, schema.events[event.type].roles, "role")


def _check(used: set[str], known: Iterable[str], noun: str) -> None:
    unknown = sorted(used - set(known))
    if unknown:
        raise ValueError(f"the schema has no {noun} {unknown[0]!r}")
