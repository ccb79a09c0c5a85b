"""Does a store answer the look-ups of a plan?"""

import json
import sqlite3

import pytest
from click.testing import CliRunner

from hanlin.cli.extract import extract as command
from hanlin.core.errors import ConfigError, HanlinError, InputError, ResourceError
from hanlin.extraction.knowledge.graph import GraphStore
from hanlin.extraction.knowledge.items import Fact, Kind, Name, Signature
from hanlin.extraction.knowledge.lookups import MOST, Ids

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


def test_of_very_many_facts_the_ones_asked_for_are_found_and_a_cut_is_said(tmp_path):
    graph = [Fact(f"p{number}", "lives_in", "here") for number in range(MOST + 5)]
    graph += [Fact("there", "twin_of", "here")]
    with GraphStore.create(tmp_path / "g.sqlite", graph) as store:
        found = store.find_entity_or_value(["here"], ["lives_in"])
        assert len(found.result) == MOST
        assert found.message.endswith(" (the first 1,000 facts; there may be more)")
        assert store.find_entity_or_value(["here"], ["twin_of"]).result == ("there",)
        assert store.find_relationship(["here"], ["there"]).result == ("twin_of",)


def test_a_relation_that_is_only_named_as_an_inverse_is_followed_backward(tmp_path):
    graph = [Fact("liu", "works", "santi"), Signature("author", "作品", "人物", "works")]
    with GraphStore.create(tmp_path / "g.sqlite", graph) as store:
        assert store.find_entity_or_value(["santi"], ["author"]).result == ("liu",)
        assert store.relations() == ["works"]


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


def test_a_server_needs_a_password_and_an_answer(monkeypatch, tmp_path):
    monkeypatch.delenv("NEO4J_PASSWORD", raising=False)
    with pytest.raises(ConfigError, match="the password for neo4j://localhost:1") as caught:
        call("ask", "neo4j://localhost:1", "--plan", __file__)
    assert "NEO4J_PASSWORD" in caught.value.fix
    monkeypatch.setenv("NEO4J_PASSWORD", "x")
    for address in ("neo4j://localhost:1", "bolt://localhost:none", "bolt://"):
        with pytest.raises(ResourceError, match=f"no Neo4j server can be used at {address}"):
            call("ask", address, "--plan", __file__)


def test_another_kind_of_address_is_refused():
    with pytest.raises(ConfigError, match="is no address of a Neo4j server") as caught:
        call("graph", "find", "http://localhost:7474", "三体")
    assert "bolt://HOST:7687" in caught.value.fix
