"""Is a plan of look-ups followed, and everything else refused? Are questions answered from it?"""

import json

import pytest
from click.testing import CliRunner

from hanlin.cli.extract import extract as command
from hanlin.core.errors import ConfigError, HanlinError, InputError
from hanlin.data.readers.json_rows import read_values
from hanlin.data.readers.rows import BadRows
from hanlin.extraction.knowledge.graph import GraphStore
from hanlin.extraction.knowledge.items import Fact, Name
from hanlin.extraction.knowledge.plan import PlanRefusedError
from hanlin.extraction.knowledge.plan_rows import write_plan_rows
from hanlin.extraction.knowledge.plan_run import run_plan
from hanlin.extraction.knowledge.planning import code_of, follow, request
from hanlin.extraction.knowledge.sources import read_graph
from knowledge_world import make_world

FACTS = [
    Fact("三体", "作者", "刘慈欣"), Fact("刘慈欣", "出生地", "北京"),
    Fact("球状闪电", "作者", "刘慈欣"),
    *(Fact("中国", "城市", f"城{n}", "text") for n in range(300)),
]  # fmt: skip
CUTEGPT = """{
'need_knowledge': 'yes',
'thought': "这个问题想要知道和《三体》是同一个作者的科幻小说都有哪些。",
'code': "def search():\\n\\tmessages = ''\\n\\tauthor, msg = find_entity_or_value(entity_aliases = \
['三体'], relation_aliases = ['作者', '创作', '写作'])\\n\\tmessages = msg\\n\\tif author:\\n\\t\\t\
works, msg = find_entity_or_value(entity_aliases = author, relation_aliases = ['作品', '作者'])\
\\n\\t\\tmessages = msg\\n\\treturn messages\\n",
}"""
UNINDENTED = """{
"need_knowledge": "是",
"thought": "...",
"code": "def search():
messages = ''
author, msg = find_entity_or_value(entity_aliases = ['三体'], relation_aliases = ['作者'])
messages = msg
return messages
",
}"""


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    with GraphStore.create(tmp_path_factory.mktemp("plan") / "g.sqlite", FACTS) as made:
        yield made


def test_the_published_examples_are_followed(graph):
    found = follow(CUTEGPT, graph)
    assert found.answer == ("三体", "球状闪电")
    assert found.messages[0] == "作者, 创作, 写作 of 三体: 刘慈欣" and len(found.triples) == 2
    assert follow(UNINDENTED, graph).answer == ("刘慈欣",)


def test_an_answer_that_needs_no_knowledge_gives_no_look_up(graph):
    for answer in ('{"need_knowledge": "否", "code": "x"}', "{'need_knowledge': 'no', 'code': ''}"):
        assert code_of(answer) == "" and follow(answer, graph).answer == ()


@pytest.mark.parametrize(
    ("plan", "answer"),
    [
        ("```python\na, m = find_entity_or_value(['三体'], ['作者'])\n```", ("刘慈欣",)),
        ("a, m = find_entity_or_value('三体', '作者')\nb, m = find_entity_or_value(a, ['出生地'])",
         ("北京",)),
        ("a, m = find_relationship(['三体'], ['刘慈欣'])\nreturn a", ("作者",)),
        ("out = []\na, m = find_entity_or_value(['刘慈欣'], ['作者'])\nfor x in a:\n"
         "    b, m = find_entity_or_value([x], ['作者'])\n    out += b\nreturn sorted(out)",
         ("刘慈欣", "刘慈欣")),
        ("a, m = find_entity_or_value(['无名'], ['作者'])\nif not a:\n"
         "    a, m = find_entity_or_value(['三体'], ['作者'])\nelse:\n    pass\nreturn a",
         ("刘慈欣",)),
        ("a, m = find_entity_or_value(['三体'], ['作者'])\n"
         "b, m = find_entity_or_value([f'{a[0]}'], ['出生地'])\n"
         "return b if len(b) == 1 and a is not None else a", ("北京",)),
    ],
)  # fmt: skip
def test_plans_may_branch_loop_and_put_texts_together(graph, plan, answer):
    assert follow(plan, graph).answer == answer


def test_a_name_that_is_not_in_the_question_gives_way_to_the_one_that_is(graph):
    question = "《三体》的作者的出生地是什么？"
    first = "a, m = find_entity_or_value(['四体'], ['作者'])\n"
    plan = first + "b, m = find_entity_or_value(a, ['出生地'])"
    names = graph.named_in(question)
    assert names == ["三体"] and follow(plan, graph).answer == ()
    found = follow(plan, graph, names=names)
    assert found.answer == ("北京",)
    assert found.messages[0] == "四体 is not in the question: 三体 is meant"
    right = plan.replace("四体", "三体")
    assert len(follow(right, graph, names=names).messages) == 2
    by_name = (
        "a, m = find_entity_or_value('三体', '作者')\nb, m = find_entity_or_value(a[0], '出生地')"
    )
    assert follow(by_name, graph, names=names).answer == ("北京",)


