"""How did training go? From the lines of events.jsonl to curves that can be drawn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean, median
from typing import Any, TypeGuard, TypeVar

from hanlin.pipeline.report.card import Curve, Quantity, Series

MAX_POINTS = 400  # more cannot be told apart on a page, and would make it megabytes
REWARDS = {"chosen": "rewards_chosen", "rejected": "rewards_rejected", "margin": "rewards_margins"}
PREFERRED = {"chosen": "rewards_accuracies"}

Point = tuple[float, float]
V = TypeVar("V")


def curves(events: Iterable[dict[str, Any]]) -> tuple[Curve, ...]:
    """Return the curves of every stage that logged some: first all losses, then all probes, ..."""
    logs: dict[str, _StageLog] = {}
    for id_, own in told(events).items():
        logs[id_] = _StageLog()
        for event in own:
            logs[id_].add(event)
    kinds = (
        [log.loss_curve(id_) for id_, log in logs.items()],
        [log.probe_curve(id_, "bits_per_byte", 1) for id_, log in logs.items()],
        [log.probe_curve(id_, "change", 100) for id_, log in logs.items()],
        [log.reward_curve(id_, "rewards", REWARDS, 1) for id_, log in logs.items()],
        [log.reward_curve(id_, "preferred", PREFERRED, 100) for id_, log in logs.items()],
    )
    return tuple(curve for kind in kinds for curve in kind if curve is not None)


def told(events: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return what each stage logged when it was last done from its start, in order."""
    stages: dict[str, list[dict[str, Any]]] = {}
    finished = set()
    for event in events:
        id_, kind = event.get("stage"), event.get("event")
        if not isinstance(id_, str):
            continue
        if kind == "stage_cached" or (kind == "stage_started" and id_ in finished):
            # Done again from the start, or another run's result: what we logged is not its story.
            stages[id_] = []
            finished.discard(id_)
        if kind == "stage_finished":
            finished.add(id_)
        stages.setdefault(id_, []).append(event)
    return stages


def downsample(points: Sequence[Point], most: int = MAX_POINTS) -> tuple[tuple[Point, ...], int]:
    """Return at most `most` points and how many became one; each is the mean of its bucket."""
    size = -(-len(points) // most)
    if size <= 1:
        return tuple(points), 1
    buckets = [points[i : i + size] for i in range(0, len(points), size)]
    means = [(bucket[-1][0], fmean(value for _, value in bucket)) for bucket in buckets]
    return tuple(means), size


def append(line: dict[float, V], step: float, value: V) -> None:
    """Add the next step; after a resume, what was logged from that step on is dropped."""
    if line and next(reversed(line)) >= step:
        for later in [key for key in line if key >= step]:
            del line[later]
    line[step] = value


def is_number(value: object) -> TypeGuard[float]:
    """Tell whether a JSON value is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


class _StageLog:
    """What one stage logged; an interrupted stage that goes on replaces what it repeats."""

    def __init__(self) -> None:
        self.metrics: dict[float, dict[str, Any]] = {}
        self.probes: dict[str, dict[float, dict[str, Any]]] = {}

    def add(self, event: dict[str, Any]) -> None:
        kind, step = event.get("event"), event.get("step", "")
        if kind == "metric" and is_number(step) and is_number(event.get("loss")):
            append(self.metrics, step, event)
        elif kind == "probe" and is_number(step) and is_number(event.get("bits_per_byte")):
            line = self.probes.setdefault(str(event.get("language") or "all"), {})
            append(line, step, event)

    def loss_curve(self, stage: str) -> Curve | None:
        curve = _curve(stage, "loss", {"loss": _points(self.metrics, "loss")})
        log = list(self.metrics.values())
        tokens = [int(e["tokens"]) for e in log if is_number(e.get("tokens"))]
        speeds = [float(e["tokens_per_s"]) for e in log if is_number(e.get("tokens_per_s"))]
        return curve and replace(
            curve,
            tokens=tokens[-1] if tokens else None,
            tokens_per_s=median(speeds) if speeds else None,
        )

    def probe_curve(self, stage: str, quantity: Quantity, factor: float) -> Curve | None:
        lines = {name: _points(line, quantity, factor) for name, line in self.probes.items()}
        return _curve(stage, quantity, lines)

    def reward_curve(
        self, stage: str, quantity: Quantity, fields: Mapping[str, str], factor: float
    ) -> Curve | None:
        lines = {name: _points(self.metrics, key, factor) for name, key in fields.items()}
        return _curve(stage, quantity, lines)


def _points(log: Mapping[float, dict[str, Any]], key: str, factor: float = 1) -> list[Point]:
    """Return the steps that logged a number."""
    return [
        (float(step), factor * float(event[key]))
        for step, event in log.items()
        if is_number(event.get(key))
    ]


def _curve(stage: str, quantity: Quantity, lines: Mapping[str, Sequence[Point]]) -> Curve | None:
    sampled = {name: downsample(line) for name, line in lines.items() if line}
    if not sampled:
        return None
    return Curve(
        stage=stage,
        quantity=quantity,
        series=tuple(Series(name, points) for name, (points, _) in sampled.items()),
        steps=max(line[-1][0] for line in lines.values() if line),
        steps_per_point=max(size for _, size in sampled.values()),
    )
