"""What does a knowledge graph know of an entity? A store in one file, and the look-ups of a plan.

    with GraphStore.create(path, read_graph([folder])) as store:
        store.find_entity_or_value(["三体"], ["作者"])

SQLite, which comes with Python: of 200,000 facts it finds a name in 60 µs and all facts of an
entity in 150; oxigraph takes 165 and 620, DuckDB, whose file is half as large, 780 and 960, on the
same busy machine (benchmarks/knowledge.py).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Self, cast

from hanlin.core.closing import Closing
from hanlin.core.errors import InputError
from hanlin.core.files import atomic_file
from hanlin.extraction.knowledge.items import Fact, Item, Kind, Name, Signature, ValueKind
from hanlin.extraction.knowledge.values import value_kind
from hanlin.text.normalize import fold_width

VERSION = "1"
BATCH = 10_000
LONGEST_NAME = 60  # characters of a name that is looked for in a question
MOST = 1000  # facts that one look-up gives; more are cut off, and said to be
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
TABLE_OF: dict[type, tuple[str, int]] = {
    Name: ("names", 5), Kind: ("kinds", 3), Fact: ("facts", 5), Signature: ("signatures", 4),
}  # fmt: skip


@dataclass(frozen=True)
class Triple:
    """A fact in ids and in names."""

    head: str
    relation: str
    tail: str
    head_name: str
    relation_name: str
    tail_name: str


@dataclass(frozen=True)
class Found:
    """What a look-up gives.

    Attributes:
        result: names of entities or values, or of relations; empty where nothing is known.
        message: the call and its result in words.
        triples: the facts behind it.
        ids: of the entities (or the values themselves), to go on with in the next look-up.
    """

    result: tuple[str, ...]
    message: str
    triples: tuple[Triple, ...] = ()
    ids: tuple[str, ...] = field(default=())


class Ids(tuple[str, ...]):
    """Ids in place of aliases: all of them are meant."""


class GraphStore(Closing):
    """A graph in a file; to be opened with `open` or `create`, and closed (`with`)."""

    def __init__(self, connection: sqlite3.Connection, *, language: str = "") -> None:
        self._connection, self.language = connection, language

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

    def entity_rows(self) -> Iterator[tuple[str, list[str], list[str]]]:
        """Yield (id, names, types) of all that has a name or a type."""
        for (id_,) in self._rows("SELECT id FROM names UNION SELECT id FROM kinds"):
            names = [text for (text,) in self._rows("SELECT text FROM names WHERE id = ?", id_)]
            kinds = [type_ for (type_,) in self._rows("SELECT type FROM kinds WHERE id = ?", id_)]
            yield id_, names, [self.name(kind) for kind in kinds]

    def relation_names(self, relation: str) -> set[str]:
        """Return all that a relation is called, folded."""
        return self._relation_names.get(relation, set())

    def relations(self, language: str = "") -> list[str]:
        """Return what the relations of the facts are called, in a language or the store's."""
        rows = self._rows("SELECT DISTINCT relation FROM facts ORDER BY relation")
        return list(dict.fromkeys(self.name(relation, language) for (relation,) in rows))

    def sizes(self) -> dict[str, int]:
        """Return how many entities, names, facts and relations there are."""
        questions = {
            "entities": "SELECT count(*) FROM (SELECT id FROM kinds UNION SELECT head FROM facts)",
            "names": "SELECT count(*) FROM names",
            "facts": "SELECT count(*) FROM facts",
            "relations": "SELECT count(DISTINCT relation) FROM facts",
        }
        return {name: next(self._rows(sql))[0] for name, sql in questions.items()}

    def get_entity_info(self, entity_aliases: Sequence[str]) -> Found:
        """Return all that is known of an entity, one line for each fact."""
        triples = self._about(self.entities(entity_aliases))
        lines = tuple(f"{t.head_name} {t.relation_name} {t.tail_name}" for t in triples)
        said = f"{self._called(entity_aliases)}: " + ("; ".join(lines) or "nothing is known")
        return Found(lines, said, tuple(triples), tuple(dict.fromkeys(t.tail for t in triples)))

    def find_entity_or_value(
        self, entity_aliases: Sequence[str], relation_aliases: Sequence[str]
    ) -> Found:
        """Return what entities are joined with by a relation; where nothing, by its inverse."""
        ids, relations = self.entities(entity_aliases), self._relations(relation_aliases)
        call = f"{', '.join(relation_aliases)} of {self._called(entity_aliases)}"
        for aliases in relations:
            for column, other in (("head", "tail"), ("tail", "head")):
                triples = [
                    t for t in self._facts(column, ids)
                    if self._is_called(t.relation, aliases, is_inverse=column == "tail")
                ]  # fmt: skip
                if triples:
                    found: dict[str, str] = {
                        getattr(t, other): getattr(t, f"{other}_name") for t in triples
                    }
                    names = tuple(found.values())
                    return Found(names, f"{call}: {', '.join(names)}", tuple(triples), tuple(found))
        return Found((), f"{call}: nothing is known")

    def find_relationship(
        self, entity1_aliases: Sequence[str], entity2_aliases: Sequence[str]
    ) -> Found:
        """Return the relations between two entities, in either direction."""
        first, second = self.entities(entity1_aliases), set(self.entities(entity2_aliases))
        triples = [t for t in self._facts("head", first) if t.tail in second]
        triples += [t for t in self._facts("tail", first) if t.head in second]
        names = tuple(dict.fromkeys(t.relation_name for t in triples))
        call = f"between {self._called(entity1_aliases)} and {self._called(entity2_aliases)}"
        return Found(names, f"{call}: {', '.join(names) or 'nothing is known'}", tuple(triples))

    def entities(self, aliases: Sequence[str]) -> list[str]:
        """Return the ids that are called by the first alias that anything is called by."""
        if isinstance(aliases, Ids):
            return list(aliases)
        for alias in aliases:
            rows = self._rows(
                "SELECT DISTINCT id FROM names WHERE folded = ? LIMIT ?", fold(alias), MOST
            )
            ids = [id_ for (id_,) in rows]
            if not ids:
                known = (
                    "SELECT 1 FROM facts WHERE head = ? UNION SELECT 1 FROM facts WHERE tail = ?"
                )
                ids = [alias] if next(self._rows(known, alias, alias), None) else []
            if ids:
                return ids
        return []

    def named_in(self, question: str) -> list[str]:
        """Return the names of entities that stand in a question, the longest one at each place."""
        text = fold_width(question)
        spans = [
            (start, end)
            for start in range(len(text))
            for end in range(start + 2, min(start + LONGEST_NAME, len(text)) + 1)
            if not (_goes_on(text, start) or _goes_on(text, end))
        ]
        words = sorted({text[start:end] for start, end in spans})
        known = self._known("SELECT head FROM facts WHERE head IN", words)
        called = "SELECT folded FROM names JOIN facts ON names.id = facts.head WHERE folded IN"
        known |= self._known(called, sorted({word.casefold() for word in words}))
        found, behind = [], 0
        for start, end in sorted(spans, key=lambda span: (span[0], -span[1])):
            word = text[start:end]
            if start >= behind and (word in known or word.casefold() in known):
                found.append(word)
                behind = end
        return found

    def _known(self, query: str, words: Sequence[str]) -> set[str]:
        """Return the words that a query gives back; it ends where the list of words goes."""
        found = set[str]()
        for at in range(0, len(words), BATCH):
            part = words[at : at + BATCH]
            found |= {
                row[0] for row in self._rows(f"{query} ({', '.join('?' * len(part))})", *part)
            }
        return found

    def name(self, id_: str, language: str = "") -> str:
        """Return what something is called, in a language or the store's.

        A value is its own name.
        """
        found, language = "", language or self.language
        for text, own in self._rows(
            "SELECT text, language FROM names WHERE id = ? ORDER BY is_main DESC, rowid", id_
        ):
            if own in ("", language):
                return cast(str, text)
            found = found or text
        return found or id_.rstrip("/").replace("#", "/").rpartition("/")[2]

    def _called(self, aliases: Sequence[str]) -> str:
        return ", ".join(map(self.name, aliases) if isinstance(aliases, Ids) else aliases)

    def _about(self, ids: Sequence[str]) -> list[Triple]:
        return [*self._facts("head", ids), *self._facts("tail", ids)][:MOST]

    def _facts(self, column: str, ids: Sequence[str]) -> list[Triple]:
        assert column in ("head", "tail")
        rows = [
            row
            for id_ in ids
            for row in self._rows(
                "SELECT head, relation, tail, kind FROM facts "  # noqa: S608 - a column, see above
                f"WHERE {column} = ? ORDER BY rowid LIMIT ?",
                id_, MOST,
            )
        ]  # fmt: skip
        return [self._triple(*row) for row in rows[:MOST]]

    def _triple(self, head: str, relation: str, tail: str, kind: str) -> Triple:
        is_value = kind in ("text", "date", "quantity")
        tail_name = tail if is_value or value_kind(tail) != "text" else self.name(tail)
        return Triple(head, relation, tail, self.name(head), self.name(relation), tail_name)

    def _relations(self, aliases: Sequence[str]) -> list[set[str]]:
        """Return what to look for, first exactly as it is said, then anything like it."""
        wanted = {fold(alias) for alias in aliases if alias}
        if not wanted:
            return []
        own = {name for names in self._relation_names.values() for name in names}
        like = {
            n for n in own for w in wanted if len(min(n, w, key=len)) > 1 and (n in w or w in n)
        }
        return [wanted, like]

    def _is_called(self, relation: str, names: set[str], *, is_inverse: bool) -> bool:
        own = self.relation_names(relation)
        if is_inverse:
            own = own | self._relation_names.get(self._inverses.get(relation, ""), set())
        return bool(own & names)

    @cached_property
    def _relation_names(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for relation, text in self._rows(
            "SELECT r.id, n.text FROM (SELECT DISTINCT relation AS id FROM facts UNION "
            "SELECT inverse FROM signatures) r LEFT JOIN names n ON n.id = r.id"
        ):
            end = (relation or "").rstrip("/").replace("#", "/").rpartition("/")[2]
            own = found.setdefault(relation, {fold(end), fold(end).replace("_", " ")})
            if text:
                own.add(fold(text))
        return found

    @cached_property
    def _inverses(self) -> dict[str, str]:
        rows = list(self._rows("SELECT relation, inverse FROM signatures WHERE inverse != ''"))
        return {inverse: relation for relation, inverse in rows} | dict(rows)

    def _rows(self, sql: str, *values: Any) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401
        return iter(self._connection.execute(sql, values))


def fold(name: str) -> str:
    """Return a name as names are compared: width and case do not count."""
    return fold_width(name).strip().casefold()


def _goes_on(text: str, at: int) -> bool:
    """Tell whether a word of a script with spaces goes on across a place."""
    around = text[at - 1 : at + 1] if at else ""
    return len(around) == 2 and all(c.isalnum() and c < "\u2e80" for c in around)


def _row(item: Item) -> tuple[Any, ...]:
    if isinstance(item, Name):
        return (item.id, item.text, fold(item.text), item.language, int(item.is_main))
    return tuple(item)