def test_names_in_a_question_are_whole_words_and_the_longest(tmp_path):
    facts = [Fact(name, "r", "x", "text") for name in ("Art", "New York", "York", "Arthur Rail")]
    names = [Name(fact.head, fact.head) for fact in facts]
    with GraphStore.create(tmp_path / "g.sqlite", [*facts, *names]) as graph:
        assert graph.named_in("Did Arthur Rail see new york?") == ["Arthur Rail", "new york"]
        assert graph.named_in("Arthurian") == [] and graph.named_in("") == []


@pytest.mark.parametrize(
    ("plan", "what"),
    [
        ("import os", "an import"),
        ("from os import system", "an import"),
        ("a = ''.join(['x'])", "a call of something without a name"),
        ("a = (1).__class__", "an attribute"),
        ("x = __builtins__", "'__builtins__'"),
        ("eval('1')", "the function 'eval'"),
        ("print(1)", "the function 'print'"),
        ("open('/etc/passwd')", "the function 'open'"),
        ("while True:\n    pass", "while, a loop that may have no end"),
        ("a = [x for x in [1]]", "a comprehension"),
        ("a = lambda: 1", "lambda"),
        ("class A:\n    pass", "a class"),
        ("def other():\n    return 1", "a function 'other'"),
        ("def search(x=find_relationship([], [])):\n    return x", "a function 'search'"),
        ("@len\ndef search():\n    pass", "a decorator"),
        ("def search():\n    def again():\n        pass", "a second function"),
        ("a = 'x' * 9", "Mult"),
        ("a = 9 ** 9", "Pow"),
        ("a = b'x'", "the value b'x'"),
        ("a = 1.5", "the value 1.5"),
        ("a = {}", "Dict"),
        ("a = find_relationship(*[1, 2])", "*"),
        ("a = find_relationship(**{})", "**"),
        ("global a", "Global"),
        ("del a", "Delete"),
        ("try:\n    pass\nexcept Exception:\n    pass", "Try"),
        ("with a:\n    pass", "With"),
        ("raise a", "Raise"),
        ("assert a", "Assert"),
        ("a: int = 1", "AnnAssign"),
        ("(a := 1)", "NamedExpr"),
        ("await a", "Await"),
        ("yield 1", "Yield"),
        ("a = f'{1!r}'", "a format specification"),
        ("a = f'{1:>99999999}'", "a format specification"),
        ("a[0] = 1", "an assignment to something without a name"),
        ("for a in 'xy':\n    pass", "a loop over what is no list"),
        ("for a in [1]:\n    pass\nelse:\n    pass", "for ... else"),
        ("a, b = [1]", "names for another number of values"),
        ("a = b", "the name 'b'"),
        ("a = len('x', 'y')", "len with other than one argument"),
        ("a = find_relationship(['x'])", "find_relationship with other arguments"),
        ("a = find_relationship(['x'], ['y'], ['z'])", "find_relationship with other arguments"),
        ("a = find_relationship([1], ['y'])", "aliases that are no names"),
        ("a = 'x' < 1", "something that has no value"),
        ("a = ['x'][3]", "something that has no value"),
        ("a = sorted(1)", "something that has no value"),
        ("this is no plan", "what is no plan"),
        ("(" * 300, "what is no plan"),
        ("a = 1\n" * 2000, "a plan that long"),
        ("a = [" + "1," * 1500 + "]", "a plan that long"),
        ("x\0y", "what is no plan"),
    ],
)
def test_whatever_is_no_look_up_is_refused(graph, plan, what):
    with pytest.raises(PlanRefusedError) as caught:
        run_plan(plan, graph)
    assert caught.value.what.startswith("the plan was refused: it holds ")
    assert what in caught.value.what
    assert caught.value.why and "find_entity_or_value" in caught.value.fix


