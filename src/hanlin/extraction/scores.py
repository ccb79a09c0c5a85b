"""How well was each part found, strictly and nearly, for each type, with what certainty?

An item is an entity (type, name), a relation (type, head, tail), a trigger (event type, word) or an
argument (event type, role, name). It is right

    text     where all its strings are equal: what sets without places are measured with
    span     where types and places are equal: CLUENER's and CoNLL's official measure
    relaxed  where types are equal and names overlap (or, without places, one holds the other)

Each item is matched with one other at most, so that as many as possible are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from hanlin.extraction.facts import Extraction, Mention
from hanlin.extraction.metrics import F1, draws_of, score_of

PARTS = ("entities", "relations", "triggers", "arguments")
Match = Literal["text", "span", "relaxed"]
Item = tuple[tuple[str, ...], tuple[Mention, ...]]  # types, and the mentions of its names
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Scores:
    """Scores of one part.

    Attributes:
        micro: of all items together, with a bootstrap interval over texts.
        macro: mean of the types' F1, over the types that the gold has.
        types: type (and role) -> its score.
    """

    micro: F1
    macro: float
    types: dict[str, F1]


def scores(
    gold: Sequence[Extraction],
    predicted: Sequence[Extraction],
    *,
    match: Match = "text",
    samples: int = 1000,
    seed: int = 0,
) -> dict[str, Scores]:
    """Return the scores of each of `PARTS` that the gold or the prediction has items of.

    Args:
        gold: what is there, in the same order as `predicted`.
        predicted: what was found.
        match: when an item is right.
        samples: how many times the texts are drawn again for the intervals.
        seed: of the draws.

    Raises:
        ValueError: there is not one prediction for each text.
    """
    pairs = list(zip(gold, predicted, strict=True))
    draws = draws_of(len(pairs), samples=samples, seed=seed)
    found = {}
    for part in PARTS:
        items = [(items_of(g, part), items_of(p, part)) for g, p in pairs]
        types = sorted({_name(item) for both in items for own in both for item in own})
        if types:
            own = {name: _counts(items, match, only=name) for name in types}
            by_type = {name: score_of(counts, draws) for name, counts in own.items()}
            in_gold = [score.f1 for score in by_type.values() if score.gold]
            micro = score_of(np.sum(list(own.values()), axis=0), draws)
            macro = float(np.mean(in_gold)) if in_gold else 0.0
            found[part] = Scores(micro, macro, by_type)
    return found


def items_of(found: Extraction, part: str) -> list[Item]:
    """Return the items of one part of an extraction."""
    entities = found.entities
    if part == "entities":
        return [((e.type,), (e,)) for e in entities if e.type]
    if part == "relations":
        return [((r.type,), (entities[r.head], entities[r.tail])) for r in found.relations]
    if part == "triggers":
        return [((e.type,), (e.trigger,)) for e in found.events if e.trigger.text]
    return [
        ((event.type, role), (entities[index],))
        for event in found.events
        for role, index in event.arguments
    ]


def _name(item: Item) -> str:
    return " / ".join(item[0])


def _counts(items: Sequence[tuple[list[Item], list[Item]]], match: Match, *, only: str) -> Counts:
    """Return (right, predicted, gold) of one type for each text, [texts, 3]."""
    is_right = MATCHES[match]
    rows = []
    for gold, predicted in items:
        wanted = [item for item in gold if _name(item) == only]
        got = [item for item in predicted if _name(item) == only]
        rows.append((_matched(wanted, got, is_right), len(got), len(wanted)))
    return np.array(rows, np.int64).reshape(-1, 3)


def _matched(wanted: list[Item], got: list[Item], is_right: Callable[[Item, Item], bool]) -> int:
    """Return how many can be matched at most, each once (augmenting paths, Kuhn 1955)."""
    fits = [[j for j, one in enumerate(got) if is_right(item, one)] for item in wanted]
    owner: dict[int, int] = {}

    def place(number: int, seen: set[int]) -> bool:
        for other in fits[number]:
            if other not in seen:
                seen.add(other)
                if other not in owner or place(owner[other], seen):
                    owner[other] = number
                    return True
        return False

    return sum(place(number, set()) for number in range(len(wanted)))


def _same_text(one: Item, other: Item) -> bool:
    return [m.text for m in one[1]] == [m.text for m in other[1]]


def _same_span(one: Item, other: Item) -> bool:
    places = [[(m.start, m.end) for m in item[1]] for item in (one, other)]
    return places[0] == places[1] and all(start is not None for start, _ in places[0])


def _near(one: Item, other: Item) -> bool:
    return all(_overlap(a, b) for a, b in zip(one[1], other[1], strict=True))


def _overlap(one: Mention, other: Mention) -> bool:
    if one.start is None or one.end is None or other.start is None or other.end is None:
        return one.text in other.text or other.text in one.text
    return one.start < other.end and other.start < one.end


MATCHES: dict[Match, Callable[[Item, Item], bool]] = {
    "text": _same_text,
    "span": _same_span,
    "relaxed": _near,
}
