"""What stands behind an exam's score? Categories, published figures, and what was left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hanlin.pipeline.report import charts, words
from hanlin.pipeline.report.card import Evaluation, PublishedScore, ScoreRow
from hanlin.pipeline.report.elements import Child, Markup, join, table, tag

LEAD = (
    "Published by others, not measured here; other prompts and other splits may stand behind them."
)
BELOW = "below chance: a sign of a faulty procedure"


def exam_details(evaluation: Evaluation) -> Markup | None:
    """Return categories, published figures and problems of all rows; None where there are none."""
    parts = [
        part
        for row in evaluation.rows
        for part in (_categories(row, evaluation.models), _published(row, evaluation.models))
        if part is not None
    ]
    notes = problem_lines(evaluation)
    if notes:
        items = [tag("li", line) for line in notes]
        parts.append(join(tag("h3", "What a score leaves out"), tag("ul", *items)))
    return join(*parts) if parts else None


def problem_lines(evaluation: Evaluation) -> list[str]:
    """Return each problem with its benchmark, and its model where there are several."""
    return [
        f"{words.title(row)}{f', {model}' if len(evaluation.models) > 1 else ''}: {line}"
        for row in evaluation.rows
        for model, lines in row.problems.items()
        for line in lines
    ]


def published_rows(row: ScoreRow, models: Sequence[str]) -> list[list[str]]:
    """Return (who, part, score, source) of one's own models and of others, the best first."""
    own = [
        (score.value, [model, "", words.number(score.value, row.metric), "measured here"])
        for model in models
        if (score := row.scores.get(model)) is not None and score.value is not None
    ]
    others = [(p.value, _published_row(p, row)) for p in row.published]
    return [cells for _, cells in sorted([*own, *others], key=lambda pair: -pair[0])]


def _published_row(found: PublishedScore, row: ScoreRow) -> list[str]:
    notes = [found.source]
    if found.is_other_split:
        notes.append("another split")
    if found.below_chance:
        notes.append(BELOW)
    part = "" if found.part == "Average" else found.part
    return [found.model, part, words.number(found.value, row.metric), "; ".join(notes)]


def _categories(row: ScoreRow, models: Sequence[str]) -> Markup | None:
    """Draw the categories as rows of their own, with their intervals."""
    names = dict.fromkeys(name for found in row.categories.values() for name in found)
    if not names:
        return None
    rows = [
        replace(
            row, benchmark=name, label=name, language="", metric="accuracy", categories={},
            scores={m: found[name] for m, found in row.categories.items() if name in found},
        )
        for name in names
    ]  # fmt: skip
    figure = tag(
        "figure",
        tag("figcaption", tag("b", f"{words.title(row)} by category")),
        charts.interval_chart(rows, models),
    )
    return tag("div", figure, class_="multiples")


def _published(row: ScoreRow, models: Sequence[str]) -> Markup | None:
    if not row.published:
        return None
    rows: list[list[Child]] = [list(cells) for cells in published_rows(row, models)]
    header: list[Child] = ["model", "part", words.metric(row.metric), "source"]
    title = f"{words.title(row)} beside published figures"
    return join(
        tag("h3", title),
        tag("p", LEAD, class_="soft"),
        table(header, rows, caption=title, numeric=frozenset({2})),
    )
