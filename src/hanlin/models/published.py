"""How near do the formulas come to what others published? Rows in `published.yaml`.

hanlin plan --published
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from statistics import median
from typing import Any

import yaml

from hanlin.models.cards import GIB, find_card
from hanlin.models.memory import Program, Training, training_memory
from hanlin.models.shapes import find_shape
from hanlin.models.speed import NETWORK, Cluster, step_time

UNITS = {"GB": 10**9, "GiB": GIB}


@dataclass(frozen=True)
class Comparison:
    """One published figure and what is predicted for its settings.

    Attributes:
        program: who published it.
        model: name of the shape.
        method: "full", "lora", "int8" or "qlora".
        note: what is special about the settings.
        unit: of both figures: GB, GiB or tokens/s.
        published: the figure.
        predicted: ours.
    """

    program: str
    model: str
    method: str
    note: str
    unit: str
    published: float
    predicted: float

    @property
    def error(self) -> float:
        """Return how far off the prediction is, as a share of the published figure."""
        return self.predicted / self.published - 1


def memory_comparisons() -> list[Comparison]:
    """Predict the memory of every published row."""
    return [_compare_memory(row) for row in _table()["rows"]]


def speed_comparisons() -> list[Comparison]:
    """Predict the tokens a second of every published row."""
    return [_compare_speed(row) for row in _table()["speeds"]]


def median_error(comparisons: list[Comparison]) -> float:
    """Return the median of the errors' sizes."""
    return median(abs(item.error) for item in comparisons)


def programs() -> dict[str, str]:
    """Return what is assumed of each program: name -> words."""
    return {name: str(entry["about"]) for name, entry in _table()["programs"].items()}


def _compare_memory(row: dict[str, Any]) -> Comparison:
    memory = training_memory(find_shape(row["model"]), _training(row))
    if row.get("paged"):  # by bitsandbytes, in memory that torch's counter does not see
        memory = replace(memory, optimizer=0)
    return _comparison(
        row, unit=row["unit"], published=row["memory"], predicted=memory.total / UNITS[row["unit"]]
    )


def _compare_speed(row: dict[str, Any]) -> Comparison:
    training, accumulation = _training(row), row.get("accumulation", 1)
    cluster = Cluster(find_card(row["card"]), row.get("nodes", 1), row.get("network", NETWORK))
    step = step_time(find_shape(row["model"]), training, cluster, accumulation=accumulation)
    speed = training.tokens * training.processes * accumulation / step.total
    row = row | {"note": ", ".join(filter(None, [cluster.card.title, row.get("note")]))}
    return _comparison(row, unit="tokens/s", published=row["tokens_per_second"], predicted=speed)


def _training(row: dict[str, Any]) -> Training:
    defaults = _table()["programs"][row["by"]]
    training = defaults["training"] | row.get("training", {}) | {"method": row["method"]}
    if "adapted" in training:
        training["adapted"] = tuple(training["adapted"])
    program = Program(**defaults["program"] | row.get("program", {}))
    return Training(**training, on_gpu=True, program=program)


def _comparison(
    row: dict[str, Any], *, unit: str, published: float, predicted: float
) -> Comparison:
    return Comparison(
        program=row["by"],
        model=row["model"],
        method=row["method"],
        note=row.get("note", ""),
        unit=unit,
        published=float(published),
        predicted=float(f"{predicted:.4g}"),
    )


@cache
def _table() -> dict[str, Any]:
    text = files("hanlin.models").joinpath("published.yaml").read_text(encoding="utf-8")
    table: dict[str, Any] = yaml.safe_load(text)
    return table
