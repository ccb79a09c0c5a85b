"""Does every form of answers say what is meant, read it back, and survive what models do to it?"""

import json

import pytest

from hanlin.extraction.facts import NO_TRIGGER, Event, Extraction, Mention, Relation
from hanlin.extraction.formats import FORMATS
from hanlin.extraction.formats.answer_format import (
    Asking,
    Question,
    counts,
    merged,
    said,
    write_answer,
)
from hanlin.extraction.formats.iepile import split
from hanlin.extraction.schema import Schema


def questions(name, schema, example, **asking):
    return FORMATS.get(name).ask(example.text, schema, Asking(gold=example, **asking))


def answers(name, schema, example, **asking):
    form = FORMATS.get(name)
    return {
        q.task: write_answer(form, example, q) for q in questions(name, schema, example, **asking)
    }


EXPECTED = {
    "deepke-0": {
        "NER": "(王明华,人物)\n(青石镇,城镇)\n(宏远公司,公司)",
        "RE": "(王明华,出生地,青石镇)",
        "EE": "(创办,成立,机构#宏远公司;创始人#王明华)",
    },
    "deepke-1": {
        "NER": "实体是王明华,实体类型是人物\n实体是青石镇,实体类型是城镇\n"
        "实体是宏远公司,实体类型是公司",
        "RE": "头实体是王明华,关系是出生地,尾实体是青石镇",
        "EE": "事件触发词是创办,事件类型是成立\n"
        "事件论元1是宏远公司,论元角色1是机构;事件论元2是王明华,论元角色2是创始人",
    },
    "deepke-2": {
        "NER": "人物：王明华\n城镇：青石镇\n公司：宏远公司",
        "RE": "出生地：王明华,青石镇",
        "EE": "成立：创办\n机构：宏远公司;创始人：王明华",
    },
    "deepke-3": {
        "NER": "{'entity': '王明华', 'entity_type': '人物'}\n"
        "{'entity': '青石镇', 'entity_type': '城镇'}\n"
        "{'entity': '宏远公司', 'entity_type': '公司'}",
        "RE": "{'head': '王明华', 'relation': '出生地', 'tail': '青石镇'}",
        "EE": "{'event_trigger': '创办', 'event_type': '成立', 'arguments': "
        "[{'argument': '宏远公司', 'role': '机构'}, {'argument': '王明华', 'role': '创始人'}]}",
    },
    "knowlm": {
        "NER": "(王明华,人物)\n(青石镇,城镇)\n(宏远公司,公司)",
        "RE": "(王明华,出生地,青石镇)",
        "EE": "(创办,成立,[(宏远公司,机构),(王明华,创始人)])",
    },
    "iepile": {
        "NER": '{"人物": ["王明华"], "城镇": ["青石镇"], "公司": ["宏远公司"]}',
        "SPO": '{"出生地": [{"subject": "王明华", "object": "青石镇"}]}',
        "EE": '{"成立": [{"trigger": "创办", '
        '"arguments": {"机构": "宏远公司", "创始人": "王明华"}}]}',
    },
}


@pytest.mark.parametrize("name", EXPECTED)
def test_answers_look_as_they_were_published(name, zh, example):
    assert answers(name, zh, example) == EXPECTED[name]


def test_our_json_has_spans_on_wish(zh, example):
    (plain,) = answers("json", zh, example).values()
    (spans,) = answers("json-spans", zh, example).values()
    assert json.loads(plain)["entities"][0] == {"type": "人物", "text": "王明华"}
    assert json.loads(spans)["entities"][1] == {"type": "城镇", "text": "青石镇", "span": [6, 9]}
    assert json.loads(plain)["events"] == [
        {"type": "成立", "trigger": "创办",
         "arguments": [{"role": "机构", "text": "宏远公司"}, {"role": "创始人", "text": "王明华"}]}
    ]  # fmt: skip


def test_what_is_absent_is_a_line_nan_or_an_empty_list(zh):
    idle = Extraction("1", "今天。", "zh")
    some = Extraction("1", "王明", "zh", (Mention("王明", "人物", 0, 2),))
    assert set(answers("deepke-0", zh, idle).values()) == {"NAN"}
    assert answers("deepke-0", zh, some)["NER"] == "(王明,人物)\nNAN\nNAN"
    assert answers("iepile", zh, idle)["NER"] == '{"人物": [], "城镇": [], "公司": []}'
    assert answers("lines", zh, idle) == {"all": "-"}


