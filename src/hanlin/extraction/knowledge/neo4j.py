"""How is a graph kept on a Neo4j server, and how does it get there?

    (:Name {text})-[:NAMES {at}]->(:Entity {id, name, names, languages, types})
    (:Entity)-[:FACT {relation, name, kind, at}]->(:Entity)
    (:Relation {id, names, languages, inverse, has_facts})

`Name.text` is folded, `at` is a place in the graph's order, and a value is an `:Entity` whose id is
the value. Every look-up begins at a `Name.text` or an `Entity.id`, which have an index. All texts
travel as parameters, never inside a query.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from typing import Any, Protocol, Self

from hanlin.core.errors import ResourceError
from hanlin.core.extras import require
from hanlin.extraction.knowledge.graph import GraphStore
from hanlin.extraction.knowledge.items import Fact, Name
from hanlin.extraction.knowledge.lookups import (
    ANY,
    MOST,
    Called,
    End,
    FactRow,
    LookUps,
    Only,
    Relation,
    fold,
)

BATCH = 5000
LONGEST = 2000  # characters of an id or name: an index takes 8,000 bytes
CONSTRAINTS = (
    "CREATE CONSTRAINT entity_id IF NOT EXISTS FOR (e:Entity) REQUIRE e.id IS UNIQUE",
    "CREATE CONSTRAINT name_text IF NOT EXISTS FOR (n:Name) REQUIRE n.text IS UNIQUE",
    "CREATE CONSTRAINT relation_id IF NOT EXISTS FOR (r:Relation) REQUIRE r.id IS UNIQUE",
)
MERGE_ENTITIES = (
    "UNWIND $rows AS row MERGE (e:Entity {id: row.id}) SET e.name = row.name, "
    "e.names = row.names, e.languages = row.languages, e.types = row.types"
)
MERGE_NAMES = (
    "UNWIND $rows AS row MERGE (e:Entity {id: row.id}) MERGE (n:Name {text: row.text}) "
    "MERGE (n)-[r:NAMES]->(e) ON CREATE SET r.at = row.at"
)
MERGE_FACTS = (
    "UNWIND $rows AS row MERGE (h:Entity {id: row.head}) MERGE (t:Entity {id: row.tail}) "
    "MERGE (h)-[f:FACT {relation: row.relation}]->(t) "
    "SET f.name = row.name, f.kind = row.kind, f.at = row.at"
)
MERGE_RELATIONS = (
    "UNWIND $rows AS row MERGE (r:Relation {id: row.id}) SET r.names = row.names, "
    "r.languages = row.languages, r.inverse = row.inverse, "
    "r.has_facts = coalesce(r.has_facts, false) OR row.has_facts"
)
CALLED = (
    "MATCH (:Name {text: $name})-[r:NAMES]->(e:Entity) RETURN e.id AS id ORDER BY r.at LIMIT $most"
)
KNOWN = "MATCH (e:Entity {id: $id})-[:FACT]-() RETURN e.id AS id LIMIT 1"
NAMES = (
    "UNWIND $ids AS id MATCH (e:Entity {id: id}) WHERE e.names IS NOT NULL "
    "RETURN e.id AS id, e.names AS names, e.languages AS languages"
)
HEADS = "UNWIND $words AS word MATCH (:Entity {id: word})-[:FACT]->() RETURN DISTINCT word"
NAMED = (
    "UNWIND $words AS word MATCH (:Name {text: word})-[:NAMES]->(:Entity)-[:FACT]->() "
    "RETURN DISTINCT word"
)
RELATIONS = (
    "MATCH (r:Relation) RETURN r.id AS id, r.names AS names, r.languages AS languages, "
    "r.inverse AS inverse, r.has_facts AS has_facts ORDER BY id"
)
ARROW: dict[End, str] = {"head": "-[f:FACT]->", "tail": "<-[f:FACT]-"}
FACTS: dict[End, str] = {
    end: f"UNWIND $rows AS row MATCH (e:Entity {{id: row.id}}){ARROW[end]}(o:Entity) "
    "WHERE ($relations IS NULL OR f.relation IN $relations) "
    "AND ($others IS NULL OR o.id IN $others) RETURN startNode(f).id AS head, "
    "f.relation AS relation, endNode(f).id AS tail, f.kind AS kind, row.at AS place, f.at AS at "
    "ORDER BY place, at LIMIT $most"
    for end in ARROW
}
log = logging.getLogger(__name__)


class Driver(Protocol):
    """What is needed of `neo4j.Driver`."""

    def execute_query(self, query_: str, parameters_: dict[str, Any], *, database_: str) -> Any:  # noqa: ANN401
        """Run a query; the first part of what it returns is a list of mappings."""

    def close(self) -> None:
        """End the connection."""


class Neo4jGraph(LookUps):
    """A graph on a Neo4j server.

    Args:
        driver: connected.
        database: its name on the server.
        language: in which entities and relations are named, where they have such names.
        errors: what the driver raises where a server fails.
    """

    def __init__(
        self, driver: Driver, *, database: str = "neo4j", language: str = "",
        errors: tuple[type[Exception], ...] = (),
    ) -> None:  # fmt: skip
        super().__init__(language=language)
        self.driver, self.database, self._errors = driver, database, errors

    @classmethod
    def connect(
        cls, address: str, *, user: str, password: str, database: str = "neo4j", language: str = ""
    ) -> Self:
        """Connect to a server, such as neo4j://localhost:7687.

        Raises:
            MissingExtraError: the driver is not installed.
            ResourceError: no server answers, or it refuses the user.
        """
        library = require("neo4j", extra="neo4j", purpose="a graph on a Neo4j server")
        errors = (library.exceptions.DriverError, library.exceptions.Neo4jError)
        driver = None
        try:
            driver = library.GraphDatabase.driver(address, auth=(user, password))
            driver.verify_connectivity()  # at once, where a query would be tried for 30 s
            driver.execute_query("RETURN 1", database_=database)
        except (*errors, ValueError) as error:  # ValueError: the address
            if driver is not None:
                driver.close()
            raise ResourceError(
                f"no Neo4j server can be used at {address}",
                why=f"{error}".partition("\n")[0],
                fix="check the address, --user, --database and NEO4J_PASSWORD, or use a store in a "
                "file: hanlin extract graph import",
            ) from error
        return cls(driver, database=database, language=language, errors=errors)

    def close(self) -> None:
        """Leave the server."""
        self.driver.close()

    def fill(self, store: GraphStore) -> int:
        """Copy a store to the server and return how many facts it has; twice is like once.

        What is longer than an index takes (`LONGEST` characters) is left out, and said to be.
        """
        for statement in CONSTRAINTS:
            self._rows(statement)
        sent = {query: self._send(query, rows) for query, rows in _rows_of(store).items()}
        left_out = sum(skipped for _, skipped in sent.values())
        if left_out:
            log.warning("%d rows with more than %d characters left out", left_out, LONGEST)
        self.forget()
        return sent[MERGE_FACTS][0]

    def called(self, name: str) -> list[str]:
        """Return the ids of what is called by a folded name."""
        return [row["id"] for row in self._rows(CALLED, name=name, most=MOST)]

    def is_known(self, id_: str) -> bool:
        """Tell whether an id or a value is an end of any fact."""
        return bool(self._rows(KNOWN, id=id_))

    def names_of(self, ids: Collection[str]) -> dict[str, list[Called]]:
        """Return what things are called, by id."""
        rows = self._rows(NAMES, ids=list(ids)) if ids else []
        return {row["id"]: _together(row) for row in rows if row["names"]}

    def heads_among(self, words: Sequence[str]) -> set[str]:
        """Return the words that are ids of entities with facts."""
        return self._among(HEADS, words)

    def names_among(self, folded: Sequence[str]) -> set[str]:
        """Return the folded words that are names of entities with facts."""
        return self._among(NAMED, folded)

    def all_relations(self) -> list[Relation]:
        """Return the relations of the facts and their inverses, by id."""
        return [
            Relation(row["id"], tuple(_together(row)), row["inverse"], row["has_facts"])
            for row in self._rows(RELATIONS)
        ]

    def facts(self, end: End, ids: Sequence[str], only: Only = ANY) -> list[FactRow]:
        """Return the facts that have one of the ids at an end, in the order of the store."""
        if not ids:
            return []
        rows = [{"id": id_, "at": place} for place, id_ in enumerate(ids)]
        found = self._rows(FACTS[end], rows=rows, most=MOST, **asdict(only))
        return [(row["head"], row["relation"], row["tail"], row["kind"]) for row in found]

    def _among(self, query: str, words: Sequence[str]) -> set[str]:
        return {
            row["word"]
            for batch in _batches(words)
            for row in self._rows(query, words=batch)
        }  # fmt: skip

    def _send(self, query: str, rows: Iterable[dict[str, Any]]) -> tuple[int, int]:
        """Run a query on rows; return how many there were, and how many were too long."""
        count = skipped = 0
        for batch in _batches(rows):
            kept = [row for row in batch if not _is_too_long(row)]
            self._rows(query, rows=kept)
            count, skipped = count + len(kept), skipped + len(batch) - len(kept)
        return count, skipped

    def _rows(self, query: str, **values: Any) -> list[Any]:  # noqa: ANN401
        try:
            return list(self.driver.execute_query(query, values, database_=self.database)[0])
        except self._errors as error:
            raise ResourceError(
                "the Neo4j server did not do what it was asked for",
                why=f"{error}".partition("\n")[0],
                fix="look at the server and repeat the command: what was copied is not doubled",
            ) from error


def _rows_of(store: GraphStore) -> dict[str, Iterator[dict[str, Any]]]:
    """Return what makes up a store: the rows of each query."""
    names = (item for item in store.items() if isinstance(item, Name))
    facts = (item for item in store.items() if isinstance(item, Fact))
    return {
        MERGE_ENTITIES: (
            {"id": id_, "name": store.name(id_), "types": types, **_apart(called)}
            for id_, called, types in store.entity_rows()
        ),
        MERGE_NAMES: (
            {"id": name.id, "text": fold(name.text), "at": place}
            for place, name in enumerate(names)
        ),
        MERGE_FACTS: (
            {
                "head": fact.head, "relation": fact.relation, "tail": fact.tail,
                "kind": fact.kind, "name": store.name(fact.relation), "at": place,
            }
            for place, fact in enumerate(facts)
        ),
        MERGE_RELATIONS: (
            {"id": one.id, "inverse": one.inverse, "has_facts": one.has_facts, **_apart(one.names)}
            for one in store.all_relations()
        ),
    }  # fmt: skip


def _apart(called: Iterable[Called]) -> dict[str, list[str]]:
    """Return names and their languages in two lists, as a property of a node can be."""
    own = list(called)
    return {"names": [text for text, _ in own], "languages": [language for _, language in own]}


def _together(row: Any) -> list[Called]:  # noqa: ANN401
    return list(zip(row["names"], row["languages"], strict=True))


def _is_too_long(row: dict[str, Any]) -> bool:
    return any(len(row.get(key, "")) > LONGEST for key in ("id", "text", "head", "tail"))


def _batches(rows: Iterable[Any]) -> Iterator[list[Any]]:
    iterator = iter(rows)
    while batch := list(islice(iterator, BATCH)):
        yield batch
