"""Which colors does the page have, by day and by night? The one home of every color."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

# Text colors keep a contrast of 4.5 and drawn lines of 3 against `paper` and `card` (tested).
LIGHT = {
    "paper": "#f7f5f0",
    "card": "#fffdf9",
    "ink": "#22201c",
    "soft": "#645e54",
    "rule": "#ddd7cb",
    "grid": "#ece7dc",
    "link": "#0b5f73",
    "seal": "#b23a26",
    "better": "#1d6b41",
    "worse": "#a8321f",
    "before": "#746d62",
    "after": "#0b6e85",
    "third": "#9a5b13",
    "fourth": "#7a4b94",
    "chance": "#a8321f",
    "wash": "#efebe2",
    "type-0": "#cfe6ea",
    "type-1": "#f6dcc0",
    "type-2": "#d9e6c6",
    "type-3": "#e8d5ee",
    "type-4": "#f8e7a8",
    "type-5": "#f6d0cb",
    "type-6": "#d3dbf3",
    "type-7": "#dfdace",
}
DARK = {
    "paper": "#171613",
    "card": "#201f1b",
    "ink": "#ebe7dd",
    "soft": "#a9a294",
    "rule": "#3b3831",
    "grid": "#2c2a25",
    "link": "#76c3d4",
    "seal": "#b8432e",
    "better": "#7ecb9d",
    "worse": "#f0907c",
    "before": "#938c7f",
    "after": "#55b8cd",
    "third": "#dba25c",
    "fourth": "#c39adb",
    "chance": "#f0907c",
    "wash": "#292721",
    "type-0": "#1f4850",
    "type-1": "#5a4020",
    "type-2": "#38491f",
    "type-3": "#4b3456",
    "type-4": "#544a17",
    "type-5": "#5c2f29",
    "type-6": "#303c62",
    "type-7": "#46423a",
}
TYPE_COLORS = 8


def model_colors(models: Sequence[str]) -> dict[str, str]:
    """Return the color class of each model: grey for the first, the accent for the last."""
    between = ("s-third", "s-fourth")
    colors = {name: between[i % 2] for i, name in enumerate(models[1:-1])}
    if len(models) > 1:
        colors[models[0]] = "s-before"
    return colors | {name: "s-after" for name in models[-1:]}


def language_colors(codes: Sequence[str]) -> dict[str, str]:
    """Return the color class of each language's line."""
    order = ("s-third", "s-fourth", "s-after", "s-before")
    return {code: order[i % len(order)] for i, code in enumerate(codes)}


def stylesheet() -> str:
    """Return the page's CSS: the colors by theme, then report.css."""
    sheet = (files("hanlin.pipeline.report") / "report.css").read_text(encoding="utf-8")
    day, night = _variables(LIGHT), _variables(DARK)
    return (
        f":root{{color-scheme:light;{day}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{"
        f":root:not([data-theme=light]){{color-scheme:dark;{night}}}}}\n"
        f"@media screen{{:root[data-theme=dark]{{color-scheme:dark;{night}}}}}\n"
        f"{_types()}\n{sheet}"
    )


def script() -> str:
    """Return the page's JavaScript."""
    return (files("hanlin.pipeline.report") / "report.js").read_text(encoding="utf-8")


def _variables(colors: dict[str, str]) -> str:
    return "".join(f"--{name}:{color};" for name, color in colors.items())


def _types() -> str:
    return "".join(f".type-{i}{{background:var(--type-{i})}}" for i in range(TYPE_COLORS))
