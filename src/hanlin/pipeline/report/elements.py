"""How is markup written so that no text can become markup? Escaping is the default."""

from __future__ import annotations

import re
from html import escape

VOID = frozenset({"meta", "link", "br", "hr", "input"})


class Markup(str):
    """Text that is markup already; every other string is escaped where it is used."""

    __slots__ = ()


Child = str | int | float | None
Attribute = str | int | float | bool | None


def tag(name: str, /, *children: Child, **attributes: Attribute) -> Markup:
    """Return one element.

    Children that are no `Markup` are escaped, None is left out. A trailing underscore of an
    attribute's name is dropped, others become hyphens, `view_box` becomes `viewBox`; None and
    False leave the attribute out.
    """
    written = "".join(
        f' {_attribute_name(key)}="{escape("" if value is True else _text(value))}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(*children)}</{name}>")


def join(*children: Child) -> Markup:
    """Return children one after another, escaped where they are no markup."""
    return Markup(
        "".join(
            child if isinstance(child, Markup) else escape(_text(child))
            for child in children
            if child is not None
        )
    )


def language_tag(code: str) -> str | None:
    """Return a language code that is fit for `lang`, or None."""
    return code if re.fullmatch(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*", code) else None


def table(
    header: list[Child], rows: list[list[Child]], *, caption: str, numeric: frozenset[int]
) -> Markup:
    """Return a table in a box that scrolls by itself on a narrow screen.

    Args:
        header: a name for each column.
        rows: cells; the first of each row is its header.
        caption: for screen readers.
        numeric: columns set to the right with tabular figures.
    """
    head = [tag("th", cell, scope="col", class_=_cell(i, numeric)) for i, cell in enumerate(header)]
    body = []
    for row in rows:
        first = tag("th", row[0], scope="row")
        rest = [tag("td", cell, class_=_cell(i, numeric)) for i, cell in enumerate(row[1:], 1)]
        body.append(tag("tr", first, *rest))
    return tag(
        "div",
        tag(
            "table",
            tag("caption", caption, class_="unseen"),
            tag("thead", tag("tr", *head)),
            tag("tbody", *body),
        ),
        class_="scroll",
        tabindex=0,
        role="region",
        aria_label=caption,
    )


def _cell(column: int, numeric: frozenset[int]) -> str | None:
    return "number" if column in numeric else None


def _attribute_name(key: str) -> str:
    if key == "view_box":
        return "viewBox"
    return key.rstrip("_").replace("_", "-")


def _text(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
