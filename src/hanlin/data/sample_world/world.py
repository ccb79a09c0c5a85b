"""What is true in the sample world: entities with names in two languages, and facts about them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from hanlin.core.stage import derive_seed
from hanlin.data.sample_world import names

LANGUAGES = ("zh", "en")

T = TypeVar("T")


@dataclass(frozen=True)
class Relation:
    """A kind of fact; every subject of that kind has exactly one object for it."""

    subject: str
    object: str


RELATIONS: Mapping[str, Relation] = {
    "born_in": Relation("person", "town"),
    "profession": Relation("person", "profession"),
    "birth_year": Relation("person", "year"),
    "works_for": Relation("person", "company"),
    "food": Relation("person", "food"),
    "lies_on": Relation("town", "river"),
    "specialty": Relation("town", "product"),
    "flows_into": Relation("river", "water"),
    "headquartered_in": Relation("company", "town"),
    "product": Relation("company", "product"),
    "founder": Relation("company", "person"),
    "author": Relation("book", "person"),
    "subject": Relation("book", "subject"),
    "published": Relation("book", "year"),
    "held_in": Relation("festival", "town"),
    "held_year": Relation("festival", "year"),
    "organizer": Relation("festival", "company"),
}

# How many there are of each kind for 48 people; other sizes keep the proportions.
SHARES: Mapping[str, int] = {
    "person": 48, "town": 20, "river": 10, "company": 16, "book": 16, "festival": 12
}  # fmt: skip


# The kinds whose names extraction examples mark and articles list at their end.
EXTRACTED = ("person", "town", "river", "company", "book", "festival", "profession", "year")


# Each value of a relation (years apart) is shared by about this many subjects. With a value of its
# own for each subject, a small model that has answered half of the questions in training takes the
# values it has named there for more likely than all others: tried, 20 % right where chance is 25 %.
SHARERS = 2.5
FEWEST_VALUES = 4


@dataclass(frozen=True)
class Entity:
    """Something that has a name.

    Attributes:
        id: "person-07", "profession-03", "year-1871".
        kind: "person", "town", ..., "year".
        names: language -> names; the first is the main one, the others are aliases.
    """

    id: str
    kind: str
    names: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Fact:
    """One triple; `object` is an entity's id."""

    subject: str
    relation: str
    object: str


@dataclass(frozen=True)
class World:
    """All that is true.

    Attributes:
        entities: id -> entity, in a fixed order.
        facts: in a fixed order.
    """

    entities: Mapping[str, Entity]
    facts: tuple[Fact, ...]

    def name(self, entity_id: str, language: str) -> str:
        """Return the main name of an entity."""
        return self.entities[entity_id].names[language][0]

    def of_kind(self, kind: str) -> list[Entity]:
        """Return the entities of one kind."""
        return [entity for entity in self.entities.values() if entity.kind == kind]

    def about(self, entity_id: str) -> list[Fact]:
        """Return the facts that have an entity as their subject."""
        return [fact for fact in self.facts if fact.subject == entity_id]


def stream(seed: int, purpose: str) -> random.Random:
    """Return the random numbers of one purpose."""
    return random.Random(derive_seed(seed, purpose))  # noqa: S311 - nothing secret here


def build(seed: int, *, people: int) -> World:
    """Invent a world; the same seed gives the same one."""
    counts = {
        kind: max(4, round(share * people / SHARES["person"])) for kind, share in SHARES.items()
    }
    counts["person"] = people
    entities: dict[str, Entity] = {}
    for kind, count in counts.items():
        rng = stream(seed, f"names/{kind}")
        _add(entities, kind, names.invent(kind, count, rng))
    for kind, words in names.WORDS.items():
        _add(entities, kind, [{"zh": (zh,), "en": (en,)} for zh, en in words])
    rng = stream(seed, "facts")
    _add_years(
        entities, sum(counts[r.subject] for r in RELATIONS.values() if r.object == "year"), rng
    )
    return World(entities, tuple(_draw_facts(entities, rng)))


def _add(
    entities: dict[str, Entity], kind: str, named: Sequence[Mapping[str, tuple[str, ...]]]
) -> None:
    for number, one in enumerate(named, start=1):
        entity = Entity(f"{kind}-{number:02d}", kind, one)
        entities[entity.id] = entity


def _add_years(entities: dict[str, Entity], count: int, rng: random.Random) -> None:
    span = max(200, 2 * count)
    for year in sorted(rng.sample(range(2000 - span, 2000), count)):
        name = (str(year),)
        entities[f"year-{year}"] = Entity(f"year-{year}", "year", {"zh": name, "en": name})


def _draw_facts(entities: Mapping[str, Entity], rng: random.Random) -> list[Fact]:
    by_kind: dict[str, list[str]] = {}
    for entity in entities.values():
        by_kind.setdefault(entity.kind, []).append(entity.id)
    years = deal(by_kind["year"], len(by_kind["year"]), rng)
    facts = []
    for relation, kinds in RELATIONS.items():
        subjects = by_kind[kinds.subject]
        if kinds.object == "year":
            objects, years = years[: len(subjects)], years[len(subjects) :]
        else:
            values = by_kind[kinds.object]
            count = max(FEWEST_VALUES, int(len(subjects) / SHARERS))
            pool = rng.sample(values, min(count, len(values)))
            objects = deal(pool, len(subjects), rng)
        facts += [Fact(s, relation, o) for s, o in zip(subjects, objects, strict=True)]
    return facts


def deal(values: Sequence[T], count: int, rng: random.Random) -> list[T]:
    """Draw `count` values so that each comes up equally often, in random order."""
    drawn: list[T] = []
    while len(drawn) < count:
        drawn += rng.sample(list(values), len(values))
    return drawn[:count]
