"""Does a model plan without names, numbers in their place, and held to a grammar?"""

import json

import pytest
from click.testing import CliRunner

from hanlin.cli.extract import extract as command
from hanlin.core.errors import ConfigError
from hanlin.data.readers.json_rows import read_values
from hanlin.data.readers.rows import BadRows
from hanlin.extraction.knowledge.graph import GraphStore
from hanlin.extraction.knowledge.items import Fact, Name
from hanlin.extraction.knowledge.plan import PlanRefusedError
from hanlin.extraction.knowledge.plan_rows import write_plan_rows
from hanlin.extraction.knowledge.planning import follow, write_plan
from hanlin.extraction.knowledge.slots import hide, plan_grammar, restore
from hanlin.extraction.knowledge.sources import read_graph
from hanlin.models.tiny import make_tiny
from knowledge_world import make_world

FACTS = [
    Name("ada", "Ada's Brook", "en"), Name("tides", "潮声"), Name("wrote", "作者", "zh"),
    Name("wrote", "author", "en"), Name("born", "出生地", "zh"), Name("born", "birthplace", "en"),
    Fact("tides", "wrote", "ada"), Fact("ada", "born", "lanford"),
]  # fmt: skip


def test_names_are_hidden_and_put_back():
    names = ["Ada", "Tides of Adaville"]
    hidden, found = hide("Who wrote Tides of Adaville for Ada, by Ada?", names)
    assert (hidden, found) == ("Who wrote #1 for #2, by #2?", ("Tides of Adaville", "Ada"))
    assert hide("a question", []) == ("a question", ())
    hidden = "first, msg = find_entity_or_value(['#1'], ['author'])\nreturn first"
    assert restore(hidden, ["Ada's \\ 潮"]) == hidden.replace("'#1'", repr("Ada's \\ 潮"))
    with pytest.raises(PlanRefusedError, match="the name #2"):
        restore(hidden.replace("#1", "#2"), ["Ada"])


def test_rows_hold_no_names_and_their_plans_are_followed(tmp_path):
    world = make_world(tmp_path, people=30)
    write_plan_rows(
        [world / "graph"], tmp_path / "plans", languages=("zh", "en"), form="slots", most=30,
        test_share=0.4, seed=1,
    )  # fmt: skip
    GraphStore.create(tmp_path / "w.sqlite", read_graph([world / "graph"])).close()
    test = [row["messages"] for _, row in read_values(tmp_path / "plans/test.jsonl", BadRows())]
    asked = [row for _, row in read_values(tmp_path / "plans/questions.jsonl", BadRows())]
    assert len(test) == len(asked) > 50
    for (user, assistant), row in zip(test, asked, strict=True):
        assert not any(name in user["content"] + assistant["content"] for name in row["names"])
        plan = restore(assistant["content"], row["names"])
        with GraphStore.open(tmp_path / "w.sqlite", language=row["language"]) as store:
            assert hide(row["question"], store.named_in(row["question"]))[0] in user["content"]
            assert plan == row["plan"] and set(row["answer"]) == set(follow(plan, store).answer)


def test_the_grammar_allows_look_ups_one_after_the_other_and_nothing_else():
    llguidance = pytest.importorskip("llguidance")
    vocabulary = llguidance.LLTokenizer("byte")

    def allows(text, relations=("author", "birth'place")):
        grammar = plan_grammar(["#1", "Ada's"], relations)
        matcher = llguidance.LLMatcher(vocabulary, grammar.text)
        assert not matcher.get_error(), matcher.get_error()
        ids = vocabulary.tokenize_str(text)
        return matcher.try_consume_tokens(ids) == len(ids) and matcher.is_accepting()

    for name in ("#1", "Ada's"):
        assert allows(write_plan(name, ["author"])) and allows(write_plan(name, ["author"] * 3))
        assert allows(" " + write_plan(name, ["author", "birth'place"]))
    assert not allows(write_plan("Tides", ["author"]))
    assert not allows(write_plan("#1", ["employer"])) and not allows("import os")
    assert allows(write_plan("#1", ["employer"]), relations=())


def test_even_a_model_that_learned_nothing_plans_what_can_be_followed(tmp_path):
    pytest.importorskip("llguidance")
    model = make_tiny(tmp_path / "model")
    GraphStore.create(tmp_path / "g.sqlite", FACTS).close()

    def ask(question):
        arguments = ("ask", tmp_path / "g.sqlite", question, "--model", model, "--json",
                     "--plan-form", "slots", "--constrain")  # fmt: skip
        return CliRunner().invoke(command, [str(a) for a in arguments])

    shown = json.loads(ask("《潮声》的作者出生在哪里？").stdout)
    assert shown["plan"].lstrip().startswith("first, msg = find_entity_or_value(['潮声'], ['")
    assert shown["messages"] and ("作者" in shown["plan"] or "出生地" in shown["plan"])
    result = ask("谁？")
    assert isinstance(result.exception, ConfigError)
    assert "the question names nothing that is in the graph" in str(result.exception)
