"""The examples of DeepKE for in-context learning: relations and events of a text, without places.

Its files of entities and of augmented data hold names without a text: nothing can be found in them.
"""

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


def read_deepke_icl(path: Path, bad: BadRows) -> Iterator[Extraction]:
    """Yield the examples."""
    return read_rows(path, bad, _example)


def _example(row: Mapping[str, Any], id_: str) -> Extraction:
    if "samples" in row:
        raise ValueError("names without the text that they stand in")
    text = row["text"]
    language = "zh" if any(UNSPACED.match(character) for character in text) else "en"
    return align(_parsed(row), text, id=id_, language=language)


def _parsed(row: Mapping[str, Any]) -> Parsed:
    if "event_list" in row:
        events = (
            NamedEvent(
                event["event_type"],
                event.get("trigger", ""),
                tuple((item["role"], item["argument"]) for item in event["arguments"]),
            )
            for event in row["event_list"]
        )
        return Parsed(events=tuple(events))
    if "labels" in row:
        triples = (NamedRelation(name, head, tail) for head, name, tail in row["labels"])
        return Parsed(relations=tuple(triples))
    head, tail = row["head_entity"], row["tail_entity"]
    entities = ((row.get("head_type", ""), head), (row.get("tail_type", ""), tail))
    typed = tuple(dict.fromkeys(item for item in entities if item[0]))
    return Parsed(typed, (NamedRelation(row["relation"], head, tail),))
