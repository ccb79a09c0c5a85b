"""How did training go? From the lines of events.jsonl to curves that can be drawn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean, median
from typing import Any, TypeGuard, TypeVar

from hanlin.pipeline.report.card import Curve, Series

MAX_POINTS = 400  # more cannot be told apart on a page, and would make it megabytes

Point = tuple[float, float]
V = TypeVar("V")


def curves(events: Iterable[dict[str, Any]]) -> tuple[Curve, ...]:
    """Return the loss curve and the bits-per-byte curves of every stage that logged some."""
    logs: dict[str, _StageLog] = {}
    for event in events:
        id_ = event.get("stage")
        if isinstance(id_, str):
            logs.setdefault(id_, _StageLog()).add(event)
    losses = [curve for id_, log in logs.items() if (curve := log.loss_curve(id_))]
    probes = [curve for id_, log in logs.items() if (curve := log.probe_curve(id_))]
    return (*losses, *probes)


def downsample(points: Sequence[Point], most: int = MAX_POINTS) -> tuple[tuple[Point, ...], int]:
    """Return at most `most` points and how many became one; each is the mean of its bucket."""
    size = -(-len(points) // most)
    if size <= 1:
        return tuple(points), 1
    buckets = [points[i : i + size] for i in range(0, len(points), size)]
    means = [(bucket[-1][0], fmean(value for _, value in bucket)) for bucket in buckets]
    return tuple(means), size


class _StageLog:
    """What one stage logged; an interrupted stage that goes on replaces what it repeats."""

    def __init__(self) -> None:
        self.metrics: dict[float, dict[str, Any]] = {}
        self.probes: dict[str, dict[float, float]] = {}
        self.has_finished = False

    def add(self, event: dict[str, Any]) -> None:
        kind, step = event.get("event"), event.get("step", "")
        if kind == "stage_finished":
            self.has_finished = True
        elif kind == "stage_cached" or (kind == "stage_started" and self.has_finished):
            # Done again from the start, or another run's result: what we logged is not its story.
            self.metrics, self.probes, self.has_finished = {}, {}, False
        elif kind == "metric" and _is_number(step) and _is_number(event.get("loss")):
            _append(self.metrics, step, event)
        elif kind == "probe" and _is_number(step) and _is_number(event.get("bits_per_byte")):
            line = self.probes.setdefault(str(event.get("language") or "all"), {})
            _append(line, step, float(event["bits_per_byte"]))

    def loss_curve(self, stage: str) -> Curve | None:
        if not self.metrics:
            return None
        log = list(self.metrics.values())
        points, size = downsample([(float(e["step"]), float(e["loss"])) for e in log])
        tokens = [int(e["tokens"]) for e in log if _is_number(e.get("tokens"))]
        speeds = [float(e["tokens_per_s"]) for e in log if _is_number(e.get("tokens_per_s"))]
        return Curve(
            stage=stage,
            quantity="loss",
            series=(Series("loss", points),),
            steps=log[-1]["step"],
            tokens=tokens[-1] if tokens else None,
            tokens_per_s=median(speeds) if speeds else None,
            steps_per_point=size,
        )

    def probe_curve(self, stage: str) -> Curve | None:
        if not self.probes:
            return None
        sampled = {name: downsample(list(line.items())) for name, line in self.probes.items()}
        return Curve(
            stage=stage,
            quantity="bits_per_byte",
            series=tuple(Series(name, points) for name, (points, _) in sampled.items()),
            steps=max(max(line) for line in self.probes.values()),
            steps_per_point=max(size for _, size in sampled.values()),
        )


def _append(line: dict[float, V], step: float, value: V) -> None:
    """Add the next step; after a resume, what was logged from that step on is dropped."""
    if line and next(reversed(line)) >= step:
        for later in [key for key in line if key >= step]:
            del line[later]
    line[step] = value


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
