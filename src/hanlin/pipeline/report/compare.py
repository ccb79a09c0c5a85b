"""What is different between two runs? Scores, costs, settings and versions side by side.

hanlin report compare runs/first runs/second
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hanlin.pipeline.report import words
from hanlin.pipeline.report.build import build
from hanlin.pipeline.report.card import Card, Curve, Evaluation, ScoreRow, Series
from hanlin.pipeline.report.summary import score_rows, text_table


@dataclass(frozen=True)
class StageCost:
    """One stage's time and memory in both runs; None where a run does not have it."""

    id: str
    seconds: tuple[float | None, float | None]
    peak_bytes: tuple[int | None, int | None]


@dataclass(frozen=True)
class Comparison:
    """Two runs side by side.

    Attributes:
        names: a name for each run, never the same.
        scores: the last model of each run, as an evaluation whose models are the two runs.
        only_in: for each run, the benchmarks that the other did not evaluate.
        curves: curves of stages with the same id, one line for each run.
        costs: time and memory, in the first run's order.
        facts: name -> the two values, only where they differ (seed, versions, machine).
        recipe_changes: unified diff of the two recipes, "" where they are equal.
        notes: what is missing, by run.
    """

    names: tuple[str, str]
    scores: Evaluation
    only_in: tuple[tuple[str, ...], tuple[str, ...]]
    curves: tuple[Curve, ...]
    costs: tuple[StageCost, ...]
    facts: dict[str, tuple[str, str]]
    recipe_changes: str
    notes: tuple[str, ...]
    version: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return plain values, the version first."""
        values = asdict(self)
        return {"version": values.pop("version"), **values}


def compare(run_a: Path, run_b: Path) -> Comparison:
    """Build both cards and put them side by side.

    Raises:
        InputError: one of the folders does not exist or is not a run's.
    """
    cards = build(run_a), build(run_b)
    names = _names(cards, (run_a, run_b))
    rows_a, rows_b = (_last_scores(card) for card in cards)
    scores = Evaluation("", names, tuple(_joined(rows_a, rows_b, names)))
    return Comparison(
        names=names,
        scores=scores,
        only_in=(_only(rows_a, rows_b), _only(rows_b, rows_a)),
        curves=tuple(_curves(cards, names)),
        costs=tuple(_costs(cards)),
        facts=_facts(cards),
        recipe_changes=_recipe_changes(cards, names),
        notes=tuple(
            f"{name}: {note}"
            for name, card in zip(names, cards, strict=True)
            for note in card.notes
        ),
    )


def comparison_text(comparison: Comparison) -> str:
    """Return the comparison for a terminal."""
    first, second = comparison.names
    lines = [f"{first} against {second}", ""]
    if comparison.scores.rows:
        lines += score_rows(comparison.scores)
    else:
        lines.append("no scores: not evaluated")
    for name, only in zip(comparison.names, comparison.only_in, strict=True):
        lines += [f"only in {name}: {', '.join(only)}"] * bool(only)
    costs = [
        [cost.id, *map(words.seconds, cost.seconds), *map(words.size, cost.peak_bytes)]
        for cost in comparison.costs
    ]
    if costs:
        header = ["", f"time {first}", f"time {second}", f"peak {first}", f"peak {second}"]
        lines += ["", *text_table([header, *costs])]
    facts = [[name, *values] for name, values in comparison.facts.items()]
    if facts:
        lines += ["", *text_table([["differs", first, second], *facts])]
    lines += ["", "recipes: " + ("different" if comparison.recipe_changes else "equal")]
    lines += [comparison.recipe_changes] * bool(comparison.recipe_changes)
    lines += [f"note: {note}" for note in comparison.notes]
    return "\n".join(lines).rstrip() + "\n"


def _names(cards: tuple[Card, Card], folders: tuple[Path, Path]) -> tuple[str, str]:
    for names in (
        (cards[0].name, cards[1].name),
        (folders[0].resolve().name, folders[1].resolve().name),
    ):
        if names[0] != names[1]:
            return names
    return f"{cards[0].name} (first)", f"{cards[1].name} (second)"


Key = tuple[str, str, str]


def _last_scores(card: Card) -> dict[Key, ScoreRow]:
    """Return the rows by benchmark, language and metric, with the last model's score alone."""
    rows: dict[Key, ScoreRow] = {}
    for evaluation in card.evaluations:
        for row in evaluation.rows:
            score = row.scores.get(evaluation.models[-1])
            if score is not None:
                key = (row.benchmark, row.language, row.metric)
                rows[key] = replace(row, scores={"": score})
    return rows


def _joined(
    rows_a: Mapping[Key, ScoreRow], rows_b: Mapping[Key, ScoreRow], names: tuple[str, str]
) -> list[ScoreRow]:
    joined = []
    for key in dict.fromkeys((*rows_a, *rows_b)):
        sides = zip(names, (rows_a.get(key), rows_b.get(key)), strict=True)
        scores = {name: row.scores[""] for name, row in sides if row is not None}
        joined.append(replace(rows_a.get(key) or rows_b[key], scores=scores))
    return joined


def _only(rows: Mapping[Key, ScoreRow], others: Mapping[Key, ScoreRow]) -> tuple[str, ...]:
    return tuple(
        f"{words.title(row)} ({words.metric(row.metric)})"
        for key, row in rows.items()
        if key not in others
    )


def _curves(cards: tuple[Card, Card], names: tuple[str, str]) -> list[Curve]:
    """Overlay the lines of the same stage, quantity and language."""
    lines: dict[tuple[str, str, str], list[tuple[Curve, Series]]] = {}
    for name, card in zip(names, cards, strict=True):
        for curve in card.curves:
            for series in curve.series:
                key = (curve.stage, curve.quantity, series.label)
                lines.setdefault(key, []).append((curve, Series(name, series.points)))
    overlaid = []
    for (stage, _, label), found in lines.items():
        curve = found[0][0]
        what = stage if label in ("loss", "all") else f"{stage}, {words.language(label)}"
        steps = max(one.steps for one, _ in found)
        both = tuple(line for _, line in found)
        overlaid.append(replace(curve, stage=what, series=both, steps=steps, tokens=None,
                                tokens_per_s=None))  # fmt: skip
    return overlaid


def _costs(cards: tuple[Card, Card]) -> list[StageCost]:
    first, second = ({stage.id: stage for stage in card.stages} for card in cards)
    costs = []
    for id_ in dict.fromkeys((*first, *second)):
        a, b = first.get(id_), second.get(id_)
        costs.append(
            StageCost(
                id_,
                (a.seconds if a else None, b.seconds if b else None),
                (a.peak_bytes if a else None, b.peak_bytes if b else None),
            )
        )
    return costs


def _facts(cards: tuple[Card, Card]) -> dict[str, tuple[str, str]]:
    sides = [
        {
            "recipe": card.recipe,
            "seed": "" if card.seed is None else str(card.seed),
            "hanlin": card.hanlin,
            "status": card.status,
            **card.environment,
        }
        for card in cards
    ]
    return {
        name: (sides[0].get(name) or words.NOT_RECORDED, sides[1].get(name) or words.NOT_RECORDED)
        for name in dict.fromkeys((*sides[0], *sides[1]))
        if sides[0].get(name) != sides[1].get(name)
    }


def _recipe_changes(cards: tuple[Card, Card], names: tuple[str, str]) -> str:
    old, new = (card.recipe_text.splitlines() for card in cards)
    diff = difflib.unified_diff(old, new, fromfile=names[0], tofile=names[1], lineterm="", n=1)
    return "\n".join(diff)
