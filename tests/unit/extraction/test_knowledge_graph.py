"""Does a store answer the look-ups of a plan, and does Neo4j get the queries that would?"""

import json
import sqlite3

import pytest
from click.testing import CliRunner

from hanlin.cli.extract import extract as command
from hanlin.core.errors import ConfigError, HanlinError, InputError, ResourceError
from hanlin.extraction.knowledge import neo4j
from hanlin.extraction.knowledge.graph import GraphStore, Ids
from hanlin.extraction.knowledge.items import Fact, Kind, Name, Signature
from hanlin.extraction.knowledge.neo4j import Neo4jGraph

GRAPH = [
    Kind("liu", "人物"), Name("liu", "刘慈欣", "zh"), Name("liu", "Liu Cixin", "en"),
    Kind("santi", "作品"), Name("santi", "三体", "zh"), Name("santi", "地球往事", "zh"),
    Name("qiu", "球状闪电", "zh"), Fact("santi", "author", "liu"), Fact("qiu", "author", "liu"),
    Name("author", "作者", "zh"), Name("author", "author", "en"), Name("works", "作品", "zh"),
    Signature("author", "作品", "人物", "works"), Fact("liu", "born_on", "1963-06-23"),
    Fact("liu", "http://x.org/bornIn", "阳泉", "text"),
]  # fmt: skip


@pytest.fixture
def store(tmp_path):
    with GraphStore.create(tmp_path / "g.sqlite", GRAPH, language="zh") as made:
        yield made


def test_a_value_or_entity_is_found_by_any_alias(store):
    found = store.find_entity_or_value(["三体问题", "地球往事"], ["写作", "作者"])
    assert found.result == ("刘慈欣",) and found.ids == ("liu",)
    assert found.message == "写作, 作者 of 三体问题, 地球往事: 刘慈欣"
    (triple,) = found.triples
    assert (triple.head_name, triple.relation_name, triple.tail_name) == ("三体", "作者", "刘慈欣")
    assert store.find_entity_or_value(["ｌｉｕ ＣＩＸＩＮ"], ["born on"]).result == ("1963-06-23",)
    assert store.find_entity_or_value(["刘慈欣"], ["bornIn"]).result == ("阳泉",)


def test_a_relation_is_followed_backward_where_it_leads_nowhere_forward(store):
    assert store.find_entity_or_value(["刘慈欣"], ["作品"]).result == ("三体", "球状闪电")
    assert store.find_entity_or_value(Ids(("santi", "qiu")), ["作者"]).result == ("刘慈欣",)


def test_a_name_like_the_relation_will_do_where_none_is_equal(store):
    assert store.find_entity_or_value(["三体"], ["小说的作者"]).result == ("刘慈欣",)


def test_what_is_not_known_is_said_to_be(store):
    for found in (
        store.find_entity_or_value(["三体"], ["导演"]), store.get_entity_info(["无名"]),
        store.find_relationship(["三体"], ["球状闪电"]), store.find_entity_or_value(["三体"], []),
    ):  # fmt: skip
        assert found.result == () and found.message.endswith("nothing is known")


def test_all_that_is_known_and_how_two_are_joined(store):
    assert store.get_entity_info(["刘慈欣"]).result == (
        "刘慈欣 born_on 1963-06-23", "刘慈欣 bornIn 阳泉",
        "三体 作者 刘慈欣", "球状闪电 作者 刘慈欣",
    )  # fmt: skip
    assert store.find_relationship(["三体"], ["刘慈欣"]).result == ("作者",)
    assert store.find_relationship(["刘慈欣"], ["三体"]).result == ("作者",)


def test_a_store_gives_back_what_it_was_made_of(store):
    assert sorted(map(str, store.items())) == sorted(map(str, GRAPH))
    assert store.sizes() == {"entities": 3, "names": 8, "facts": 4, "relations": 3}


def test_what_is_no_store_is_refused(tmp_path):
    with pytest.raises(InputError, match="there is no graph store") as caught:
        GraphStore.open(tmp_path / "none.sqlite")
    assert "hanlin extract graph import" in caught.value.fix
    (tmp_path / "text.sqlite").write_text("no database, and long enough to be read as one" * 9)
    with pytest.raises(InputError, match=r"text\.sqlite is no graph store"):
        GraphStore.open(tmp_path / "text.sqlite")
    other = sqlite3.connect(tmp_path / "old.sqlite")
    other.executescript("CREATE TABLE meta (key, value); INSERT INTO meta VALUES ('version', '0')")
    other.close()
    with pytest.raises(InputError, match="another version"):
        GraphStore.open(tmp_path / "old.sqlite")


def call(*arguments):
    result = CliRunner().invoke(command, [str(a) for a in arguments])
    if isinstance(result.exception, HanlinError):
        raise result.exception
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.stdout


