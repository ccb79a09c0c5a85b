"""How are a graph's look-ups asked of a Neo4j server, and how does a graph get there?

Nodes are `(:Entity {id, name, names, types})`, facts `(:Entity)-[:FACT {relation, name}]->()`; a
value is an `:Entity` whose id is the value. All texts travel as parameters, never inside a query.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Protocol, Self

from hanlin.core.closing import Closing
from hanlin.core.errors import ResourceError
from hanlin.core.extras import require
from hanlin.extraction.knowledge.graph import MOST, Found, GraphStore, Ids, Triple, fold
from hanlin.extraction.knowledge.items import Fact

BATCH = 5000
INDEXES = (
    "CREATE CONSTRAINT entity_id IF NOT EXISTS FOR (e:Entity) REQUIRE e.id IS UNIQUE",
    "CREATE FULLTEXT INDEX entity_names IF NOT EXISTS FOR (e:Entity) ON EACH [e.names]",
)
MERGE_ENTITIES = (
    "UNWIND $rows AS row MERGE (e:Entity {id: row.id}) "
    "SET e.name = row.name, e.names = row.names, e.types = row.types"
)
MERGE_FACTS = (
    "UNWIND $rows AS row MERGE (h:Entity {id: row.head}) MERGE (t:Entity {id: row.tail}) "
    "MERGE (h)-[f:FACT {relation: row.relation}]->(t) SET f.name = row.name, f.names = row.names"
)
FIND = (
    "UNWIND $names AS name MATCH (e:Entity) WHERE name IN e.names OR e.id = name RETURN e.id AS id"
)
_RETURN = (
    "RETURN h.id AS head, f.relation AS relation, t.id AS tail, "
    "coalesce(h.name, h.id) AS head_name, coalesce(f.name, f.relation) AS relation_name, "
    "coalesce(t.name, t.id) AS tail_name LIMIT $most"
)
FACTS_OF = f"MATCH (h:Entity)-[f:FACT]->(t:Entity) WHERE h.id IN $ids OR t.id IN $ids {_RETURN}"
FACTS_BY = (
    "MATCH (h:Entity)-[f:FACT]->(t:Entity) WHERE h.id IN $ids "
    f"AND any(name IN f.names WHERE name IN $relations) {_RETURN}"
)
FACTS_INTO = (
    "MATCH (h:Entity)-[f:FACT]->(t:Entity) WHERE t.id IN $ids "
    f"AND any(name IN f.names WHERE name IN $relations) {_RETURN}"
)
FACTS_BETWEEN = (
    "MATCH (h:Entity)-[f:FACT]->(t:Entity) WHERE (h.id IN $ids AND t.id IN $others) "
    f"OR (t.id IN $ids AND h.id IN $others) {_RETURN}"
)


class Driver(Protocol):
    """What is needed of `neo4j.Driver`."""

    def execute_query(self, query_: str, parameters_: dict[str, Any], *, database_: str) -> Any:  # noqa: ANN401
        """Run a query; the first part of what it returns is a list of mappings."""

    def close(self) -> None:
        """End the connection."""


class Neo4jGraph(Closing):
    """The look-ups of a plan on a Neo4j server.

    Args:
        driver: connected.
        database: its name on the server.
    """

    def __init__(self, driver: Driver, *, database: str = "neo4j") -> None:
        self.driver, self.database = driver, database

    @classmethod
    def connect(cls, address: str, *, user: str, password: str, database: str = "neo4j") -> Self:
        """Connect to a server, such as neo4j://localhost:7687.

        Raises:
            MissingExtraError: the driver is not installed.
            ResourceError: no server answers, or it refuses the user.
        """
        library = require("neo4j", extra="neo4j", purpose="a graph on a Neo4j server")
        driver = library.GraphDatabase.driver(address, auth=(user, password))
        try:
            driver.verify_connectivity()
        except library.exceptions.DriverError as error:
            raise _no_answer(address, error) from error
        except library.exceptions.Neo4jError as error:
            raise _no_answer(address, error) from error
        return cls(driver, database=database)

    def close(self) -> None:
        """Leave the server."""
        self.driver.close()

    def fill(self, store: GraphStore) -> int:
        """Copy a store to the server and return how many facts it has; twice is like once."""
        for statement in INDEXES:
            self._rows(statement)
        entities = (
            {
                "id": id_,
                "name": store.name(id_),
                "names": [*map(fold, names), fold(id_)],
                "types": types,
            }
            for id_, names, types in store.entity_rows()
        )
        for batch in _batches(entities):
            self._rows(MERGE_ENTITIES, rows=batch)
        count = 0
        facts = (_fact_row(item, store) for item in store.items() if isinstance(item, Fact))
        for batch in _batches(facts):
            self._rows(MERGE_FACTS, rows=batch)
            count += len(batch)
        return count

    def get_entity_info(self, entity_aliases: Sequence[str]) -> Found:
        """Return all that is known of an entity, one line for each fact."""
        triples = self._triples(FACTS_OF, ids=self._entities(entity_aliases))
        lines = tuple(f"{t.head_name} {t.relation_name} {t.tail_name}" for t in triples)
        return _found(lines, ", ".join(entity_aliases), triples, tuple(t.tail for t in triples))

    def find_entity_or_value(
        self, entity_aliases: Sequence[str], relation_aliases: Sequence[str]
    ) -> Found:
        """Return what entities are joined with by a relation; where nothing, by its inverse."""
        ids, relations = self._entities(entity_aliases), [fold(name) for name in relation_aliases]
        call = f"{', '.join(relation_aliases)} of {', '.join(entity_aliases)}"
        for query, end in ((FACTS_BY, "tail"), (FACTS_INTO, "head")):
            triples = self._triples(query, ids=ids, relations=relations)
            if triples:
                found = {getattr(t, end): getattr(t, f"{end}_name") for t in triples}
                return _found(tuple(found.values()), call, triples, tuple(found))
        return _found((), call, [])

    def find_relationship(
        self, entity1_aliases: Sequence[str], entity2_aliases: Sequence[str]
    ) -> Found:
        """Return the relations between two entities, in either direction."""
        others = self._entities(entity2_aliases)
        triples = self._triples(FACTS_BETWEEN, ids=self._entities(entity1_aliases), others=others)
        names = tuple(dict.fromkeys(t.relation_name for t in triples))
        call = f"between {', '.join(entity1_aliases)} and {', '.join(entity2_aliases)}"
        return _found(names, call, triples)

    def named_in(self, question: str) -> list[str]:
        """Return nothing: a server has no quick way to find names inside of a question."""
        return []

    def relations(self, language: str = "") -> list[str]:
        """Return nothing: only a plan that begins at a name of `named_in` is held to relations."""
        return []

    def _entities(self, aliases: Sequence[str]) -> list[str]:
        if isinstance(aliases, Ids):
            return list(aliases)
        for alias in aliases:
            found = [row["id"] for row in self._rows(FIND, names=[fold(alias), alias])]
            if found:
                return list(dict.fromkeys(found))
        return []

    def _triples(self, query: str, **values: Any) -> list[Triple]:  # noqa: ANN401
        return [Triple(**dict(row)) for row in self._rows(query, most=MOST, **values)]

    def _rows(self, query: str, **values: Any) -> list[Any]:  # noqa: ANN401
        return list(self.driver.execute_query(query, values, database_=self.database)[0])


def _found(
    names: tuple[str, ...], call: str, triples: list[Triple], ids: tuple[str, ...] = ()
) -> Found:
    return Found(names, f"{call}: {', '.join(names) or 'nothing is known'}", tuple(triples), ids)


def _fact_row(fact: Fact, store: GraphStore) -> dict[str, Any]:
    return {
        "head": fact.head, "relation": fact.relation, "tail": fact.tail,
        "name": store.name(fact.relation), "names": sorted(store.relation_names(fact.relation)),
    }  # fmt: skip


def _batches(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    iterator = iter(rows)
    while batch := list(islice(iterator, BATCH)):
        yield batch


def _no_answer(address: str, error: Exception) -> ResourceError:
    return ResourceError(
        f"no Neo4j server can be used at {address}",
        why=f"{error}".partition("\n")[0],
        fix="check the address and NEO4J_PASSWORD, or use a store in a file: hanlin extract graph "
        "import",
    )
