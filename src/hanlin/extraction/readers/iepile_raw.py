"""What IEPile makes instructions of: {"text", "entity" | "relation" | "event": [...]}."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hanlin.data.readers import BadRows
from hanlin.data.readers.bio import UNSPACED
from hanlin.extraction.align import align
from hanlin.extraction.facts import Extraction
from hanlin.extraction.parse import NamedEvent, NamedRelation, Parsed
from hanlin.extraction.readers.rows import read_rows


def read_iepile_raw(path: Path, bad: BadRows) -> Iterator[Extraction]:
    """Yield the examples of a `sample.json`; places are found in the text."""
    return read_rows(path, bad, _example)


def _example(row: Mapping[str, Any], id_: str) -> Extraction:
    entities = [(item["entity_type"], item["entity"]) for item in row.get("entity", [])]
    relations = row.get("relation", [])
    for item in relations:
        for end in ("head", "tail"):
            if item.get(f"{end}_type"):
                entities.append((item[f"{end}_type"], item[end]))
    events = [
        NamedEvent(
            item["event_type"],
            item["event_trigger"],
            tuple((argument["role"], argument["argument"]) for argument in item["arguments"]),
        )
        for item in row.get("event", [])
    ]
    parsed = Parsed(
        tuple(dict.fromkeys(entities)) if relations else tuple(entities),
        tuple(NamedRelation(item["relation"], item["head"], item["tail"]) for item in relations),
        tuple(events),
    )
    text = row["text"]
    language = "zh" if any(UNSPACED.match(character) for character in text) else "en"
    return align(parsed, text, id=str(row.get("id", id_)), language=language)