def test_iepile_splits_the_schema_as_it_was_published():
    assert split(list(range(13)), 6) == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11, 12]]
    assert split(list(range(9)), 6) == [[0, 1, 2, 3, 4, 5], [6, 7, 8]]
    assert split([1], 4) == [[1]] and split([], 4) == []


def test_iepile_asks_in_json_with_a_part_of_the_types(en):
    names = [f"r{i}" for i in range(9)]
    schema = Schema(language="en", relations=names)
    asked = FORMATS.get("iepile").ask("He.", schema, Asking())
    assert [(q.task, len(q.schema.relations)) for q in asked] == [("RE", 4), ("RE", 5)]
    message = json.loads(asked[0].prompt)
    assert message["schema"] == names[:4] and message["input"] == "He."
    assert message["instruction"].startswith("You are an expert in relationship extraction.")
    message = json.loads(FORMATS.get("iepile").ask("He.", en, Asking())[1].prompt)
    assert message["schema"] == [
        {"subject_type": "Person", "predicate": "birthplace", "object_type": "Town"}
    ]


def test_iepile_tells_the_triggers_of_arguments(zh, example):
    form = FORMATS.get("iepile")
    (question,) = questions("iepile", zh, example, tasks=("EEA",))
    assert json.loads(question.prompt)["schema"][0]["trigger"] == ["创办"]
    assert (
        form.read(write_answer(form, example, question), question).events
        == said(example, question).events
    )
    (question,) = questions("iepile", zh, example, tasks=("EET",))
    assert write_answer(form, example, question) == '{"成立": ["创办"]}'


COMPANY = Schema(language="zh", attributes={"公司": ["成立时间", "资产总额"], "船舶": []})


@pytest.fixture
def company():
    text = "京煤集团于2001年初组建，拥有资产149亿元；舟港海8载重量46000吨。"

    def mention(name, type_=""):
        return Mention(name, type_, text.index(name), text.index(name) + len(name))

    return Extraction(
        "1", text, "zh",
        (mention("京煤集团", "公司"), mention("2001年初"), mention("149亿元"),
         mention("舟港海8", "船舶"), mention("46000吨")),
        (Relation("成立时间", 0, 1), Relation("资产总额", 0, 2), Relation("载重量", 3, 4)),
    )  # fmt: skip


def test_attributes_listed_and_free(company):
    form = FORMATS.get("cutegpt")
    first, second = form.ask(company.text, COMPANY, Asking())
    assert '"公司名称": ""' in first.prompt and "所有的属性" in second.prompt
    listed = Extraction("1", company.text, "zh", company.entities, company.relations[:2])
    assert json.loads(write_answer(form, listed, first)) == {
        "公司名称": "京煤集团", "成立时间": "2001年初", "资产总额": "149亿元",
    }  # fmt: skip
    read = form.read('{"船舶名称": "舟港海8", "载重量": "46000吨", "船东": ""}', second)
    assert [(r.type, r.head, r.tail) for r in read.relations] == [("载重量", "舟港海8", "46000吨")]
    assert read.entities == (("船舶", "舟港海8"),) and not read.unread


@pytest.mark.parametrize("name", ["lines", "json", "json-spans", "iepile"])
def test_attributes_read_back_in_every_form_that_has_them(name, company):
    form = FORMATS.get(name)
    parts = [
        (q, form.read(write_answer(form, company, q), q))
        for q in form.ask(company.text, COMPANY, Asking())
    ]
    found = merged(parts)
    assert {(r.type, r.head, r.tail) for r in found.relations} == {
        ("成立时间", "京煤集团", "2001年初"),
        ("资产总额", "京煤集团", "149亿元"),
        ("载重量", "舟港海8", "46000吨"),
    }
    assert set(found.entities) == {("公司", "京煤集团"), ("船舶", "舟港海8")}


