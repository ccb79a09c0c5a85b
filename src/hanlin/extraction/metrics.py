"""How much of what is there was found? Strict micro F1 with a bootstrap interval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hanlin.core.errors import InputError
from hanlin.extraction.facts import Extraction

PARTS = ("entities", "relations", "events")
Item = tuple[str, ...]


@dataclass(frozen=True)
class F1:
    """F1 of one part, over all texts together.

    Attributes:
        correct: items that are in the gold and in the prediction.
        predicted: items in the prediction.
        gold: items in the gold.
        low: lower end of the 95 % bootstrap interval of the F1, over texts.
        high: upper end.
    """

    correct: int
    predicted: int
    gold: int
    low: float
    high: float

    @property
    def precision(self) -> float:
        """Return the share of predicted items that are right."""
        return self.correct / self.predicted if self.predicted else float(not self.gold)

    @property
    def recall(self) -> float:
        """Return the share of gold items that were found."""
        return self.correct / self.gold if self.gold else float(not self.predicted)

    @property
    def f1(self) -> float:
        """Return the harmonic mean; 1 where nothing was to be found and nothing was."""
        total = self.predicted + self.gold
        return 2 * self.correct / total if total else 1.0


def f1(
    gold: Sequence[Extraction],
    predicted: Sequence[Extraction],
    *,
    samples: int = 1000,
    seed: int = 0,
) -> dict[str, F1]:
    """Return the F1 of "entities", "relations", "events" and "overall".

    An item counts when all its strings are equal: of an entity the type and the text; of a relation
    the type and both texts; of an event the type and the trigger, and for each argument the event's
    type, the role and the text. The same item twice in a text counts twice.

    Args:
        gold: what is there, in the same order as `predicted`.
        predicted: what was found.
        samples: how many times the texts are drawn again (with replacement) for the intervals.
        seed: of the draws.

    Raises:
        ValueError: there is not one prediction for each text.
    """
    pairs = list(zip(gold, predicted, strict=True))
    counts = {
        part: np.array([_count(items(g, part), items(p, part)) for g, p in pairs]).reshape(-1, 3)
        for part in PARTS
    }
    counts["overall"] = np.sum([counts[part] for part in PARTS], axis=0)
    draws = draws_of(len(pairs), samples=samples, seed=seed)
    return {part: score_of(counted, draws) for part, counted in counts.items()}


def matched(gold: Sequence[Extraction], predicted: Sequence[Extraction]) -> list[Extraction]:
    """Return for each gold text the prediction with its id, an empty one where there is none.

    Raises:
        InputError: an id comes twice, a prediction has no gold text, or is about another text.
    """
    wanted, by_id = {one.id: one for one in gold}, {one.id: one for one in predicted}
    for name, given, unique in (("gold", gold, wanted), ("predicted", predicted, by_id)):
        if len(unique) < len(given):
            double = next(i for i, count in Counter(one.id for one in given).items() if count > 1)
            raise InputError(f"the {name} texts have the id {double!r} twice")
    for one in predicted:
        if one.id not in wanted or wanted[one.id].text != one.text:
            raise InputError(
                f"the prediction {one.id!r} belongs to no gold text",
                why="texts are matched by id, and both files must hold the same text for it",
                fix="extract from the gold file itself: hanlin extract run MODEL --input GOLD",
            )
    return [by_id.get(one.id, Extraction(one.id, one.text, one.language)) for one in gold]


def items(found: Extraction, part: str) -> list[Item]:
    """Return what is compared of one part of an extraction."""
    if part == "entities":
        return [(e.type, e.text) for e in found.entities if e.type]
    if part == "relations":
        return [(r.type, found.named(r.head), found.named(r.tail)) for r in found.relations]
    triggers: list[Item] = [(e.type, e.trigger.text) for e in found.events if e.trigger.text]
    return triggers + [
        (event.type, role, found.named(index))
        for event in found.events
        for role, index in event.arguments
    ]


def _count(gold: Iterable[Item], predicted: Iterable[Item]) -> tuple[int, int, int]:
    wanted, got = Counter(gold), Counter(predicted)
    return (wanted & got).total(), got.total(), wanted.total()


def draws_of(texts: int, *, samples: int, seed: int) -> npt.NDArray[np.int64]:
    """Return how often each text comes up in each sample, [samples, texts]."""
    if not texts:
        return np.zeros((samples, 0), np.int64)
    return np.random.default_rng(seed).multinomial(texts, np.full(texts, 1 / texts), size=samples)


def score_of(counts: npt.NDArray[np.int64], draws: npt.NDArray[np.int64]) -> F1:
    """Return the score of (right, predicted, gold) for each text, [texts, 3]."""
    correct, predicted, gold = (int(n) for n in counts.sum(axis=0))
    sampled = draws @ counts
    totals = sampled[:, 1] + sampled[:, 2]
    values = np.where(totals > 0, 2 * sampled[:, 0] / np.maximum(totals, 1), 1.0)
    low, high = (float(value) for value in np.quantile(values, (0.025, 0.975)))
    return F1(correct, predicted, gold, low, high)
