"""How does a chart get its scale, its axes and its labels? Inline SVG without any library."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hanlin.pipeline.report.elements import Child, Markup, tag

WIDTH = 320  # the room of a figure on a phone, so that a label of 11 units is read as 11 pixels


@dataclass(frozen=True)
class Scale:
    """A linear map from values to units of the drawing."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return where a value stands in the drawing."""
        share = (value - self.low) / ((self.high - self.low) or 1)
        return round(self.start + share * (self.end - self.start), 2)


def ticks(low: float, high: float, *, count: int = 5) -> list[float]:
    """Return round values that cover a range: steps of 1, 2 or 5 times a power of ten."""
    if high - low <= 1e-9 * max(1.0, abs(low), abs(high)):  # nothing to see: make room around it
        margin = abs(low) * 0.1 or 1.0
        low, high = low - margin, high + margin
    rough = (high - low) / max(count - 1, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def tick_label(value: float, values: list[float]) -> str:
    """Write a tick with as many decimals as its neighbors need, thousands as k."""
    largest = max(abs(v) for v in values)
    step = abs(values[1] - values[0]) if len(values) > 1 else largest or 1
    for unit, divisor in (("M", 1e6), ("k", 1e3)):
        if step >= divisor / 10 and largest >= divisor:
            digits = 0 if step >= divisor else 1
            return f"{value / divisor:.{digits}f}{unit}" if value else "0"
    digits = max(0, -math.floor(math.log10(step) + 1e-9)) if step else 0
    return f"{value:.{min(digits, 6)}f}"


def drawing(*children: Child, height: float, label: str, width: float = WIDTH) -> Markup:
    """Return an SVG picture with a name for screen readers."""
    return tag(
        "svg",
        *children,
        view_box=f"0 0 {width:g} {height:g}",
        role="img",
        aria_label=label,
        class_="chart",
    )


def text(x: float, y: float, words: str, *, anchor: str = "start", class_: str = "") -> Markup:
    """Return a label."""
    return tag("text", words, x=x, y=y, text_anchor=anchor, class_=class_ or None)


def line(x1: float, y1: float, x2: float, y2: float, *, class_: str) -> Markup:
    """Return a straight line."""
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def title(words: str) -> Markup:
    """Return what a browser shows on hovering the element around it."""
    return tag("title", words)


def fit(words: str, width: float, *, size: float = 11) -> str:
    """Cut a label to a width; full-width characters count as one em, others as 0.56."""
    room = width / size
    for index, character in enumerate(words):
        room -= 1.0 if ord(character) > 0x2E7F else 0.56
        if room < 0:
            return words[: max(index - 1, 1)].rstrip() + "…"
    return words


def x_axis(scale: Scale, values: list[float], *, top: float, bottom: float) -> Markup:
    """Return vertical grid lines with a label below each."""
    parts = []
    for value in values:
        x = scale(value)
        parts.append(line(x, top, x, bottom, class_="grid"))
        label = tick_label(value, values)
        half = 3.1 * len(label)
        anchor = "end" if x + half > WIDTH else "middle"
        parts.append(text(x, bottom + 14, label, anchor=anchor, class_="tick"))
    return Markup("".join(parts))


def y_axis(scale: Scale, values: list[float], *, left: float, right: float) -> Markup:
    """Return horizontal grid lines with a label to the left of each."""
    parts = []
    for value in values:
        y = scale(value)
        parts.append(line(left, y, right, y, class_="grid"))
        parts.append(
            text(left - 6, y + 3.5, tick_label(value, values), anchor="end", class_="tick")
        )
    return Markup("".join(parts))