@pytest.mark.parametrize(
    ("plan", "what"),
    [
        ("a = 'xxxxxxxxxx'\n" + "a = a + a\n" * 40, "a value that gets too large"),
        ("a = [1, 1]\n" + "a = [a, a]\n" * 40, "a value that gets too large"),
        ("a = 2\n" + "a = a + a\n" * 60, "a value that gets too large"),
        ("a, m = find_entity_or_value(['中国'], ['城市'])\nfor x in a:\n    for y in a:\n"
         "        for z in a:\n            b = x", "more steps than are allowed"),
        ("a, m = find_entity_or_value(['中国'], ['城市'])\nfor x in a:\n"
         "    b, m = find_relationship([x], [x])", "more look-ups than are allowed"),
        ("a = " + "not " * 450 + "1", "nested"),
    ],
)  # fmt: skip
def test_huge_results_and_loops_are_refused(graph, plan, what):
    with pytest.raises(PlanRefusedError) as caught:
        run_plan(plan, graph)
    assert what in caught.value.what


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("plans"), people=30)


def test_fifty_questions_of_two_hops_are_answered_from_their_plans(world, tmp_path):
    write_plan_rows(
        [world / "graph"], tmp_path / "plans", languages=("zh", "en"), form="code", most=5000,
        test_share=0.4, seed=1,
    )  # fmt: skip
    store = tmp_path / "world.sqlite"
    GraphStore.create(store, read_graph([world / "graph"]))
    read = read_values(tmp_path / "plans" / "questions.jsonl", BadRows())
    questions = [row for _, row in read if row["hops"] == 2]
    zh = [row for row in questions if row["language"] == "zh"][:25]
    en = [row for row in questions if row["language"] == "en"][:25]
    assert len(zh + en) == 50
    for row in zh + en:
        with GraphStore.open(store, language=row["language"]) as graph:
            found = follow(row["plan"], graph)
        assert list(found.answer) == row["answer"], row
        assert len(found.triples) >= 2


def test_training_plans_begin_at_no_entity_of_the_test(world, tmp_path):
    for form in ("code", "cutegpt"):
        out = tmp_path / form
        counts = write_plan_rows(
            [world / "graph"], out, languages=("zh",), form=form, most=40, test_share=0.3, seed=1
        )
        train, test = (
            [row["messages"] for _, row in read_values(out / f"{part}.jsonl", BadRows())]
            for part in ("train", "test")
        )
        assert len(train) == counts["train"] == 80 and test
        heads = [
            {code_of(m[1]["content"]).split("'")[1::2][0] for m in part} for part in (train, test)
        ]
        if form == "code":
            assert not heads[0] & heads[1]
    assert train[0][0]["content"].startswith("你是一个知识图谱访问代理")
    with GraphStore.create(tmp_path / "w.sqlite", read_graph([world / "graph"])) as graph:
        assert follow(train[0][1]["content"], graph).answer


def call(*arguments):
    result = CliRunner().invoke(command, [str(a) for a in arguments])
    if isinstance(result.exception, HanlinError):
        raise result.exception
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.stdout


def test_the_command_answers_with_its_triples(tmp_path):
    GraphStore.create(tmp_path / "g.sqlite", FACTS)
    plan = tmp_path / "plan.txt"
    plan.write_text(CUTEGPT, encoding="utf-8")
    shown = json.loads(call("ask", tmp_path / "g.sqlite", "--plan", plan, "--json"))
    assert shown["answer"] == ["三体", "球状闪电"]
    assert shown["triples"][0]["tail"] == "刘慈欣" and len(shown["messages"]) == 2
    assert call("ask", tmp_path / "g.sqlite", "--plan", plan) == (
        "三体, 球状闪电\n  三体 · 作者 · 刘慈欣\n  球状闪电 · 作者 · 刘慈欣\n"
    )
    plan.write_text("import os", encoding="utf-8")
    with pytest.raises(InputError, match="the plan was refused: it holds an import"):
        call("ask", tmp_path / "g.sqlite", "--plan", plan)
    with pytest.raises(ConfigError, match="an answer needs a plan") as caught:
        call("ask", tmp_path / "g.sqlite", "谁写了三体？")
    assert "--model MODEL, or --plan FILE" in caught.value.fix
    with pytest.raises(InputError, match=r"none\.txt"):
        call("ask", tmp_path / "g.sqlite", "--plan", tmp_path / "none.txt")


def test_a_real_model_is_asked_in_the_words_that_it_was_trained_with(tmp_path, monkeypatch):
    from hanlin.models.tiny import make_tiny

    GraphStore.create(tmp_path / "g.sqlite", FACTS)
    words = ["ask", tmp_path / "g.sqlite", "谁写了三体？", "--model", make_tiny(tmp_path / "tiny")]
    with pytest.raises(InputError, match="the plan was refused"):  # it has learned nothing
        call(*words, "--max-new-tokens", 12)
    assert request("谁写了三体？", "zh") == "写出查询计划。\n谁写了三体？"
    assert request("x", "fr").startswith("Plan the look-ups.")
