"""What can a knowledge graph say? Names, types and facts, whatever file they came from."""

from __future__ import annotations

from typing import Literal, NamedTuple

ValueKind = Literal["entity", "text", "date", "quantity", ""]


class Name(NamedTuple):
    """A name of an entity, a type or a relation.

    Attributes:
        id: what is called so.
        text: the name.
        language: "" where it is good in every language.
        is_main: the one to write; the others are aliases. The first one given counts as main too.
    """

    id: str
    text: str
    language: str = ""
    is_main: bool = False


class Kind(NamedTuple):
    """The type of an entity: an id that has names of its own, or simply a name.

    Attributes:
        id: the entity.
        type: its type.
        language: of a type that is a name in one language only.
    """

    id: str
    type: str
    language: str = ""


class Fact(NamedTuple):
    """A triple.

    Attributes:
        head: an entity.
        relation: what joins them.
        tail: an entity, or a value: "1963-03-13" (date), "1941 Q828224" (quantity and unit), text.
        kind: what the tail is; "" leaves it to what else is known: an entity that has names or
            facts of its own, else a value.
        tail_type: type of the tail in this relation, where the source says it of each fact.
    """

    head: str
    relation: str
    tail: str
    kind: ValueKind = ""
    tail_type: str = ""


class Signature(NamedTuple):
    """What is declared of a relation.

    Attributes:
        relation: which one.
        head_type, tail_type: what it joins; "" where that is not said.
        inverse: the relation that says the same from the tail's side.
    """

    relation: str
    head_type: str = ""
    tail_type: str = ""
    inverse: str = ""


Item = Name | Kind | Fact | Signature
