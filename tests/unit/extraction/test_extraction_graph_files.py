"""Does a graph come back whole from every form that it is written in?"""

import csv
import json
import re

import pytest

from hanlin.core.errors import ConfigError, InputError
from hanlin.extraction.facts import Extraction, Mention, Relation
from hanlin.extraction.graph_files import graph_of, write_graph

HARD = "a\"b`c\\d\n<e>&;,'\x01"


@pytest.fixture
def found(example):
    names = (Mention(HARD, "怪", 0, len(HARD)), Mention("x", "", len(HARD), len(HARD) + 1))
    hard = Extraction("2", HARD + "x", "zh", names, (Relation("r `;", 0, 1),))
    again = Extraction("3", example.text, "zh", example.entities, example.relations)
    return [example, hard, again]


EDGES = {
    ("王明华", "出生地", "青石镇"),
    ("创办", "机构", "宏远公司"),
    ("创办", "创始人", "王明华"),
    (HARD, "r `;", "x"),
}


def test_edges_know_the_texts_that_say_them(found):
    graph = graph_of(found)
    assert {(h.name, r, t.name) for h, r, t in graph.edges} == EDGES
    said = {r: texts for (_, r, _), texts in graph.edges.items()}
    assert said["出生地"] == ["1", "3"] and said["机构"] == ["1"]


def test_triples(found, tmp_path):
    assert write_graph(found, tmp_path / "g.jsonl") == 4
    rows = [json.loads(line) for line in (tmp_path / "g.jsonl").read_text("utf-8").splitlines()]
    assert {(r["head"], r["relation"], r["tail"]) for r in rows} == EDGES
    assert rows[0] == {
        "head": "王明华", "head_type": "人物", "relation": "出生地", "tail": "青石镇",
        "tail_type": "城镇", "texts": ["1", "3"],
    }  # fmt: skip


def test_turtle_is_read_by_another_library(found, tmp_path):
    oxigraph = pytest.importorskip("pyoxigraph")
    write_graph(found, tmp_path / "g.ttl")
    quads = list(oxigraph.parse(path=tmp_path / "g.ttl"))
    edges = [q for q in quads if q.predicate.value.startswith("urn:hanlin:relation:")]
    labels = {q.object.value for q in quads if q.predicate.value.endswith("#label")}
    assert len(edges) == 4 and {"王明华", "青石镇", "宏远公司", "创办", "x"} <= labels


def test_graphml_is_read_back(found, tmp_path):
    networkx = pytest.importorskip("networkx")
    write_graph(found, tmp_path / "g.graphml")
    graph = networkx.read_graphml(tmp_path / "g.graphml")
    names = dict(graph.nodes(data="name"))
    edges = {(names[a], data["type"], names[b]) for a, b, data in graph.edges(data=True)}
    assert ("王明华", "出生地", "青石镇") in edges and len(edges) == 4


def test_csv_for_neo4j(found, tmp_path):
    write_graph(found, tmp_path / "g")
    with (tmp_path / "g" / "nodes.csv").open(encoding="utf-8", newline="") as stream:
        header, *nodes = csv.reader(stream)
    with (tmp_path / "g" / "relations.csv").open(encoding="utf-8", newline="") as stream:
        _, *edges = csv.reader(stream)
    names = {row[0]: row[1] for row in nodes}
    assert header == [":ID", "name", ":LABEL"] and len(names) == len(nodes)
    assert {(names[a], type_, names[b]) for a, b, type_, _ in edges} == EDGES
    with pytest.raises(InputError, match="exists already"):
        write_graph(found, tmp_path / "g")
    write_graph(found, tmp_path / "g", force=True)


def test_cypher_quotes_everything(found, tmp_path):
    write_graph(found, tmp_path / "g.cypher")
    text = (tmp_path / "g.cypher").read_text("utf-8")
    assert 'MERGE (:`人物` {name: "王明华"});' in text
    assert "MERGE (a)-[r:`r ``;`]->(b)" in text
    assert len(re.findall(r"^MATCH ", text, re.MULTILINE)) == 4
    names = re.findall(r"name: (\"(?:[^\"\\]|\\.)*\")", text)
    assert HARD in {json.loads(name) for name in names}


def test_the_same_facts_give_the_same_bytes(found, tmp_path):
    for name in ("g.ttl", "g.graphml", "g.cypher", "g.jsonl"):
        write_graph(found, tmp_path / name)
        before = (tmp_path / name).read_bytes()
        write_graph(found, tmp_path / name)
        assert (tmp_path / name).read_bytes() == before


def test_an_unknown_form_is_refused(found, tmp_path):
    with pytest.raises(ConfigError, match=r"a graph has no form '\.rdf'") as caught:
        write_graph(found, tmp_path / "g.rdf")
    assert ".graphml" in str(caught.value)
