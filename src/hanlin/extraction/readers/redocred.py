"""DocRED and Re-DocRED: documents in tokens, entities with all their mentions, relations by number.

A relation joins the first mentions of two entities. Names of the relations are taken from a
`*rel_info.json` beside the file, where there is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hanlin.core.files import read_json
from hanlin.data.readers import BadRows
from hanlin.extraction.facts import Extraction, Relation
from hanlin.extraction.readers.rows import Mentions, read_rows


def read_redocred(path: Path, bad: BadRows) -> Iterator[Extraction]:
    """Yield the documents; tokens are joined by blanks."""
    info = sorted(path.parent.glob("*rel_info.json"))
    names = read_json(info[0]) if info else {}
    return read_rows(path, bad, lambda row, id_: _example(row, id_, names))


def _example(row: Mapping[str, Any], id_: str, names: Mapping[str, str]) -> Extraction:
    words, starts, at = [], [], 0
    for sentence in row["sents"]:
        places = []
        for word in sentence:
            places.append((at, at + len(word)))
            at += len(word) + 1
        words += sentence
        starts.append(places)
    text = " ".join(words)
    mentions, first = Mentions(text), []
    for entity in row["vertexSet"]:
        indices = []
        for item in entity:
            places = starts[item["sent_id"]]
            start, end = places[item["pos"][0]][0], places[item["pos"][1] - 1][1]
            indices.append(mentions.add(text[start:end], start, end, item["type"]))
        first.append(indices[0])
    relations = tuple(
        Relation(names.get(item["r"], item["r"]), first[item["h"]], first[item["t"]])
        for item in row.get("labels", [])
    )
    return Extraction(str(row.get("title", id_)), text, "en", mentions.all(), relations)
