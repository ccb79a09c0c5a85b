"""What does the page draw? Curves, intervals and bars, each a self-contained SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from hanlin.pipeline.report import words
from hanlin.pipeline.report.card import Curve, FertilityBar, Score, ScoreRow, Segmentation
from hanlin.pipeline.report.elements import Markup, join, tag
from hanlin.pipeline.report.svg import (
    WIDTH,
    Scale,
    drawing,
    fit,
    line,
    text,
    ticks,
    title,
    x_axis,
    y_axis,
)
from hanlin.pipeline.report.theme import model_colors

MOST_STRIPS = 120  # hover targets of a curve; narrower ones could not be hit
UNITS = {
    "loss": "loss, nats per token",
    "bits_per_byte": "bits per byte",
    "change": "bits per byte since the start, %",
    "rewards": "reward of an answer, nats",
    "preferred": "pairs with the chosen answer ahead, %",
}


def curve_chart(curve: Curve, colors: Mapping[str, str]) -> Markup:
    """Draw the lines of one stage over its steps; `colors` maps a series to its class."""
    left, right, top, bottom, height = 42.0, WIDTH - 12.0, 22.0, 180.0, 216.0
    points = [point for series in curve.series for point in series.points]
    x_values = ticks(min(x for x, _ in points), max(x for x, _ in points), count=4)
    y_values = ticks(min(y for _, y in points), max(y for _, y in points))
    first, last = min(x for x, _ in points), max(x for x, _ in points)
    x = (
        Scale(first, last, left, right)
        if last > first
        else Scale(first - 1, first + 1, left, right)
    )
    y = Scale(y_values[0], y_values[-1], bottom, top)
    inside = [value for value in x_values if x.low <= value <= x.high]
    parts = [
        y_axis(y, y_values, left=left, right=right),
        x_axis(x, inside, top=bottom, bottom=bottom),
        text(left - 36, 12, UNITS[curve.quantity], class_="unit"),
        text(right, height - 4, "step", anchor="end", class_="unit"),
    ]
    for series in curve.series:
        class_ = colors.get(series.label, "s-after")
        parts.append(_path([(x(a), y(b)) for a, b in series.points], class_))
    parts.append(_strips(curve, x, y, top=top, bottom=bottom))
    name = f"{UNITS[curve.quantity]} of stage {curve.stage}"
    return drawing(*parts, height=height, label=name)


def _path(points: list[tuple[float, float]], class_: str) -> Markup:
    commands = "".join(f"{'L' if index else 'M'}{x:g} {y:g}" for index, (x, y) in enumerate(points))
    dots = points if len(points) <= 24 else points[-1:]
    return join(
        tag("path", d=commands, class_=f"curve {class_}"),
        *[tag("circle", cx=x, cy=y, r=2.4, class_=f"dot {class_}") for x, y in dots],
    )


def _strips(curve: Curve, x: Scale, y: Scale, *, top: float, bottom: float) -> Markup:
    """Return invisible columns that show a step's values on hovering."""
    by_step: dict[float, list[tuple[str, float]]] = {}
    for series in curve.series:
        for step, value in series.points:
            by_step.setdefault(step, []).append((series.label, value))
    steps = sorted(by_step)
    steps = steps[:: -(-len(steps) // MOST_STRIPS)]
    middles = [x(step) for step in steps]
    edges = [x.start, *((a + b) / 2 for a, b in pairwise(middles)), x.end]
    parts = []
    for index, step in enumerate(steps):
        values = ", ".join(
            f"{'' if name == 'loss' else words.language(name) + ' '}{value:.4g}"
            for name, value in by_step[step]
        )
        parts.append(
            tag(
                "g",
                title(f"step {step:g}: {values}"),
                tag(
                    "rect",
                    x=edges[index],
                    y=top,
                    height=bottom - top,
                    width=max(edges[index + 1] - edges[index], 0.1),
                ),
                line(middles[index], top, middles[index], bottom, class_="cursor"),
                *[tag("circle", cx=middles[index], cy=y(v), r=3) for _, v in by_step[step]],
                class_="strip",
            )
        )
    return Markup("".join(parts))


def interval_panels(rows: Sequence[ScoreRow], models: Sequence[str]) -> list[tuple[str, Markup]]:
    """Draw before and after with intervals: one panel for each axis, as (heading, picture)."""
    groups: dict[str, list[ScoreRow]] = {}
    for row in rows:
        key = "" if row.metric in words.SHARES else words.metric(row.metric)
        if any(score.value is not None for score in row.scores.values()):
            groups.setdefault(key, []).append(row)
    panels = []
    for key, group in groups.items():
        name = key or ", ".join(dict.fromkeys(words.metric(row.metric) for row in group))
        panels.append((name[:1].upper() + name[1:], interval_chart(group, models)))
    return panels


def interval_chart(rows: Sequence[ScoreRow], models: Sequence[str]) -> Markup:
    """Draw dots with whiskers: one lane for each row, one line for each model, chance dashed."""
    left, right, lane = 8.0, WIDTH - 14.0, 24.0 + 11.0 * len(models)
    values = [v for row in rows for score in row.scores.values() for v in _extent(score)]
    values += [row.chance for row in rows if row.chance is not None]
    if all(row.metric in words.SHARES for row in rows) and all(0 <= v <= 1 for v in values):
        steps = ticks(0, 1, count=6)
    else:
        steps = ticks(min([0.0, *values]), max(values))
    x = Scale(steps[0], steps[-1], left, right)
    bottom = 6 + lane * len(rows)
    parts = [x_axis(x, steps, top=4, bottom=bottom)]
    for index, row in enumerate(rows):
        parts.append(_lane(row, models, x, top=6 + lane * index))
    name = "scores with 95 % intervals: " + ", ".join(words.title(row) for row in rows)
    return drawing(*parts, height=bottom + 22, label=name)


def _lane(row: ScoreRow, models: Sequence[str], x: Scale, *, top: float) -> Markup:
    label = f"{words.title(row)} · {words.short_metric(row.metric)}"
    shown = fit(label, x.end - x.start)
    parts = [tag("text", title(label), shown, x=x.start, y=top + 11, class_="lane")]
    low, high = top + 15, top + 19 + 11 * len(models) - 4
    if row.chance is not None:
        at = x(row.chance)
        mark = line(at, low, at, high, class_="chance")
        parts.append(tag("g", title(f"chance {words.number(row.chance, row.metric)}"), mark))
    for index, model in enumerate(models):
        score = row.scores.get(model)
        if score is not None and score.value is not None:
            dot = Mark.of(model, models)
            parts.append(_whisker(score, x, y=top + 21 + 11 * index, mark=dot, row=row))
    return Markup("".join(parts))


@dataclass(frozen=True)
class Mark:
    """How a model's dots look: the first of several is hollow, in print too."""

    model: str
    color: str
    shape: str

    @classmethod
    def of(cls, model: str, models: Sequence[str]) -> Mark:
        """Choose the look of one of the models."""
        is_first_of_several = len(models) > 1 and model == models[0]
        return cls(model, model_colors(models)[model], "hollow" if is_first_of_several else "dot")


def _whisker(score: Score, x: Scale, *, y: float, mark: Mark, row: ScoreRow) -> Markup:
    """Draw a score that has a value."""
    extent = _extent(score)
    hover = f"{mark.model}: {words.number(score.value, row.metric)}"
    if interval := words.interval(score, row.metric):
        hover += f" (95 % interval {interval})"
    parts = [title(hover)]
    if len(extent) > 1:
        parts.append(line(x(extent[0]), y, x(extent[-1]), y, class_=f"whisker {mark.color}"))
    dot = tag("circle", cx=x(score.value or 0.0), cy=y, r=4, class_=f"{mark.shape} {mark.color}")
    return tag("g", *parts, dot)


def strip_chart(row: ScoreRow, models: Sequence[str]) -> Markup:
    """Draw one row without words, small enough for a tile."""
    values = [v for score in row.scores.values() for v in _extent(score)]
    chance = [row.chance] if row.chance is not None else []
    top = 1.0 if row.metric in words.SHARES and max([*values, *chance]) <= 1 else None
    high = top or max([*values, *chance]) * 1.08 or 1.0
    x = Scale(min([0.0, *values]), high, 4, 216)
    parts = [line(4, 10, 216, 10, class_="rail")]
    if row.chance is not None:
        parts.append(line(x(row.chance), 3, x(row.chance), 17, class_="chance"))
    for model in models:
        score = row.scores.get(model)
        if score is not None and score.value is not None:
            parts.append(_whisker(score, x, y=10, mark=Mark.of(model, models), row=row))
    return drawing(*parts, height=20, width=220, label=f"{words.title(row)} on a line")


@dataclass(frozen=True)
class Bar:
    """A value of one tokenizer on one language, and how it is written."""

    language: str
    tokenizer: str
    value: float
    label: str


def fertility_chart(bars: Sequence[FertilityBar]) -> Markup:
    """Draw tokens per character: a bar for each tokenizer, grouped by language."""
    values = [(bar, bar.tokens_per_character) for bar in bars]
    unit = "tokens per character"
    return bar_chart([Bar(b.language, b.tokenizer, v, f"{v:.3f}") for b, v in values], unit=unit)


def segmentation_charts(found: Sequence[Segmentation]) -> list[Markup]:
    """Draw characters per token and the share of bytes fallen back, before and after."""
    characters = [(s, s.characters_per_token) for s in found]
    fallen = [(s, 100 * share) for s in found if (share := s.bytes_fallen_back_share) is not None]
    charts = []
    for pairs, unit, digits in (
        (characters, "characters per token", 3), (fallen, "bytes fallen back, %", 1)
    ):  # fmt: skip
        bars = [Bar(s.language, s.tokenizer, v, f"{v:.{digits}f}") for s, v in pairs]
        charts += [bar_chart(bars, unit=unit)] if bars else []
    return charts


def bar_chart(bars: Sequence[Bar], *, unit: str) -> Markup:
    """Draw a bar for each tokenizer, grouped by language."""
    left, right = 8.0, WIDTH - 14.0
    steps = ticks(0, max(bar.value for bar in bars) * 1.02 or 1.0)
    x = Scale(0, steps[-1], left, right)
    colors = model_colors(list(dict.fromkeys(bar.tokenizer for bar in bars)))
    parts: list[Markup] = []
    y = 4.0
    for code in dict.fromkeys(bar.language for bar in bars):
        parts.append(text(left, y + 12, words.language(code) or "all texts", class_="lane"))
        y += 18
        for bar in (bar for bar in bars if bar.language == code):
            parts.append(_bar(bar, x, y=y, class_=colors[bar.tokenizer], unit=unit))
            y += 17
        y += 6
    grid = x_axis(x, steps, top=4, bottom=y)
    below = text(right, y + 27, unit, anchor="end", class_="unit")
    return drawing(grid, *parts, below, height=y + 32, label=unit)


def _bar(bar: Bar, x: Scale, *, y: float, class_: str, unit: str) -> Markup:
    end = x(bar.value)
    is_inside = end + 40 > x.end
    return tag(
        "g",
        title(f"{bar.tokenizer}, {words.language(bar.language)}: {bar.label} {unit}"),
        tag("rect", x=x.start, y=y, width=max(end - x.start, 1), height=13, rx=2,
            class_=f"bar {class_}"),
        text(end - 5 if is_inside else end + 5, y + 10.5, bar.label,
             anchor="end" if is_inside else "start", class_="inside" if is_inside else "value"),
    )  # fmt: skip


def cell_bar(share: float) -> Markup:
    """Draw a bar that fills a share of a table's cell."""
    width = max(0.0, min(1.0, share)) * 100
    return tag(
        "svg",
        tag("rect", x=0, y=0, width=width, height=8, rx=1),
        view_box="0 0 100 8",
        preserveAspectRatio="none",
        aria_hidden="true",
        class_="cellbar",
    )


def sparkline(values: Sequence[float], *, width: int = 40) -> str:
    """Draw a curve with block characters, for Markdown and the terminal."""
    size = -(-len(values) // width) or 1
    means = [sum(values[i : i + size]) / len(values[i : i + size])
             for i in range(0, len(values), size)]  # fmt: skip
    low, high = min(means), max(means)
    blocks = "▁▂▃▄▅▆▇█"
    return "".join(blocks[round(7 * (v - low) / ((high - low) or 1))] for v in means)


def _extent(score: Score) -> list[float]:
    found = [v for v in (score.low, score.value, score.high) if v is not None]
    return sorted(found)
