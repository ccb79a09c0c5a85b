"""How does text of a run become safe Markdown, and rows a table?"""

from __future__ import annotations

import re
from collections.abc import Sequence


def cell(text: str) -> str:
    """Write text on one line, so that nothing in it acts as Markdown or HTML."""
    line = " ".join(text.split())
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", line)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table; the cells are Markdown already."""
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]
