"""What was measured of a model? Rows of a run's report.json, in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from hanlin.core.measure import Measure

IN_PERCENT = ("accuracy",)


@dataclass(frozen=True)
class Measured(Measure):
    """One benchmark in one language, and what the model got there.

    Attributes:
        score: of this model: value, low, high (95 %), n.
        before: of the model that the run compares with; None where there is none.
        problems: what was left out, cut or unclear.
    """

    score: dict[str, float | None]
    before: dict[str, float | None] | None
    problems: tuple[str, ...] = ()

    @property
    def is_above_chance(self) -> bool | None:
        """Tell whether the whole interval is better than guessing; None where it cannot be told."""
        low = self.score.get("low")
        if self.chance is None or low is None or not self.higher_is_better:
            return None
        return low > self.chance

    @property
    def is_worse_than_before(self) -> bool:
        """Tell whether the interval lies on the worse side of the model's before."""
        old = self.before or {}
        ends = [self.score.get("low"), self.score.get("high"), old.get("low"), old.get("high")]
        if any(end is None for end in ends):
            return False
        low, high, old_low, old_high = (float(end or 0) for end in ends)
        return high < old_low if self.higher_is_better else low > old_high

    @property
    def where(self) -> str:
        """Return the benchmark and its language."""
        return f"{self.label} ({self.language})"


def measured(report: dict[str, Any], names: Iterable[str]) -> list[Measured]:
    """Return the rows that hold a number of a model.

    Args:
        report: a run's report.json.
        names: what the model is called there; the first that a row has is taken.
    """
    names = list(names)
    rows = []
    for evaluation in report.get("evaluations", []):
        reference = evaluation["models"][0] if evaluation["models"] else ""
        for row in evaluation["rows"]:
            name = next((name for name in names if name in row["scores"]), None)
            if name is not None and row["scores"][name]["value"] is not None:
                before = row["scores"].get(reference) if reference != name else None
                rows.append(_row(row, name, before))
    return rows


def _row(row: dict[str, Any], name: str, before: dict[str, float | None] | None) -> Measured:
    return Measured(
        **{field.name: row[field.name] for field in fields(Measure)},
        score=row["scores"][name],
        before=before,
        problems=tuple(row.get("problems", {}).get(name, ())),
    )


def number(value: float | None, metric: str) -> str:
    """Write a value: accuracy in percent, everything else with three decimals."""
    if value is None:
        return "–"
    return f"{100 * value:.1f} %" if metric in IN_PERCENT else f"{value:.3f}"


def with_interval(score: dict[str, float | None] | None, metric: str) -> str:
    """Write a value with its 95 % interval."""
    if score is None or score.get("value") is None:
        return "–"
    low, high = score.get("low"), score.get("high")
    text = number(score["value"], metric)
    if low is None or high is None:
        return text
    return f"{text} ({number(low, metric)} to {number(high, metric)})"
