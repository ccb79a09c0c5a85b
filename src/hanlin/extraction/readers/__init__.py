"""Which data sets of extraction can be read? A small file for each form, and a table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hanlin.core.errors import InputError
from hanlin.core.registry import LazyTable
from hanlin.data.readers import BadRows
from hanlin.extraction.facts import Extraction
from hanlin.extraction.readers.detect import detect_set

HERE = "hanlin.extraction.readers"
READERS = LazyTable(
    "set reader",
    {
        "hanlin": f"{HERE}.hanlin_rows:read_hanlin",
        "cluener": f"{HERE}.cluener:read_cluener",
        "bio": f"{HERE}.bio_tags:read_bio_tags",
        "fewfc": f"{HERE}.fewfc:read_fewfc",
        "phee": f"{HERE}.phee:read_phee",
        "redocred": f"{HERE}.redocred:read_redocred",
        "spo": f"{HERE}.spo:read_spo",
        "nre-tsv": f"{HERE}.nre_tsv:read_nre_tsv",
        "iepile-raw": f"{HERE}.iepile_raw:read_iepile_raw",
        "iepile": f"{HERE}.iepile_instructions:read_iepile",
        "deepke-icl": f"{HERE}.deepke_icl:read_deepke_icl",
    },
    group="hanlin.extraction_readers",
)


def read_set(
    path: str | Path, *, kind: str | None = None, bad: BadRows | None = None
) -> Iterator[Extraction]:
    """Yield the examples of a data set.

    Args:
        path: a file.
        kind: a name in `READERS`; None finds it out by the file's content.
        bad: counts the rows that are left out; at most 1 % without it.

    Raises:
        InputError: nothing is there, it is of no known form, or too many rows are bad.
        ConfigError: there is no such kind.
    """
    path, bad = Path(path), bad or BadRows()
    if not path.is_file():
        raise InputError(f"{path} is no file", fix="give the path of one file of the data set")
    reader = READERS.get(kind or detect_set(path))
    return bad.counted(path, reader(path, bad))
