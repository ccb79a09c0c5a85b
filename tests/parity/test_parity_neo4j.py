"""Does a graph server, asked with Neo4j's driver, answer as the store that was copied to it?"""

import random

import pytest
from click.testing import CliRunner

from graph_server import PASSWORD, USER, graph_server
from hanlin.cli.extract import extract as command
from hanlin.core.errors import ResourceError
from hanlin.extraction.facts import Extraction, Mention, Relation
from hanlin.extraction.graph_files import write_graph
from hanlin.extraction.knowledge.graph import GraphStore
from hanlin.extraction.knowledge.items import Fact, Name
from hanlin.extraction.knowledge.lookups import MOST, Ids
from hanlin.extraction.knowledge.neo4j import LONGEST, Neo4jGraph
from hanlin.extraction.knowledge.sources import read_graph
from knowledge_world import make_world


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with graph_server(tmp_path_factory.mktemp("server")) as address:
        yield address


@pytest.fixture(scope="module")
def world_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    world = make_world(folder, people=24)
    with GraphStore.create(folder / "world.sqlite", read_graph([world / "graph"])):
        return folder / "world.sqlite"


def connect(server, **more):
    return Neo4jGraph.connect(server, user=USER, password=PASSWORD, **more)


@pytest.fixture
def empty(server):
    with connect(server, language="zh") as graph:
        graph.driver.execute_query("MATCH (n) DETACH DELETE n", database_="neo4j")
        yield graph


def call(*arguments):
    result = CliRunner().invoke(command, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.stdout


@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_look_up_gives_the_same(world_file, empty, language):
    with GraphStore.open(world_file, language=language) as store:
        assert empty.fill(store) == empty.fill(store) == store.sizes()["facts"]
        empty.language = language
        assert empty.relations() == store.relations() != []
        ids = sorted({item.head for item in store.items() if isinstance(item, Fact)})
        draw = random.Random(1)
        for _ in range(12):
            first, second = (store.name(id_) for id_ in draw.sample(ids, 2))
            relation = draw.choice(store.relations())
            question = f"{first}和{second}的{relation}"
            for graph in (store, empty):
                graph.answers = [
                    graph.get_entity_info([first]), graph.named_in(question),
                    graph.find_entity_or_value(["nobody", first], [relation]),
                    graph.find_entity_or_value(Ids(ids[:9]), [relation]),
                    graph.find_entity_or_value([second], [relation[:-1] + "的" + relation]),
                    graph.find_relationship([first], Ids(ids)),
                ]  # fmt: skip
            assert empty.answers == store.answers
            assert store.answers[0].triples


def test_texts_travel_as_parameters(tmp_path, empty):
    evil = "三体'}) DETACH DELETE e //"
    graph = [Name("b", evil, "zh"), Fact("b", "作者`", "刘慈欣\\")]
    with GraphStore.create(tmp_path / "g.sqlite", graph) as store:
        assert empty.fill(store) == 1
    assert empty.find_entity_or_value([evil], ["作者`"]).result == ("刘慈欣\\",)
    assert empty.find_entity_or_value(["' OR 1 = 1 //"], ["作者`"]).result == ()
    assert empty.get_entity_info(["刘慈欣\\"]).triples[0].head_name == evil


def test_what_an_index_does_not_take_is_left_out_and_said_to_be(tmp_path, empty, caplog):
    graph = [Fact("a", "says", "长" * (LONGEST + 1), "text"), Fact("a", "knows", "b")]
    with GraphStore.create(tmp_path / "g.sqlite", graph) as store:
        assert empty.fill(store) == 1
    assert f"1 rows with more than {LONGEST} characters left out" in caplog.text
    assert empty.get_entity_info(["a"]).ids == ("b",)


def test_of_very_many_facts_the_first_thousand_are_given(tmp_path, empty):
    graph = [Fact(f"p{number}", "lives_in", "here") for number in range(MOST + 5)]
    with GraphStore.create(tmp_path / "g.sqlite", graph) as store:
        empty.fill(store)
        found = empty.find_entity_or_value(["here"], ["lives_in"])
        assert found == store.find_entity_or_value(["here"], ["lives_in"])
        assert len(found.result) == MOST and "there may be more" in found.message


def test_the_commands_copy_and_ask(tmp_path, server, world_file, empty, monkeypatch):
    monkeypatch.setenv("NEO4J_PASSWORD", PASSWORD)
    own = ("--user", USER, "--language", "zh")
    with GraphStore.open(world_file, language="zh") as store:
        head, relation, tail = next(
            (store.name(f.head), store.name(f.relation), store.name(f.tail))
            for f in store.items() if isinstance(f, Fact)
        )  # fmt: skip
        facts = store.sizes()["facts"]
    plan = tmp_path / "plan.py"
    plan.write_text(
        f"found, msg = find_entity_or_value(entity_aliases={[head]}, "
        f"relation_aliases={[relation]})\n",
        encoding="utf-8",
    )
    shown = call("graph", "neo4j", world_file, server, "--user", USER)
    assert shown == f"{server}: {facts:,} facts\n"
    for arguments in ((head,), (head, tail), (head, "--relation", relation)):
        found = call("graph", "find", server, *arguments, *own)
        assert found == call("graph", "find", world_file, *arguments, "--language", "zh")
        assert tail in found or relation in found
    asked = call("ask", server, "--plan", plan, *own)
    assert asked == call("ask", world_file, "--plan", plan, "--language", "zh")
    assert tail in asked.splitlines()[0] and f"{head} · {relation} · {tail}" in asked


def test_a_file_of_cypher_makes_the_graph(tmp_path, empty):
    hard = "a\"b`c\\d\n<e>&;,'\x01\u2028"
    names = (Mention(hard, "怪`", 0, len(hard)), Mention("x", "", len(hard), len(hard) + 1))
    found = [Extraction("1", hard + "x", "zh", names, (Relation("r `;", 0, 1),))]
    assert write_graph(found, tmp_path / "g.cypher") == 1
    for _ in range(2):
        for statement in (tmp_path / "g.cypher").read_text("utf-8").split(";\n")[:-1]:
            empty.driver.execute_query(statement, database_="neo4j")
    rows, _, _ = empty.driver.execute_query(
        "MATCH (a)-[r]->(b) RETURN a.name, labels(a), type(r), b.name, r.texts", database_="neo4j"
    )
    assert [list(row) for row in rows] == [[hard, ["怪`"], "r `;", "x", ["1"]]]


def test_a_server_that_leaves_is_said(server):
    graph = connect(server)
    graph.close()
    with pytest.raises(ResourceError, match="the Neo4j server did not do") as caught:
        graph.get_entity_info(["三体"])
    assert "repeat the command" in caught.value.fix


def test_a_wrong_password_or_database_is_said(server):
    for user, password, database in (
        (USER, "wrong", "neo4j"), (USER, PASSWORD, "no-such-database"),
    ):  # fmt: skip
        with pytest.raises(ResourceError, match="no Neo4j server can be used at") as caught:
            Neo4jGraph.connect(server, user=user, password=password, database=database)
        assert "NEO4J_PASSWORD" in caught.value.fix
