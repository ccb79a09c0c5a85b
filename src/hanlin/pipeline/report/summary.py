"""What does `hanlin run` say at its end? A few lines of plain text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hanlin.pipeline.report import words
from hanlin.pipeline.report.card import Card, Evaluation, Score, ScoreRow

WAYS: tuple[words.Direction, ...] = (
    "better", "worse", "no clear change", "unchanged", "no comparison"
)  # fmt: skip


def summary(card: Card, page: Path | None = None) -> str:
    """Return the scores before and after, what was reached, and where the page is.

    Args:
        card: the report card.
        page: the HTML page, to say where it is; without it only its name is given.
    """
    lines = [f"{card.name}: {_state(card)}"]
    for evaluation in card.evaluations:
        if evaluation.rows:
            lines += ["", *score_rows(evaluation)]
    lines += [f"note: {note}" for note in card.notes]
    where = "report.html in the run's folder" if page is None else page
    lines += ["", f"report: {where}"]
    return "\n".join(lines) + "\n"


def _state(card: Card) -> str:
    done = sum(stage.status == "finished" for stage in card.stages)
    known = [stage.seconds for stage in card.stages if stage.seconds is not None]
    peaks = [stage.peak_bytes for stage in card.stages if stage.peak_bytes is not None]
    parts = [f"{done} of {len(card.stages)} stages finished"]
    if known:
        parts.append(f"{words.seconds(sum(known))} of work")
    if peaks:
        parts.append(f"peak memory {words.size(max(peaks))}")
    return ", ".join(parts)


def score_rows(evaluation: Evaluation) -> list[str]:
    """Return the lines of a table of scores, the models side by side."""
    models = evaluation.models
    header = ["", *models, "chance", ""]
    rows = [_cells(row, models) for row in evaluation.rows]
    found = [words.change(row, models).direction for row in evaluation.rows]
    lines = text_table([header, *rows])
    if len(models) > 1:
        counts = [f"{found.count(way)} {way}" for way in WAYS if way in found]
        lines.append(f"{models[-1]} against {models[0]}: {', '.join(counts)}")
    return lines


def _cells(row: ScoreRow, models: Sequence[str]) -> list[str]:
    chance = "" if row.chance is None else words.number(row.chance, row.metric)
    named = f"{words.title(row)}, {words.short_metric(row.metric)}"
    scores = [_brief(row.scores.get(model), row.metric) for model in models]
    return [named, *scores, chance, words.change(row, tuple(models)).verdict]


def _brief(score: Score | None, metric: str) -> str:
    if score is None or score.value is None or score.low is None or score.high is None:
        return score_text(score, metric)
    low, high = (words.number(v, metric).removesuffix(" %") for v in (score.low, score.high))
    return f"{words.number(score.value, metric)} [{low}, {high}]"


def score_text(score: Score | None, metric: str) -> str:
    """Write a score and its interval in a line."""
    if score is None:
        return "not evaluated"
    interval = words.interval(score, metric)
    return words.number(score.value, metric) + (f" ({interval})" if interval else "")


def text_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lay out rows in columns; full-width characters count two."""
    from rich.cells import cell_len

    widths = [max(cell_len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(cell + " " * (w - cell_len(cell)) for cell, w in zip(row, widths, strict=True))
        .rstrip()
        for row in rows
    ]  # fmt: skip
