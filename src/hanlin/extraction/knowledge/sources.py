"""Which reader turns a file into what a graph says?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from hanlin.core.errors import InputError
from hanlin.data.readers import BadRows, files_in
from hanlin.data.readers.opened import head, inner_name
from hanlin.extraction.knowledge.items import Item
from hanlin.extraction.knowledge.rdf import FORMATS, read_rdf
from hanlin.extraction.knowledge.rows import read_json, read_table
from hanlin.extraction.knowledge.wikidata import is_dump, opened_dump, read_wikidata

SNIFFED = 1 << 16
STORE_SUFFIX = ".sqlite"


def read_graph(paths: Iterable[str | Path], *, bad: BadRows | None = None) -> Iterator[Item]:
    """Yield what files and folders say, one after another.

    Tables (.tsv), JSON rows, RDF (.ttl, .nt, .nq, .trig, .rdf, .jsonld), Wikidata dumps and graph
    stores (.sqlite) are known by their names and by what they begin with.

    Args:
        paths: files or folders.
        bad: counts rows that are left out; at most 1 % without it.

    Raises:
        InputError: nothing is there, of no known kind, or too many rows are bad.
    """
    bad = bad or BadRows()
    for path in paths:
        for file in files_in(Path(path)):
            yield from bad.counted(file, _read(file, bad))


def _read(file: Path, bad: BadRows) -> Iterator[Item]:
    suffix = inner_name(file).suffix.lower()
    if suffix == STORE_SUFFIX:
        from hanlin.extraction.knowledge.graph import GraphStore

        with GraphStore.open(file) as store:
            yield from store.items()
    elif suffix in FORMATS:
        yield from read_rdf(file, bad)
    elif suffix in (".tsv", ".tab", ".txt"):
        yield from read_table(file, bad)
    elif suffix in (".json", ".jsonl", ".bz2") or file.suffix == ".bz2":
        with opened_dump(file) as stream:
            is_wikidata = is_dump(stream.read(SNIFFED))
        yield from (read_wikidata if is_wikidata else read_json)(file, bad)
    else:
        raise InputError(
            f"{file} is of no kind that a graph can be read from",
            why=f"its first bytes are {head(file, 16)!r}",
            fix="give triples and names as .tsv or .jsonl, RDF (.ttl, .nt, ...), a Wikidata dump "
            "(.json, .json.gz, .json.bz2) or a store made by hanlin extract graph import",
        )
