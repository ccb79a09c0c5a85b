"""Which dates and quantities does a text name, and is one of them what a graph says?

A graph says "1963-03-13" and "1941 km"; a text "13 March 1963", "1963年3月13日", "1,941 公里".
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import NamedTuple

MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_MONTH = "|".join(f"{name[:3]}(?:t|{name[3:]})?\\.?" for name in MONTHS)
_DATE = re.compile(
    r"(?<![\d.,])(?:"
    r"(?P<y1>\d{4})\s*[年/.\-]\s*(?P<m1>\d{1,2})(?:\s*[月/.\-]\s*(?P<d1>\d{1,2})\s*[日号]?|\s*月)"
    rf"|(?P<d2>\d{{1,2}})(?:st|nd|rd|th)?\s+(?P<m2>{_MONTH})\s*,?\s*(?P<y2>\d{{4}})"
    rf"|(?P<m3>{_MONTH})\s+(?P<d3>\d{{1,2}})(?:st|nd|rd|th)?\s*,\s*(?P<y3>\d{{4}})"
    rf"|(?P<m4>{_MONTH})\s+(?P<y4>\d{{4}})"
    r"|(?P<y5>\d{4})\s*年?"
    r")(?![\d])"
)
_NUMBER = re.compile(
    r"(?<![A-Za-z0-9.,])(?P<n>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)\s*"
    r"(?P<s>thousand|million|billion|trillion|万亿|千万|百万|[万亿千])?\s*"
    r"(?P<u>°C|℃|%|％|[A-Za-z²³/]{1,12}|[\u4e00-\u9fff]{1,4})?"
)
SCALES = {
    "": 1, "thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12, "千": 1e3,
    "万": 1e4, "百万": 1e6, "千万": 1e7, "亿": 1e8, "万亿": 1e12,
}  # fmt: skip
_ISO = re.compile(r"\d{4}-\d{2}(-\d{2})?")
_AMOUNT = re.compile(r"[+-]?\d+(?:\.\d+)? \S+")
RELATIVE_ERROR = 1e-6  # between two ways to write the same number


class Value(NamedTuple):
    """A date or a quantity that a text names.

    Attributes:
        start, end: `[start, end)` in characters.
        date: "1963-03-13", or as much of it as is said; "" for a quantity.
        number: 0.0 for a date.
        unit: as it is written; Chinese characters behind a number may hold more than its unit.
    """

    start: int
    end: int
    date: str = ""
    number: float = 0.0
    unit: str = ""


def value_kind(text: str) -> str:
    """Return "date" or "quantity" for the plain values of a table that look so, else "text"."""
    if _ISO.fullmatch(text):
        return "date"
    return "quantity" if _AMOUNT.fullmatch(text) else "text"


def find_values(text: str) -> list[Value]:
    """Return the dates, then the quantities, of a text."""
    return [*_dates(text), *_quantities(text)]


def _dates(text: str) -> Iterator[Value]:
    for match in _DATE.finditer(text):
        found = {key[0]: value for key, value in match.groupdict().items() if value}
        month = _month(found.get("m", ""))
        parts = [found["y"], *([f"{month:02d}"] if month else [])]
        if month and "d" in found:
            parts.append(f"{int(found['d']):02d}")
        if month <= 12 and int(found.get("d", 1)) <= 31:
            yield Value(match.start(), match.end(), date="-".join(parts))


def _month(text: str) -> int:
    if text.isdecimal():
        return int(text)
    return 1 + [name[:3] for name in MONTHS].index(text[:3]) if text else 0


def _quantities(text: str) -> Iterator[Value]:
    for match in _NUMBER.finditer(text):
        number = float(match["n"].replace(",", "")) * SCALES[match["s"] or ""]
        unit = match["u"] or ""
        end = match.end("u") if unit else match.end("s") if match["s"] else match.end("n")
        yield Value(match.start(), end, number=number, unit=unit)


def says_date(value: Value, date: str) -> bool:
    """Tell whether a text's date is the graph's; the text may say less (only the year)."""
    return bool(value.date) and (date == value.date or date.startswith(f"{value.date}-"))


def says_quantity(value: Value, amount: str, unit_names: Collection[str]) -> tuple[int, int] | None:
    """Return the span of a text's quantity if it is the graph's.

    Args:
        value: what the text says.
        amount: a number as text.
        unit_names: the unit's names in any language; none for a plain number.
    """
    if value.date or abs(float(amount) - value.number) > RELATIVE_ERROR * abs(value.number):
        return None
    if not unit_names:
        return (value.start, value.end - len(value.unit))
    fitting = [name for name in unit_names if _is_unit(value.unit, name)]
    if not fitting:
        return None
    written = max(min(len(name), len(value.unit)) for name in fitting)
    return (value.start, value.end - len(value.unit) + written)


def _is_unit(written: str, name: str) -> bool:
    """Tell whether a unit is meant: 公里 in 公里长, kilometres for kilometre."""
    if name[:1] >= "\u2e80":
        return written.startswith(name)
    return written == name or written.removesuffix("s").lower() == name.removesuffix("s").lower()
