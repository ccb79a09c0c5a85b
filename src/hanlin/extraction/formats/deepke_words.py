"""With which words do DeepKE's forms name their parts, in Chinese and in English?"""

from __future__ import annotations

from dataclasses import dataclass

from hanlin.extraction.schema import Schema

NOTHING = "NAN"


@dataclass(frozen=True)
class Words:
    """What stands before each part in form 1; {} is the number of an argument."""

    entity: str
    entity_type: str
    head: str
    relation: str
    tail: str
    trigger: str
    event_type: str
    argument: str
    role: str


CHINESE = Words(
    "实体是", "实体类型是", "头实体是", "关系是", "尾实体是", "事件触发词是", "事件类型是",
    "事件论元{}是", "论元角色{}是",
)  # fmt: skip
ENGLISH = Words(
    "Entity is ", "Entity Type is ", "Subject is ", "Relation is ", "Object is ",
    "Event Trigger is ", "Event Type is ", "Event Argument{} is ", "Argument Role{} is ",
)  # fmt: skip


def words_of(schema: Schema) -> Words:
    """Return the words that suit the schema's language."""
    return CHINESE if schema.language.startswith("zh") else ENGLISH
