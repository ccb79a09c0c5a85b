"""What did others publish on the same benchmark, is it better than chance, and can it be compared?

Published figures are never measured here: they stand beside one's own model for orientation.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

LETTERED = ("official", "lm-eval", "opencompass", "default")


@cache
def _tables() -> list[dict[str, Any]]:
    text = files("hanlin.evaluation").joinpath("published.yaml").read_text("utf-8")
    tables: list[dict[str, Any]] = yaml.safe_load(text)
    return tables


def published(benchmark: str, *, metric: str | None = None) -> list[dict[str, Any]]:
    """Return the published scores of a benchmark, each with its source and its chance level.

    Rows have benchmark, part, metric, shots, split, model, value, chance, source, url, and
    `below_chance`: a value that guessing would beat says more about the procedure than about the
    model.

    Args:
        benchmark: its name in the table of benchmarks.
        metric: accuracy, accuracy_hard or mrr; None: all.
    """
    return [
        {
            "benchmark": benchmark,
            "part": column["part"],
            "metric": table["metric"],
            "shots": column["shots"],
            "split": column.get("split") or table.get("split", ""),
            "model": model,
            "value": values[place],
            "chance": table["chance"],
            "below_chance": values[place] < table["chance"],
            "source": table["source"],
            "url": table["url"],
        }
        for table in _tables()
        if metric in (None, table["metric"])
        for place, column in enumerate(table["columns"])
        if column["benchmark"] == benchmark
        for model, values in table["scores"].items()
        if values[place] is not None
    ]


def comparable(details: Mapping[str, Any], *, metric: str) -> list[dict[str, Any]]:
    """Return the published scores that were got as a result was: same metric, examples and kind.

    Accuracy matches where letters were scored after the listed options, the mean reciprocal rank
    where 50 options were ranked. `is_other_split` marks figures of another split (or of one that
    the source does not name).

    Args:
        details: those of a `BenchmarkResult`.
        metric: the reported one; parts of an accuracy (categories) come along.
    """
    benchmark = str(details.get("benchmark", ""))
    if not _is_alike(details, metric):
        return []
    part = details.get("part")
    return [
        {**row, "is_other_split": row["split"] not in ("", details.get("split"))}
        for row in published(benchmark, metric=metric)
        if row["shots"] == details.get("shots") and part in (None, row["part"])
    ]


def _is_alike(details: Mapping[str, Any], metric: str) -> bool:
    if metric == "mrr":
        return bool(details.get("options_each") == 50)
    return (
        metric in ("accuracy", "accuracy_hard")
        and details.get("scorer") == "letter"
        and details.get("protocol") in LETTERED
        and details.get("options_each") in (None, 4)
    )
