"""DuIE's rows: {"text", "spo_list": [{"subject", "subject_type", "predicate", "object", ...}]}."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hanlin.data.readers import BadRows
from hanlin.extraction.align import align
from hanlin.extraction.facts import Extraction
from hanlin.extraction.parse import NamedRelation, Parsed
from hanlin.extraction.readers.rows import read_rows


def read_spo(path: Path, bad: BadRows) -> Iterator[Extraction]:
    """Yield the texts; a name with two types is two entities, its relations start at the first."""
    return read_rows(path, bad, _example)


def _example(row: Mapping[str, Any], id_: str) -> Extraction:
    items = row["spo_list"]
    names = [(item[f"{end}_type"], item[end]) for item in items for end in ("subject", "object")]
    relations = [
        NamedRelation(item["predicate"], item["subject"], item["object"]) for item in items
    ]
    parsed = Parsed(tuple(dict.fromkeys(names)), tuple(relations))
    return align(parsed, row["text"], id=str(row.get("id", id_)), language="zh")
