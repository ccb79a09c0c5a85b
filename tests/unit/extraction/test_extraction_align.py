"""Are names found where they stand, with an honest status?"""

from hanlin.extraction.align import align
from hanlin.extraction.parse import NamedEvent, NamedRelation, Parsed, parse_answer
from hanlin.extraction.prompt import format_answer


def places(found):
    return [(m.text, m.start, m.end, m.status) for m in found.entities]


def test_gold_answers_give_back_the_gold_spans(example, zh):
    parsed = parse_answer(format_answer(example, zh), zh)
    assert align(parsed, example.text, id="1", language="zh") == example


def test_width_is_folded_only_where_nothing_fits_exactly():
    text = "ＡＢＣ公司和ABC公司"
    found = align(Parsed((("公司", "ABC公司"), ("公司", "Ａ")), ()), text)
    assert places(found) == [("ABC公司", 6, 11, "exact"), ("Ａ", 0, 1, "exact")]
    found = align(Parsed((("公司", "ABC公司"),)), "在ＡＢＣ公司。")
    assert places(found) == [("ＡＢＣ公司", 1, 6, "folded")]


def test_what_is_not_in_the_text_is_missing():
    found = align(Parsed((("人物", "李雪"),)), "王明来了。🙂")
    assert places(found) == [("李雪", None, None, "missing")]


def test_a_name_listed_twice_gets_both_places_and_then_none():
    found = align(Parsed((("人物", "王明"),) * 3), "王明见到王明。")
    assert places(found) == [
        ("王明", 0, 2, "exact"),
        ("王明", 4, 6, "exact"),
        ("王明", None, None, "missing"),
    ]


def test_a_short_name_is_not_found_inside_a_longer_one():
    found = align(Parsed((("人物", "张三"), ("人物", "张三丰"))), "张三丰认识张三。")
    assert places(found) == [("张三", 5, 7, "exact"), ("张三丰", 0, 3, "exact")]


def test_arguments_that_are_no_entities_become_mentions_without_type():
    parsed = Parsed(
        (("人物", "王明"),),
        (NamedRelation("出生地", "王明", "青石镇"),),
        (NamedEvent("成立", "创办", (("机构", "青石镇"),)),),
    )
    found = align(parsed, "王明在青石镇创办公司")
    assert [(m.text, m.type) for m in found.entities] == [("王明", "人物"), ("青石镇", "")]
    assert (found.relations[0].head, found.relations[0].tail) == (0, 1)
    assert found.events[0].arguments == (("机构", 1),)
    assert found.events[0].trigger.start == 6


def test_an_empty_answer_or_text_gives_nothing():
    assert align(Parsed(), "").entities == ()
    assert align(Parsed((("人物", "王明"),)), "").entities[0].status == "missing"