@pytest.mark.parametrize("name", [n for n in FORMATS if n != "cutegpt"])
def test_an_event_without_trigger(name):
    schema = Schema(language="zh", events={"夺冠": {"roles": ["冠军"], "trigger": False}})
    gold = Extraction(
        "1", "纳达尔赢了。", "zh", (Mention("纳达尔", "", 0, 3),), (Event("x", NO_TRIGGER),)[:0],
        (Event("夺冠", NO_TRIGGER, (("冠军", 0),)),),
    )  # fmt: skip
    form = FORMATS.get(name)
    (question,) = form.ask(gold.text, schema, Asking())
    assert counts(form.read(write_answer(form, gold, question), question)) == counts(
        said(gold, question)
    )


@pytest.mark.parametrize(
    ("name", "task", "answer", "entities", "unread"),
    [
        ("deepke-0", "NER", "（王明，人物）\n(人物,李雪)\n(甲,河流)", ["王明", "李雪"], 1),
        ("deepke-0", "NER", "(王明,乙(甲),人物)\nNAN\n", ["王明,乙(甲)"], 0),
        ("deepke-1", "NER", "实体是王明,实体类型是人物\n实体是王明", ["王明"], 1),
        ("deepke-2", "NER", "人物:王明\n好的", ["王明"], 1),
        ("deepke-3", "NER", '{"entity": "王明", "entity_type": "人物"', ["王明"], 1),
        ("deepke-3", "NER", "{'entity': '王明', 'entity_type': '人物'},", ["王明"], 0),
        ("deepke-3", "NER", "__import__('os').system('true')", [], 1),
        ("iepile", "NER", "```json\n{'人物': ['王明', 3, {}], '河流': ['甲']}\n```",
         ["王明", "3"], 2),
        ("iepile", "NER", "[]", [], 0),
        ("iepile", "NER", "{}", [], 0),
        ("iepile", "NER", '{"人物": "王明", "城镇": {"a": 1}}', ["王明"], 1),
        ("json", "all", '{"entities": [{"type": "人物", "text": "王明"}, 3]}', ["王明"], 1),
        ("json", "all", '{"entities": [{"type": [], "text": "王明"}], "x": 1}', [], 2),
        ("json", "all", "好的", [], 1),
        ("json", "all", '{"entities": [{"type": "人物", "text": "\\ud83d王"}]}', ["\ufffd王"], 0),
        ("knowlm", "NER", "[王明,人物]\n<李雪,人物>", ["王明", "李雪"], 0),
    ],
)  # fmt: skip
def test_mistakes_are_forgiven_or_kept(name, task, answer, entities, unread, zh):
    parsed = FORMATS.get(name).read(answer, Question(task, zh, ""))
    assert [text for _, text in parsed.entities] == entities
    assert parsed.unreadable == unread, parsed.unread


def test_both_orders_of_arguments_are_read(zh):
    form, question = FORMATS.get("deepke-0"), Question("EE", zh, "")
    expected = (("机构", "甲;乙"), ("创始人", "王#明"))
    for answer in (
        "(创办,成立,机构#甲;乙;创始人#王#明)",
        "(创办,成立,甲;乙#机构;王#明#创始人)",
    ):
        assert form.read(answer, question).events[0].arguments == expected


def test_what_a_form_cannot_say_is_refused(zh):
    gold = Extraction("1", "王\n明", "zh", (Mention("王\n明", "人物", 0, 3),))
    for name in ("deepke-0", "deepke-2"):
        (question, *_) = questions(name, zh, gold)
        with pytest.raises(ValueError, match=f"the form {name} cannot say this"):
            write_answer(FORMATS.get(name), gold, question)


def test_a_task_that_a_form_does_not_have_is_refused(zh, example):
    with pytest.raises(ValueError, match="there is no task KG; this form has NER, RE, EE"):
        questions("deepke-0", zh, example, tasks=("KG",))
    with pytest.raises(ValueError, match="the schema has no types for KG"):
        questions("cutegpt", zh, example)


def test_twenty_wordings_of_each_language_and_task(zh, en, example):
    from hanlin.extraction.formats.deepke_prompts import templates

    for schema in (zh, en):
        for task in ("NER", "RE", "EE"):
            own = templates(schema, task)
            assert len(set(own)) == 20
            for text in own:
                assert text.count("{s_schema}") == text.count("{s_format}") == 1
                assert "NAN" in text
    prompts = {q.prompt for n in range(20) for q in questions("deepke-1", zh, example, template=n)}
    assert len(prompts) == 60 and all(p.endswith(f"\n{example.text}") for p in prompts)
