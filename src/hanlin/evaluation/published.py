"""What did others publish on the same benchmark, and is it better than chance?"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import yaml


@cache
def _tables() -> list[dict[str, Any]]:
    text = files("hanlin.evaluation").joinpath("published.yaml").read_text("utf-8")
    tables: list[dict[str, Any]] = yaml.safe_load(text)
    return tables


def published(benchmark: str, *, metric: str | None = None) -> list[dict[str, Any]]:
    """Return the published scores of a benchmark, each with its source and its chance level.

    Rows have benchmark, part, metric, shots, model, value, chance, source, and `below_chance`: a
    value that guessing would beat says more about the procedure than about the model.

    Args:
        benchmark: its name in the table of benchmarks.
        metric: accuracy, accuracy_hard or mrr; None: all.
    """
    return [
        {
            "benchmark": benchmark,
            "part": table.get("part", ""),
            "metric": table["metric"],
            "shots": table["shots"],
            "model": model,
            "value": value,
            "chance": table["chance"],
            "below_chance": value < table["chance"],
            "source": table["source"],
        }
        for table in _tables()
        if table["benchmark"] == benchmark and metric in (None, table["metric"])
        for model, value in table["scores"].items()
    ]
