"""What is asked, what does an answer look like, and what is read from a broken one?"""

import dataclasses

import pytest

from hanlin.extraction.facts import Extraction
from hanlin.extraction.parse import NamedEvent, NamedRelation, Parsed, parse_answer
from hanlin.extraction.prompt import extraction_prompt, format_answer


def test_the_prompt_lists_the_types_and_ends_with_the_text(zh, en):
    assert extraction_prompt("今天。", zh) == (
        "从文本中抽取下列实体、关系和事件。\n实体：人物；城镇；公司\n关系：出生地 (人物，城镇)\n"
        "事件：成立 (机构，创始人)\n文本：今天。"
    )
    assert extraction_prompt("Today.", en) == (
        "Extract these entities, relations and events from the text.\n"
        "Entities: Person; Town\nRelations: birthplace (Person, Town)\nText: Today."
    )


def test_a_schema_may_bring_its_own_instruction(zh):
    short = zh.model_copy(update={"instruction": "抽取。"})
    assert extraction_prompt("今天。", short) == "抽取。\n今天。"


def test_an_answer_has_one_line_for_each_type_that_was_found(example, zh):
    assert format_answer(example, zh) == (
        "人物：王明华\n城镇：青石镇\n公司：宏远公司\n出生地：王明华，青石镇\n"
        "成立：创办，机构=宏远公司，创始人=王明华"
    )
    assert format_answer(Extraction("2", "今天。", "zh"), zh) == "-"


def test_a_type_that_the_schema_does_not_have_is_refused(example, zh, en):
    with pytest.raises(ValueError, match="no entity type '人物'"):
        format_answer(example, en)
    wrong = dataclasses.replace(example.events[0], arguments=(("地点", 1),))
    with pytest.raises(ValueError, match="no role '地点'"):
        format_answer(dataclasses.replace(example, events=(wrong,)), zh)


def test_an_answer_is_read_back(example, zh):
    assert parse_answer(format_answer(example, zh), zh) == Parsed(
        (("人物", "王明华"), ("城镇", "青石镇"), ("公司", "宏远公司")),
        (NamedRelation("出生地", "王明华", "青石镇"),),
        (NamedEvent("成立", "创办", (("机构", "宏远公司"), ("创始人", "王明华"))),),
    )


@pytest.mark.parametrize(
    ("answer", "entities", "unreadable"),
    [
        ("", [], 0),
        ("-", [], 0),
        (" 人物: 王明; 李雪 ", ["王明", "李雪"], 0),
        ("人物：王明\n\n城镇：", ["王明"], 1),
        ("人物", [], 1),
        ("河流：澜江；湘江", [], 1),
        ("出生地：王明", [], 1),
        ("出生地：王明，，", [], 1),
        ("成立：，机构=甲", [], 1),
        ("人物：王明；；李雪", ["王明", "李雪"], 1),
        ('{"人物": ["王明"]}', [], 1),
        ("人物：🙂；\\", ["🙂", "\\"], 0),
    ],
)
def test_what_cannot_be_read_is_counted(zh, answer, entities, unreadable):
    parsed = parse_answer(answer, zh)
    assert [name for _, name in parsed.entities] == entities
    assert parsed.unreadable == unreadable
    assert not parsed.relations and not parsed.events


def test_an_event_keeps_the_arguments_that_can_be_read(zh):
    parsed = parse_answer("成立: 创办, 机构=甲公司, 地点=乙城, 创始人", zh)
    assert parsed.events == (NamedEvent("成立", "创办", (("机构", "甲公司"),)),)
    assert parsed.unreadable == 2
