"""Where in a text is what was extracted? Highlighted spans, and the facts beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from hanlin.pipeline.report.card import Entity, Event, ExtractionSample, Facts, Relation
from hanlin.pipeline.report.elements import Markup, join, language_tag, tag
from hanlin.pipeline.report.theme import TYPE_COLORS


def entity_types(samples: Iterable[ExtractionSample]) -> list[str]:
    """Return the types of all entities in the order in which they first appear."""
    entities = (entity for sample in samples for entity in sample.found.entities)
    return list(dict.fromkeys(entity.type for entity in entities if entity.type))


def type_class(name: str, types: Sequence[str]) -> str:
    """Return the color class of a type; after the last color they repeat."""
    return f"type-{types.index(name) % TYPE_COLORS}" if name in types else "type-none"


def legend(types: Sequence[str]) -> Markup:
    """Return the list of types with their colors."""
    items = [tag("li", tag("span", name, class_=type_class(name, types))) for name in types]
    return tag("ul", *items, class_="types")


def sample_box(sample: ExtractionSample, types: Sequence[str]) -> Markup:
    """Return a text with its spans, the facts found in it, and how they compare."""
    facts = fact_lines(sample.found)
    unlocated = [e for e in sample.found.entities if not is_located(e, sample.text)]
    return tag(
        "article",
        tag(
            "p",
            highlighted(sample.text, sample.found.entities, types),
            class_="spans",
            dir="auto",
            lang=language_tag(sample.language),
        ),
        tag(
            "div",
            _list("Relations and events", facts or ["none found"]),
            _list("Entities without a place in the text", [entity_line(e) for e in unlocated]),
            _compared(sample),
            class_="columns",
        ),
        class_="box",
    )


def highlighted(text: str, entities: Sequence[Entity], types: Sequence[str]) -> Markup:
    """Return the text with every located entity marked.

    Where two overlap the shorter one gives the color; each is named where it ends. Every
    character appears once and in order, whatever the spans say.
    """
    located = [entity for entity in entities if is_located(entity, text)]
    borders = sorted({0, len(text)} | {b for e in located for b in (e.start or 0, e.end or 0)})
    parts: list[Markup | str] = []
    for start, end in pairwise(borders):
        around = [e for e in located if (e.start or 0) <= start and end <= (e.end or 0)]
        if not around:
            parts.append(text[start:end])
            continue
        around.sort(key=lambda entity: (entity.end or 0) - (entity.start or 0))
        labels = [_label(entity, types) for entity in around if entity.end == end and entity.type]
        class_ = type_class(around[0].type, types)
        parts.append(tag("mark", text[start:end], *labels, class_=class_, title=_about(around[0])))
    return join(*parts)


def _label(entity: Entity, types: Sequence[str]) -> Markup:
    return tag("span", entity.type, class_=f"label {type_class(entity.type, types)}")


def _about(entity: Entity) -> str:
    status = f", {entity.status}" if entity.status else ""
    return f"{entity.type or 'no type'}, characters {entity.start} to {entity.end}{status}"


def is_located(entity: Entity, text: str) -> bool:
    """Tell whether an entity's span lies within the text."""
    if entity.start is None or entity.end is None:
        return False
    return 0 <= entity.start < entity.end <= len(text)


def entity_line(entity: Entity) -> str:
    """Write an entity in a line."""
    status = f" ({entity.status})" if entity.status else ""
    return f"{entity.text}: {entity.type or 'no type'}{status}"


def fact_lines(facts: Facts) -> list[str]:
    """Write relations and events, each in a line."""
    return [*map(relation_line, facts.relations), *map(event_line, facts.events)]


def relation_line(relation: Relation) -> str:
    """Write a relation in a line: head, type, tail."""
    return f"{relation.head or '?'} → {relation.type} → {relation.tail or '?'}"


def event_line(event: Event) -> str:
    """Write an event in a line: type, trigger, arguments with their roles."""
    arguments = "; ".join(f"{role}: {name}" for role, name in event.arguments)
    trigger = f" “{event.trigger}”" if event.trigger else ""
    return f"{event.type}{trigger}" + (f" ({arguments})" if arguments else "")


def differences(sample: ExtractionSample) -> tuple[list[str], list[str]] | None:
    """Return what the reference has and the model missed, and what it found beyond it.

    Entities count by text and type, events by type, trigger and arguments. None where there is
    no reference.
    """
    if sample.gold is None:
        return None
    gold, found = _comparable(sample.gold), _comparable(sample.found)
    missed = [line for line in gold if line not in found]
    extra = [line for line in found if line not in gold]
    return missed, extra


def _comparable(facts: Facts) -> list[str]:
    entities = [f"{entity.text}: {entity.type}" for entity in facts.entities]
    events = [
        event_line(Event(event.type, event.trigger, tuple(sorted(event.arguments))))
        for event in facts.events
    ]
    lines = [*entities, *map(relation_line, facts.relations), *events]
    return list(dict.fromkeys(lines))


def _compared(sample: ExtractionSample) -> Markup | None:
    compared = differences(sample)
    if compared is None:
        return tag("p", "No reference to compare with.", class_="soft")
    missed, extra = compared
    if not missed and not extra:
        return tag("p", "Everything that the reference has, and nothing else.", class_="better")
    return join(_list("Missed", missed, "worse"), _list("Not in the reference", extra, "worse"))


def _list(heading: str, lines: Sequence[str], class_: str = "") -> Markup | None:
    if not lines:
        return None
    items = [tag("li", item, dir="auto") for item in lines]
    head = tag("h4", heading, class_=class_ or None)
    return tag("div", head, tag("ul", *items), class_="facts")
