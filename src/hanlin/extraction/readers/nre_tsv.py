"""FinRE and SanWen: head, tail, relation and sentence in the columns of a table.

Rows of the same sentence are one example. `unknown` says that two names have no relation.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hanlin.data.readers import BadRows
from hanlin.data.readers.opened import bounded_lines, opened
from hanlin.extraction.align import align
from hanlin.extraction.facts import Extraction
from hanlin.extraction.parse import NamedRelation, Parsed

NO_RELATION = "unknown"


def read_nre_tsv(path: Path, bad: BadRows) -> Iterator[Extraction]:
    """Yield each sentence with its relations."""
    sentences: dict[str, tuple[int, list[NamedRelation]]] = {}
    with opened(path) as stream:
        for number, raw in bounded_lines(stream):
            cells = (raw or b"\xff").decode("utf-8", "replace").strip("\ufeff\r\n").split("\t")
            if cells == [""]:
                continue
            if len(cells) != 4 or not all(cells):
                bad.add(str(path), number, "expected head, tail, relation, sentence")
                continue
            head, tail, relation, sentence = cells
            _, relations = sentences.setdefault(sentence, (number, []))
            if relation != NO_RELATION:
                relations.append(NamedRelation(relation, head, tail))
    for sentence, (number, relations) in sentences.items():
        parsed = Parsed(relations=tuple(relations))
        yield align(parsed, sentence, id=str(number), language="zh")
