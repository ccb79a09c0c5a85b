"""Our own rows: text, language, entities with spans, relations, events."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hanlin.data.readers import BadRows
from hanlin.extraction.facts import Extraction, from_row
from hanlin.extraction.readers.rows import read_rows


def read_hanlin(path: Path, bad: BadRows) -> Iterator[Extraction]:
    """Yield the extractions of a file that Hanlin wrote."""
    return read_rows(path, bad, lambda row, id_: from_row({"id": id_, **row}))