def test_the_command_imports_and_finds(tmp_path):
    (tmp_path / "t.tsv").write_text("三体\t作者\t刘慈欣\n刘慈欣\t出生地\t北京\n", encoding="utf-8")
    out = tmp_path / "g.sqlite"
    shown = json.loads(call("graph", "import", tmp_path / "t.tsv", "--out", out, "--json"))
    assert shown["facts"] == 2 and shown["rows left out"] == 0
    assert call("graph", "find", out, "三体", "--relation", "作者") == "刘慈欣\n"
    assert call("graph", "find", out, "刘慈欣", "三体") == "作者\n"
    found = json.loads(call("graph", "find", out, "刘慈欣", "--json"))
    assert found["result"] == ["刘慈欣 出生地 北京", "三体 作者 刘慈欣"]
    assert found["triples"][0]["tail"] == "北京"
    with pytest.raises(InputError, match="exists already"):
        call("graph", "import", tmp_path / "t.tsv", "--out", out)
    with pytest.raises(ConfigError, match="is no name for a store"):
        call("graph", "import", tmp_path / "t.tsv", "--out", tmp_path / "g.db")
    with pytest.raises(ConfigError, match="3 names cannot be looked up together"):
        call("graph", "find", out, "a", "b", "c")


class Server:
    """Stands for the network: keeps the queries, and answers from a table of them."""

    def __init__(self, answers):
        self.answers, self.asked, self.is_closed = answers, [], False

    def execute_query(self, query, values, *, database_):
        self.asked.append((query, values, database_))
        return self.answers.get(query, []), None, None

    def close(self):
        self.is_closed = True


ROW = {
    "head": "santi", "relation": "author", "tail": "liu", "head_name": "三体",
    "relation_name": "作者", "tail_name": "刘慈欣",
}  # fmt: skip


def test_neo4j_is_asked_with_parameters_and_never_with_text():
    server = Server({neo4j.FIND: [{"id": "santi"}], neo4j.FACTS_BY: [ROW]})
    evil = "三体'}) DETACH DELETE e //"
    with Neo4jGraph(server, database="books") as graph:
        found = graph.find_entity_or_value([evil], ["作者"])
    assert server.is_closed
    assert (
        found.result == ("刘慈欣",) and found.ids == ("liu",) and found.triples[0].head == "santi"
    )
    assert all(evil not in query for query, _, _ in server.asked)
    query, values, database = server.asked[1]
    assert query.startswith("MATCH (h:Entity)-[f:FACT]->(t:Entity) WHERE h.id IN $ids AND")
    assert values == {"ids": ["santi"], "relations": ["作者"], "most": 1000} and database == "books"


def test_neo4j_goes_backward_and_between_and_about():
    server = Server({neo4j.FACTS_INTO: [ROW], neo4j.FACTS_BETWEEN: [ROW], neo4j.FACTS_OF: [ROW]})
    graph = Neo4jGraph(server)
    assert graph.find_entity_or_value(Ids(("liu",)), ["作者"]).result == ("三体",)
    assert graph.find_relationship(Ids(("liu",)), Ids(("santi",))).result == ("作者",)
    assert graph.get_entity_info(Ids(("liu",))).result == ("三体 作者 刘慈欣",)
    assert graph.find_entity_or_value(["无名"], ["作者"]).message == "作者 of 无名: 三体"


def test_a_store_is_copied_to_neo4j_in_batches(store):
    server = Server({})
    assert Neo4jGraph(server).fill(store) == 4
    rows = {query: values["rows"] for query, values, _ in server.asked if "rows" in values}
    by_id = {row["id"]: row for row in rows[neo4j.MERGE_ENTITIES]}
    assert by_id["santi"] == {
        "id": "santi", "name": "三体", "names": ["三体", "地球往事", "santi"], "types": ["作品"],
    }  # fmt: skip
    first = rows[neo4j.MERGE_FACTS][0]
    assert first == {
        "head": "santi", "relation": "author", "tail": "liu", "name": "作者",
        "names": ["author", "作者"],
    }  # fmt: skip
    assert [query for query, _, _ in server.asked[:2]] == list(neo4j.INDEXES)


def test_a_server_needs_a_password_and_an_answer(monkeypatch, tmp_path):
    monkeypatch.delenv("NEO4J_PASSWORD", raising=False)
    with pytest.raises(ConfigError, match="the password for neo4j://localhost:1") as caught:
        call("ask", "neo4j://localhost:1", "--plan", __file__)
    assert "NEO4J_PASSWORD" in caught.value.fix
    pytest.importorskip("neo4j")
    monkeypatch.setenv("NEO4J_PASSWORD", "x")
    with pytest.raises(ResourceError, match="no Neo4j server can be used at neo4j://localhost:1"):
        call("ask", "neo4j://localhost:1", "--plan", __file__)
