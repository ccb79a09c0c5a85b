"""Which data set's form does a file have? Told by its first rows, not by its name."""

from __future__ import annotations

from pathlib import Path

from hanlin.core.errors import InputError
from hanlin.data.readers import BadRows
from hanlin.data.readers.detect import TAGGED
from hanlin.data.readers.json_rows import read_values
from hanlin.data.readers.opened import head

# Keys that a row has -> the form; the first that fits.
BY_KEYS = (
    ({"text", "entities"}, "hanlin"),
    ({"text", "label"}, "cluener"),
    ({"content", "events"}, "fewfc"),
    ({"context", "annotations"}, "phee"),
    ({"sents", "vertexSet"}, "redocred"),
    ({"text", "spo_list"}, "spo"),
    ({"task", "instruction", "output"}, "iepile"),
    ({"text", "head_entity"}, "deepke-icl"),
    ({"text", "event_list"}, "deepke-icl"),
    ({"text", "labels"}, "deepke-icl"),
    ({"samples"}, "deepke-icl"),
    ({"text", "entity"}, "iepile-raw"),
    ({"text", "relation"}, "iepile-raw"),
    ({"text", "event"}, "iepile-raw"),
)
COLUMNS = 4  # head, tail, relation, sentence


def detect_set(path: Path) -> str:
    """Return the reader's name.

    Raises:
        InputError: the file has no form that is known.
    """
    start = head(path).decode("utf-8-sig", "ignore")
    lines = [line for line in start.splitlines() if line.strip()]
    if not lines:
        raise InputError(f"{path} is empty", fix="give a file with examples")
    if start.lstrip()[:1] in ("{", "["):
        row = next((row for _, row in read_values(path, BadRows(1.0))), None)
        for keys, kind in BY_KEYS:
            if isinstance(row, dict) and keys <= set(row):
                return kind
    elif lines[0].count("\t") == COLUMNS - 1:
        return "nre-tsv"
    elif all(TAGGED.match(line) for line in lines[:-1] or lines):
        return "bio"
    raise InputError(
        f"{path} has the form of no data set that is known",
        why="known are rows of CLUENER, FewFC, PHEE, Re-DocRED, DuIE, IEPile and Hanlin, BIO tags, "
        "and tables of head, tail, relation, sentence",
        fix='write rows such as {"text": "…", "entities": [{"text": "…", "type": "…", "start": 0, '
        '"end": 2}]}',
    )
