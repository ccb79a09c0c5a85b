"""What do scores look like? Bars by category with intervals and chance, or a radar; PNG or SVG."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hanlin.core.errors import InputError
from hanlin.core.extras import require
from hanlin.core.files import write_atomic
from hanlin.tokenization.plot import plot_fonts

PURPOSE = "drawing a plot"
LEAST_CORNERS = 3  # a radar of two is a line
# Colors that stay apart for the color-blind (Okabe, Ito 2008).
COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9")
# What others published is grey, each with a pattern of its own.
PUBLISHED = (("#8a8378", "///", ":"), ("#b9b1a3", "...", "--"), ("#5f5950", "xxx", "-."),
             ("#d3ccbf", "\\\\\\", (0, (1, 3))))  # fmt: skip
CHANCE_COLOR = "#a8321f"
# Names by which a document prints a whole benchmark; categories carry their own.
WHOLE = "Average"
SHOWN_PUBLISHED = ("GPT-4", "ChatGLM-6B", "chatglm-6B", "MOSS", "moss-sft-16B",
                   "CuteGPT-13B-ift-lora")  # fmt: skip


@dataclass(frozen=True)
class Bar:
    """A score in one category; `low` and `high` are None where the source gives no interval."""

    series: str
    category: str
    value: float
    low: float | None = None
    high: float | None = None
    is_published: bool = False


def draw(
    columns: Sequence[tuple[str, Sequence[Mapping[str, Any]], str]],
    path: Path,
    *,
    published: Sequence[Mapping[str, Any]] = (),
    kind: str = "bars",
) -> None:
    """Draw the scores of several models; one panel for each benchmark.

    Args:
        columns: (title, rows of scores.json, the model's name in them).
        path: a .png or .svg file.
        published: figures of others, drawn hatched and named so.
        kind: "bars" or "radar".

    Raises:
        InputError: there is nothing to draw as a radar.
        MissingExtraError: matplotlib is not installed.
        ResourceError: the disk is full or the folder cannot be written.
    """
    panels = _panels(columns, published)
    if kind == "radar":
        panels = {n: p for n, p in panels.items() if len(_categories(p[1])) >= LEAST_CORNERS}
        if not panels:
            raise InputError(
                "there is no benchmark with three categories to draw as a radar",
                fix="draw bars: --plot-as bars",
            )
    matplotlib = require("matplotlib", extra="plot", purpose=PURPOSE)
    figures = require("matplotlib.figure", extra="plot", purpose=PURPOSE)
    suffix = path.suffix.lower().removeprefix(".")
    # No date and no version of the library: the same scores give the same bytes.
    metadata = {"Software": None} if suffix == "png" else {"Date": None, "Creator": None}
    data = io.BytesIO()
    with matplotlib.rc_context({"font.family": plot_fonts(), "svg.hashsalt": "hanlin"}):
        heights = [1.6 + (4.4 if kind == "radar" else 0.2 * len(p[1])) for p in panels.values()]
        figure = figures.Figure(figsize=(8, sum(heights)), layout="constrained")
        polar = {"projection": "polar"} if kind == "radar" else {}
        axes = figure.subplots(
            len(panels), 1, squeeze=False, height_ratios=heights, subplot_kw=polar
        )[:, 0]
        for axis, (name, (chance, bars)) in zip(axes, panels.items(), strict=True):
            (_radar if kind == "radar" else _bars)(axis, bars, chance)
            axis.set_title(name, fontsize=10)
            axis.legend(
                fontsize=8, frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.07)
            )
        figure.savefig(data, format=suffix, dpi=150, metadata=metadata)
    write_atomic(path, data.getvalue())


def _panels(
    columns: Sequence[tuple[str, Sequence[Mapping[str, Any]], str]],
    published: Sequence[Mapping[str, Any]],
) -> dict[str, tuple[float | None, list[Bar]]]:
    """Return title -> (chance, bars) for each benchmark and metric."""
    panels: dict[str, tuple[float | None, list[Bar]]] = {}
    for title, rows, model in columns:
        for row in rows:
            score = row["scores"].get(model)
            if score is None:
                continue
            name = f"{row['label']}, {row['metric']}"
            _, bars = panels.setdefault(name, (row["chance"], []))
            bars.append(Bar(title, WHOLE, score["value"], score["low"], score["high"]))
            found = row.get("categories", {}).get(model, {})
            bars += [
                Bar(title, category, c["accuracy"], c["low"], c["high"])
                for category, c in found.items()
            ]
    for name, (_, bars) in panels.items():
        known = _categories(bars)
        metric = name.rpartition(", ")[2]
        bars += [
            Bar(f"{p['model']} (published)", p["part"] if p["part"] in known else WHOLE, p["value"],
                is_published=True)
            for p in published
            if p["metric"] == metric and p["model"] in SHOWN_PUBLISHED
            and (p["part"] in known or p["part"].startswith(("spec", "inter")))
        ]  # fmt: skip
    return panels


def _categories(bars: Sequence[Bar]) -> list[str]:
    return list(dict.fromkeys(bar.category for bar in bars))


def _looks(bars: Sequence[Bar]) -> dict[str, tuple[str, str | None, Any]]:
    """Return (color, hatch, line style) of each series."""
    measured = dict.fromkeys(bar.series for bar in bars if not bar.is_published)
    others = dict.fromkeys(bar.series for bar in bars if bar.is_published)
    looks: dict[str, tuple[str, str | None, Any]] = {
        name: (COLORS[i % len(COLORS)], None, "-") for i, name in enumerate(measured)
    }
    return looks | {name: PUBLISHED[i % len(PUBLISHED)] for i, name in enumerate(others)}


def _bars(axis: Any, bars: Sequence[Bar], chance: float | None) -> None:  # noqa: ANN401
    looks, named = _looks(bars), set[str]()
    y, ticks = 0.0, []
    for category in _categories(bars):
        group = [bar for bar in bars if bar.category == category]
        ticks.append((y + (len(group) - 1) / 2, category))
        for bar in group:
            error = None
            if bar.low is not None and bar.high is not None:
                error = [[bar.value - bar.low], [bar.high - bar.value]]
            axis.barh(
                y, bar.value, height=0.85, color=looks[bar.series][0], xerr=error,
                hatch=looks[bar.series][1], edgecolor="white",
                error_kw={"lw": 1, "capsize": 2},
                label=None if bar.series in named else bar.series,
            )  # fmt: skip
            named.add(bar.series)
            y += 1
        y += 0.8
    if chance is not None:
        axis.axvline(chance, color=CHANCE_COLOR, ls="--", lw=1, label=f"chance {chance:.3g}")
    axis.set_yticks([place for place, _ in ticks], [name for _, name in ticks])
    axis.invert_yaxis()
    axis.set_xlim(left=0)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=9)


def _radar(axis: Any, bars: Sequence[Bar], chance: float | None) -> None:  # noqa: ANN401
    categories = _categories(bars)
    angles = [2 * math.pi * i / len(categories) for i in range(len(categories))]
    for series, (color, _, style) in _looks(bars).items():
        values = {bar.category: bar for bar in bars if bar.series == series}
        line = [values[c].value if c in values else math.nan for c in categories]
        axis.plot(
            [*angles, angles[0]], [*line, line[0]], color=color, label=series, lw=1.6,
            ls=style, marker="o", ms=3,
        )  # fmt: skip
    if chance is not None:
        around = [math.pi * i / 90 for i in range(181)]
        axis.plot(around, [chance] * len(around), color=CHANCE_COLOR, ls="--", lw=1,
                  label=f"chance {chance:.3g}")  # fmt: skip
    axis.set_xticks(angles, categories, fontsize=9)
    axis.set_rlim(0)
    axis.tick_params(axis="y", labelsize=7)
