"""How does what was found become a graph? Triples, Turtle, GraphML, Cypher, or CSV for Neo4j.

A node is a name with its type, wherever it stands; an event is a node of its own, joined to its
arguments by their roles. An edge keeps the ids of the texts that say it.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hanlin.core.errors import ConfigError
from hanlin.core.extras import require
from hanlin.core.files import atomic_directory, atomic_file, write_atomic, write_jsonl
from hanlin.extraction.facts import Event, Extraction

NAMESPACE = "urn:hanlin:"
TRIGGER = "trigger"


@dataclass(frozen=True)
class Node:
    """A name of a type; of an event the number that tells it from others."""

    name: str
    type: str
    number: int = 0


@dataclass
class Graph:
    """Nodes and edges in the order in which they were first said; edges with their texts' ids."""

    nodes: dict[Node, None] = field(default_factory=dict)
    edges: dict[tuple[Node, str, Node], list[str]] = field(default_factory=dict)

    def add(self, head: Node, relation: str, tail: Node, *, said_by: str) -> None:
        """Add an edge, or one more text that says it."""
        texts = self.edges.setdefault((head, relation, tail), [])
        if said_by not in texts:
            texts.append(said_by)
        self.nodes.setdefault(head)
        self.nodes.setdefault(tail)


def graph_of(found: Iterable[Extraction]) -> Graph:
    """Return the graph of all relations and events."""
    graph = Graph()
    events = 0
    for one in found:
        types = {mention.text: mention.type for mention in reversed(one.entities) if mention.type}
        nodes = [Node(m.text, m.type or types.get(m.text, "")) for m in one.entities]
        for node in nodes:
            graph.nodes.setdefault(node)
        for relation in one.relations:
            graph.add(nodes[relation.head], relation.type, nodes[relation.tail], said_by=one.id)
        for event in one.events:
            events += 1
            _add_event(graph, event, nodes, Node(event.trigger.text, event.type, events), one.id)
    return graph


def _add_event(graph: Graph, event: Event, nodes: list[Node], node: Node, text_id: str) -> None:
    graph.nodes.setdefault(node)
    for role, index in event.arguments:
        graph.add(node, role, nodes[index], said_by=text_id)


def write_graph(found: Iterable[Extraction], path: Path, *, force: bool = False) -> int:
    """Write the graph in the form of the file's suffix; return the number of edges.

    .jsonl: triples; .ttl: Turtle; .graphml: GraphML; .cypher: statements; a name without suffix: a
    folder with nodes.csv and relations.csv for `neo4j-admin database import`.

    Raises:
        ConfigError: the suffix is none of these.
        InputError: the folder is there already and `force` is not set.
        MissingExtraError: the library for this form is not installed.
    """
    graph = graph_of(found)
    if path.suffix == ".jsonl":
        write_jsonl(path, _triples(graph))
    elif path.suffix == ".ttl":
        write_atomic(path, _turtle(graph))
    elif path.suffix == ".graphml":
        _write_graphml(graph, path)
    elif path.suffix == ".cypher":
        write_atomic(path, "".join(_cypher(graph)).encode())
    elif path.suffix == "":
        with atomic_directory(path, force=force) as folder:
            _write_csv(graph, folder)
    else:
        raise ConfigError(
            f"{path}: a graph has no form {path.suffix!r}",
            fix="name it .jsonl, .ttl, .graphml or .cypher, or without suffix for a folder of CSV",
        )
    return len(graph.edges)


def _triples(graph: Graph) -> Iterator[dict[str, Any]]:
    for (head, relation, tail), texts in graph.edges.items():
        row = {"head": head.name, "head_type": head.type, "relation": relation}
        row |= {"tail": tail.name, "tail_type": tail.type}
        yield {**row, **({"event": head.number} if head.number else {}), "texts": texts}


def _address(kind: str, *parts: str) -> str:
    """Return an IRI: letters and digits of any script stay, all else becomes its number."""
    plain = ("".join(c if c.isalnum() else f"_{ord(c):x}_" for c in part) for part in parts)
    return NAMESPACE + ":".join([kind, *plain])


def _turtle(graph: Graph) -> bytes:
    rdflib = require("rdflib", extra="extract", purpose="writing Turtle")
    made = rdflib.Graph()
    places = {}
    for node in graph.nodes:
        kind = "event" if node.number else "entity"
        parts = (node.type, str(node.number)) if node.number else (node.type, node.name)
        places[node] = rdflib.URIRef(_address(kind, *parts))
        if node.name:
            made.add((places[node], rdflib.RDFS.label, rdflib.Literal(_text(node.name))))
        if node.type:
            type_ = rdflib.URIRef(_address("type", node.type))
            made.add((places[node], rdflib.RDF.type, type_))
    for head, relation, tail in graph.edges:
        edge = rdflib.URIRef(_address("relation", relation))
        made.add((places[head], edge, places[tail]))
    text: str = made.serialize(format="turtle")
    return text.encode()


def _write_graphml(graph: Graph, path: Path) -> None:
    networkx = require("networkx", extra="extract", purpose="writing GraphML")
    made = networkx.MultiDiGraph()
    ids = _ids(graph)
    for node, id_ in ids.items():
        made.add_node(id_, name=_text(node.name), type=_text(node.type))
    for (head, relation, tail), texts in graph.edges.items():
        made.add_edge(ids[head], ids[tail], type=_text(relation), texts=_text(" ".join(texts)))
    with atomic_file(path) as temporary:
        networkx.write_graphml(made, temporary)


def _text(value: str) -> str:
    """Return a text without the characters that XML cannot hold."""
    return (
        "".join(c for c in value if c >= " " or c in "\t\n\r")
        .replace("\ufffe", "")
        .replace("\uffff", "")
    )


def _ids(graph: Graph) -> Mapping[Node, str]:
    return {node: f"n{number}" for number, node in enumerate(graph.nodes)}


def _cypher(graph: Graph) -> Iterator[str]:
    for node in graph.nodes:
        yield f"MERGE ({_pattern(node)});\n"
    for (head, relation, tail), texts in graph.edges.items():
        said = json.dumps(texts, ensure_ascii=False)
        yield (
            f"MATCH ({_pattern(head, 'a')}), ({_pattern(tail, 'b')}) "
            f"MERGE (a)-[r:{_name(relation)}]->(b) SET r.texts = {said};\n"
        )


def _pattern(node: Node, variable: str = "") -> str:
    number = f", event: {node.number}" if node.number else ""
    label = _name(node.type or "Entity")
    return f"{variable}:{label} {{name: {json.dumps(node.name, ensure_ascii=False)}{number}}}"


def _name(text: str) -> str:
    """Return a label of Cypher: any text between backticks."""
    return "`" + text.replace("`", "``") + "`"


def _write_csv(graph: Graph, folder: Path) -> None:
    ids = _ids(graph)
    nodes = [[id_, node.name, node.type or "Entity"] for node, id_ in ids.items()]
    edges = [
        [ids[head], ids[tail], relation, ";".join(texts)]
        for (head, relation, tail), texts in graph.edges.items()
    ]
    _write_rows(folder / "nodes.csv", [":ID", "name", ":LABEL"], nodes)
    _write_rows(
        folder / "relations.csv", [":START_ID", ":END_ID", ":TYPE", "texts:string[]"], edges
    )


def _write_rows(path: Path, header: list[str], rows: list[list[str]]) -> None:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerows([header, *rows])
    write_atomic(path, stream.getvalue().encode())
