"""How is a knowledge graph kept in one file, to be looked up?

    with GraphStore.create(path, read_graph([folder])) as store:
        store.find_entity_or_value(["三体"], ["作者"])

SQLite, which comes with Python: of 200,000 facts it finds a name in 60 µs and all facts of an
entity in 150; oxigraph takes 165 and 620, DuckDB, whose file is half as large, 780 and 960, on the
same busy machine (benchmarks/knowledge.py).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Self, cast

from hanlin.core.errors import InputError
from hanlin.core.files import atomic_file
from hanlin.extraction.knowledge.items import Fact, Item, Kind, Name, Signature, ValueKind
from hanlin.extraction.knowledge.lookups import (
    ANY,
    ENDS,
    MOST,
    Called,
    End,
    FactRow,
    LookUps,
    Only,
    Relation,
    fold,
)

VERSION = "1"
BATCH = 10_000
TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT);
CREATE TABLE names (id TEXT, text TEXT, folded TEXT, language TEXT, is_main INTEGER);
CREATE TABLE kinds (id TEXT, type TEXT, language TEXT);
CREATE TABLE facts (head TEXT, relation TEXT, tail TEXT, kind TEXT, tail_type TEXT);
CREATE TABLE signatures (relation TEXT, head_type TEXT, tail_type TEXT, inverse TEXT);
"""
INDEXES = """
CREATE INDEX names_folded ON names (folded);
CREATE INDEX names_id ON names (id);
CREATE INDEX kinds_id ON kinds (id);
CREATE INDEX facts_head ON facts (head);
CREATE INDEX facts_tail ON facts (tail);
"""
FACTS: dict[End, str] = {
    end: f"SELECT head, relation, tail, kind FROM facts WHERE {end} = ?1 "  # noqa: S608
    "AND (?2 IS NULL OR relation IN (SELECT value FROM json_each(?2))) "
    f"AND (?3 IS NULL OR {other} IN (SELECT value FROM json_each(?3))) ORDER BY rowid LIMIT ?4"
    for end, other in ENDS
}
TABLE_OF: dict[type, tuple[str, int]] = {
    Name: ("names", 5), Kind: ("kinds", 3), Fact: ("facts", 5), Signature: ("signatures", 4),
}  # fmt: skip


