"""CLUENER: {"text", "label": {type: {name: [[start, last character], ...]}}}."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hanlin.data.readers import BadRows
from hanlin.extraction.facts import Extraction
from hanlin.extraction.readers.rows import Mentions, read_rows


def read_cluener(path: Path, bad: BadRows) -> Iterator[Extraction]:
    """Yield the examples of CLUENER 2020; its ends are inclusive."""
    return read_rows(path, bad, _example)


def _example(row: dict[str, Any], id_: str) -> Extraction:
    mentions = Mentions(row["text"])
    places = [
        (start, last + 1, name, type_)
        for type_, names in row["label"].items()
        for name, spans in names.items()
        for start, last in spans
    ]
    for start, end, name, type_ in sorted(places):
        mentions.add(name, start, end, type_)
    return Extraction(str(row.get("id", id_)), row["text"], "zh", mentions.all())
