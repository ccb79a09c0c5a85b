"""Which types do these examples use? A schema that fits them, and its JSON Schema."""

from __future__ import annotations

from collections.abc import Iterable

from hanlin.extraction.facts import Extraction
from hanlin.extraction.schema import ANY, EventType, Schema


def schema_of(examples: Iterable[Extraction], *, language: str) -> Schema:
    """Return the types of examples of one language, in the order in which they first come.

    The ends of a relation get a type where it is always the same one.

    Raises:
        ValueError: nothing was found in any of them, or names cannot be types.
    """
    entities: dict[str, None] = {}
    relations: dict[str, tuple[str, str]] = {}
    events: dict[str, dict[str, None]] = {}
    triggers: dict[str, bool] = {}
    for example in examples:
        entities.update(dict.fromkeys(m.type for m in example.entities if m.type))
        for relation in example.relations:
            ends = (example.entities[relation.head].type, example.entities[relation.tail].type)
            known = relations.setdefault(relation.type, ends)
            relations[relation.type] = (
                known[0] if known[0] == ends[0] else ANY,
                known[1] if known[1] == ends[1] else ANY,
            )
        for event in example.events:
            events.setdefault(event.type, {}).update(dict.fromkeys(r for r, _ in event.arguments))
            triggers[event.type] = bool(event.trigger.text) and triggers.get(event.type, True)
    return Schema(
        language=language,
        entities=list(entities),
        relations=relations,
        events={
            name: EventType(roles=list(roles), trigger=triggers[name])
            for name, roles in events.items()
        },
    )
