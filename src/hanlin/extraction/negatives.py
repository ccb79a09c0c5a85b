"""Which types that a text does not have are asked for too, so that a model learns to say no?

Hard ones are those that are easily taken for what is there. As IEPile does it (Gui et al. 2024):
all that its clusters name beside a type of the text, and some others drawn at random.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from pathlib import Path

from hanlin.core.errors import ConfigError
from hanlin.core.files import read_json
from hanlin.extraction.facts import Extraction
from hanlin.extraction.schema import Schema

Hard = Mapping[str, Sequence[str]]  # type -> types that are easily taken for it
ALIKE = 0.5  # of 1 (Ratcliff and Obershelp): 被收购 and 收购 are at 0.8, 收购 and 合作 at 0


def read_hard(path: Path, *, task: str, source: str) -> Hard:
    """Read the clusters of one data set from IEPile's `hard_dict.json`.

    Raises:
        InputError: the file cannot be read.
        ConfigError: it has no such task or source.
    """
    value = read_json(path)
    own = value.get(task, {}).get(source) if isinstance(value, dict) else None
    if not isinstance(own, dict):
        known = sorted(value.get(task, {})) if isinstance(value, dict) else []
        raise ConfigError(
            f"{path} has no hard negatives for {task} of {source!r}",
            why=f"it has them for: {', '.join(known) or 'nothing of this task'}",
        )
    return own


def hard_of(schema: Schema) -> Hard:
    """Return the types whose names are alike, for schemas without clusters of their own."""
    kinds = (schema.entities, list(schema.pairs), list(schema.events))
    return {
        name: [
            other
            for other in names
            if other != name and SequenceMatcher(None, name, other).ratio() >= ALIKE
        ]
        for names in kinds
        for name in names
    }


def with_negatives(
    schema: Schema, example: Extraction, *, hard: Hard, others: int, rng: random.Random
) -> Schema:
    """Return the schema with the types of an example, their hard negatives, and some others.

    Args:
        schema: all types.
        example: what is known of a text.
        hard: type -> types that are easily taken for it.
        others: how many of the types that are left are added, drawn without replacement.
        rng: draws.
    """
    all_types = list(
        dict.fromkeys([*schema.entities, *schema.relations, *schema.events, *schema.attributes])
    )
    present = {mention.type for mention in example.entities}
    present |= {relation.type for relation in example.relations}
    present |= {event.type for event in example.events}
    present |= {
        type_
        for type_, own in schema.attributes.items()
        if any(r.type in own for r in example.relations)
    }
    chosen = present | {other for name in present for other in hard.get(name, ())}
    left = [name for name in all_types if name not in chosen]
    chosen |= set(rng.sample(left, min(others, len(left))))
    return schema.only(name for name in all_types if name in chosen)