class GraphStore(LookUps):
    """A graph in a file; to be opened with `open` or `create`, and closed (`with`)."""

    def __init__(self, connection: sqlite3.Connection, *, language: str = "") -> None:
        super().__init__(language=language)
        self._connection = connection

    @classmethod
    def open(cls, path: str | Path, *, language: str = "") -> Self:
        """Open a store for reading.

        Args:
            path: the file.
            language: in which entities and relations are named, where they have such names.

        Raises:
            InputError: there is none, or it is no store of this version.
        """
        path = Path(path)
        if not path.is_file():
            raise InputError(
                f"there is no graph store {path}",
                fix=f"hanlin extract graph import TRIPLES... --out {path}",
            )
        try:
            connection = sqlite3.connect(
                f"{path.resolve().as_uri()}?mode=ro", uri=True, check_same_thread=False
            )
            row = connection.execute("SELECT value FROM meta WHERE key = 'version'").fetchone()
        except sqlite3.Error as error:
            raise InputError(
                f"{path} is no graph store",
                why=str(error),
                fix="make one: hanlin extract graph import TRIPLES... --out FILE.sqlite",
            ) from error
        if row != (VERSION,):
            raise InputError(f"{path} is a store of another version", fix="import the graph again")
        return cls(connection, language=language)

    @classmethod
    def create(cls, path: str | Path, items: Iterable[Item], *, language: str = "") -> Self:
        """Write what a graph says to a new file, and open it.

        Raises:
            ResourceError: the disk is full or the folder cannot be written.
        """
        with atomic_file(Path(path)) as temporary:
            connection = sqlite3.connect(temporary)
            connection.executescript(
                "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + TABLES
            )
            iterator = iter(items)
            while batch := list(islice(iterator, BATCH)):
                for kind, (table, width) in TABLE_OF.items():
                    rows = [_row(item) for item in batch if type(item) is kind]
                    marks = ", ".join("?" * width)
                    connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608
            connection.executescript(INDEXES)
            connection.execute("INSERT INTO meta VALUES ('version', ?)", (VERSION,))
            connection.commit()
            connection.close()
        return cls.open(path, language=language)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def items(self) -> Iterator[Item]:
        """Yield everything again, so that a store can be the source of instructions."""
        for id_, text, language, is_main in self._rows(
            "SELECT id, text, language, is_main FROM names ORDER BY rowid"
        ):
            yield Name(id_, text, language, bool(is_main))
        for row in self._rows("SELECT id, type, language FROM kinds ORDER BY rowid"):
            yield Kind(*row)
        for head, relation, tail, kind, tail_type in self._rows(
            "SELECT head, relation, tail, kind, tail_type FROM facts ORDER BY rowid"
        ):
            yield Fact(head, relation, tail, cast(ValueKind, kind), tail_type)
        for row in self._rows("SELECT * FROM signatures ORDER BY rowid"):
            yield Signature(*row)

    def entity_rows(self) -> Iterator[tuple[str, list[Called], list[str]]]:
        """Yield (id, names, types) of all that has a name or a type; the main names come first."""
        for (id_,) in self._rows("SELECT id FROM names UNION SELECT id FROM kinds"):
            kinds = [type_ for (type_,) in self._rows("SELECT type FROM kinds WHERE id = ?", id_)]
            yield id_, self._names(id_), [self.name(kind) for kind in kinds]

    def sizes(self) -> dict[str, int]:
        """Return how many entities, names, facts and relations there are."""
        questions = {
            "entities": "SELECT count(*) FROM (SELECT id FROM kinds UNION SELECT head FROM facts)",
            "names": "SELECT count(*) FROM names",
            "facts": "SELECT count(*) FROM facts",
            "relations": "SELECT count(DISTINCT relation) FROM facts",
        }
        return {name: next(self._rows(sql))[0] for name, sql in questions.items()}

    def called(self, name: str) -> list[str]:
        """Return the ids of what is called by a folded name."""
        query = "SELECT id FROM names WHERE folded = ? GROUP BY id ORDER BY min(rowid) LIMIT ?"
        return [id_ for (id_,) in self._rows(query, name, MOST)]

    def is_known(self, id_: str) -> bool:
        """Tell whether an id or a value is an end of any fact."""
        query = "SELECT 1 FROM facts WHERE head = ? UNION SELECT 1 FROM facts WHERE tail = ?"
        return next(self._rows(query, id_, id_), None) is not None

    def names_of(self, ids: Collection[str]) -> dict[str, list[Called]]:
        """Return what things are called, by id."""
        return {id_: names for id_ in ids if (names := self._names(id_))}

    def heads_among(self, words: Sequence[str]) -> set[str]:
        """Return the words that are ids of entities with facts."""
        return self._known("SELECT head FROM facts WHERE head IN", words)

    def names_among(self, folded: Sequence[str]) -> set[str]:
        """Return the folded words that are names of entities with facts."""
        query = "SELECT folded FROM names JOIN facts ON names.id = facts.head WHERE folded IN"
        return self._known(query, folded)

    def all_relations(self) -> Iterator[Relation]:
        """Yield the relations of the facts and their inverses, by id."""
        inverses = dict(self._rows("SELECT relation, inverse FROM signatures WHERE inverse != ''"))
        used = {id_ for (id_,) in self._rows("SELECT DISTINCT relation FROM facts")}
        for id_ in sorted({*used, *inverses, *inverses.values()}):
            yield Relation(id_, tuple(self._names(id_)), inverses.get(id_, ""), id_ in used)

    def facts(self, end: End, ids: Sequence[str], only: Only = ANY) -> list[FactRow]:
        """Return the facts that have one of the ids at an end, in the order of the file."""
        query, found = FACTS[end], list[FactRow]()
        held = [None if own is None else json.dumps(own) for own in (only.relations, only.others)]
        for id_ in ids:
            found += cast(list[FactRow], list(self._rows(query, id_, *held, MOST - len(found))))
            if len(found) >= MOST:
                break
        return found

    def _names(self, id_: str) -> list[Called]:
        query = "SELECT text, language FROM names WHERE id = ? ORDER BY is_main DESC, rowid"
        return cast(list[Called], list(self._rows(query, id_)))

    def _known(self, query: str, words: Sequence[str]) -> set[str]:
        """Return the words that a query gives back; it ends where the list of words goes."""
        found = set[str]()
        for at in range(0, len(words), BATCH):
            part = words[at : at + BATCH]
            found |= {
                row[0] for row in self._rows(f"{query} ({', '.join('?' * len(part))})", *part)
            }
        return found

    def _rows(self, sql: str, *values: Any) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401
        return iter(self._connection.execute(sql, values))


def _row(item: Item) -> tuple[Any, ...]:
    if isinstance(item, Name):
        return (item.id, item.text, fold(item.text), item.language, int(item.is_main))
    return tuple(item)
