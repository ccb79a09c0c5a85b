"""What does a comparison of tokenizers look like? Two panels of bars, as a PNG or SVG file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from hanlin.core.errors import ConfigError, InputError
from hanlin.core.extras import require
from hanlin.core.files import write_atomic
from hanlin.tokenization.comparison import Comparison, Row, short_names

FORMATS = ("png", "svg")
MOST_GROUPS = 16  # more than these are summed up by language
# Grey for the first tokenizer, then colors that stay apart for the color-blind (Okabe, Ito 2008).
COLORS = ("#8a8378", "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9")
# Fonts that hold Chinese, Japanese or Korean, for file names in those languages.
WIDE_FONTS = ("Noto Sans CJK SC", "Source Han Sans SC", "WenQuanYi Micro Hei", "PingFang SC",
              "Microsoft YaHei", "SimHei")  # fmt: skip


def check_plot(path: Path, *, force: bool) -> None:
    """Refuse a plot that could not be written in the end, before the work begins.

    Raises:
        ConfigError: it is neither .png nor .svg.
        InputError: it is there already, and `force` is not set.
        MissingExtraError: matplotlib is not installed.
    """
    if path.suffix.lower().removeprefix(".") not in FORMATS:
        raise ConfigError(
            f"{path} is no name for a plot",
            why="plots are written as .png or .svg",
            fix=f"--plot {path.with_suffix('.png')}",
        )
    if path.exists() and not force:
        raise InputError(
            f"{path} exists already",
            why="nothing is overwritten unless it is asked for",
            fix="give another --plot, or add --force to replace it",
        )
    require("matplotlib", extra="plot", purpose="drawing a plot")


def draw(comparison: Comparison, path: Path) -> None:
    """Draw characters per token and the share of bytes fallen back, for every tokenizer.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ResourceError: the disk is full or the folder cannot be written.
    """
    matplotlib = require("matplotlib", extra="plot", purpose="drawing a plot")
    figures = require("matplotlib.figure", extra="plot", purpose="drawing a plot")
    names = short_names([vocabulary.tokenizer for vocabulary in comparison.vocabularies])
    colors = {name: COLORS[i % len(COLORS)] for i, name in enumerate(names)}
    groups = _groups(comparison)
    bars = _placed(groups)
    kind = path.suffix.lower().removeprefix(".")
    # No date and no version of the library: the same comparison gives the same bytes.
    metadata = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
    data = io.BytesIO()
    with matplotlib.rc_context({"font.family": plot_fonts(), "svg.hashsalt": "hanlin"}):
        height = 1.6 + 0.22 * (len(bars) + len(groups))
        figure = figures.Figure(figsize=(10, height), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        characters = [row.fertility.characters_per_token for _, row in bars]
        _panel(left, bars, characters, colors=colors)
        left.set_title("characters per token (more is better)", fontsize=10)
        fallen = [100 * row.fertility.bytes_fallen_back_share for _, row in bars]
        _panel(right, bars, fallen, colors=colors)
        right.set_title("bytes fallen back, % (fewer is better)", fontsize=10)
        middles = [fmean(y for y, row in bars if row in rows) for rows in groups.values()]
        left.set_yticks(middles, list(groups))
        left.invert_yaxis()
        _legend(figure, {names[name]: color for name, color in colors.items()})
        figure.savefig(data, format=kind, dpi=150, metadata=metadata)
    write_atomic(path, data.getvalue())


def _groups(comparison: Comparison) -> dict[str, list[Row]]:
    """Return label -> one row for each tokenizer: by file and language, or by language alone."""
    rows: Sequence[Row] = comparison.rows
    if len(rows) > MOST_GROUPS * len(comparison.vocabularies):
        rows = comparison.languages
    files = short_names([entry.file for entry in comparison.inputs])
    groups: dict[str, list[Row]] = {}
    for row in rows:
        label = f"{files[row.file]}, {row.language}" if row.file else row.language
        groups.setdefault(label, []).append(row)
    return groups


def _placed(groups: dict[str, list[Row]]) -> list[tuple[float, Row]]:
    """Return every row with its height on the axis: an empty line between groups."""
    placed, y = [], 0.0
    for rows in groups.values():
        for row in rows:
            placed.append((y, row))
            y += 1.0
        y += 1.0
    return placed


def _panel(
    axis: Any,  # noqa: ANN401 - of matplotlib
    bars: Sequence[tuple[float, Row]],
    values: Sequence[float],
    *,
    colors: dict[str, str],
) -> None:
    heights = [y for y, _ in bars]
    drawn = axis.barh(heights, values, height=0.85, color=[colors[r.tokenizer] for _, r in bars])
    axis.bar_label(drawn, [f"{value:.2f}" for value in values], padding=3, fontsize=8)
    axis.margins(x=0.15)
    axis.set_xlim(left=0)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=9)


def _legend(figure: Any, colors: dict[str, str]) -> None:  # noqa: ANN401 - of matplotlib
    patches = require("matplotlib.patches", extra="plot", purpose="drawing a plot")
    handles = [patches.Patch(color=color, label=name) for name, color in colors.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=9, frameon=False)


def plot_fonts() -> list[str]:
    """Return font families of which one has the characters of Chinese and Japanese names."""
    manager = require("matplotlib.font_manager", extra="plot", purpose="drawing a plot")
    installed = {font.name for font in manager.fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in WIDE_FONTS if name in installed)]
