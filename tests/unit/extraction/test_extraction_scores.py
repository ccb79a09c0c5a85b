"""Are entities, relations, triggers and arguments scored strictly, nearly, and for each type?"""

import dataclasses

import pytest

from hanlin.extraction.facts import Event, Extraction, Mention, Relation
from hanlin.extraction.scores import scores

TEXT = "王明华出生在青石镇，后来创办了宏远公司。王明华。"


def named(*items, relations=(), events=()):
    return Extraction("1", TEXT, "zh", tuple(Mention(n, t, s, s + len(n)) for n, t, s in items),
                      tuple(relations), tuple(events))  # fmt: skip


GOLD = named(("王明华", "人物", 0), ("青石镇", "城镇", 6), relations=[Relation("出生地", 0, 1)],
             events=[Event("成立", Mention("创办", "成立", 12, 14), (("创始人", 0),))])  # fmt: skip


def f1s(gold, found, **how):
    return {part: one.micro.f1 for part, one in scores([gold], [found], samples=9, **how).items()}


@pytest.mark.parametrize("match", ["text", "span", "relaxed"])
def test_gold_is_right_in_every_way(match):
    assert f1s(GOLD, GOLD, match=match) == dict.fromkeys(
        ("entities", "relations", "triggers", "arguments"), 1.0
    )


def test_ways_of_matching_differ():
    near = dataclasses.replace(
        GOLD,
        entities=(Mention("明华", "人物", 1, 3), Mention("青石镇", "城镇", 6, 9)),
        events=(Event("成立", Mention("创办了", "成立", 12, 15), (("创始人", 0),)),),
    )
    assert f1s(GOLD, near) == {"entities": 0.5, "relations": 0, "triggers": 0, "arguments": 0}
    assert f1s(GOLD, near, match="relaxed") == dict.fromkeys(f1s(GOLD, GOLD), 1.0)
    elsewhere = dataclasses.replace(
        GOLD, entities=(Mention("王明华", "人物", 20, 23), GOLD.entities[1])
    )
    assert f1s(GOLD, elsewhere)["entities"] == 1.0
    assert f1s(GOLD, elsewhere, match="span")["entities"] == 0.5
    assert f1s(GOLD, elsewhere, match="relaxed")["entities"] == 0.5


def test_without_places_one_name_holds_the_other():
    lost = named()
    lost = dataclasses.replace(lost, entities=(Mention("王明华先生", "人物", status="missing"),))
    gold = named(("王明华", "人物", 0))
    assert f1s(gold, lost, match="relaxed")["entities"] == 1.0
    assert f1s(gold, lost, match="span")["entities"] == 0.0


def test_each_item_is_matched_once_and_as_many_as_can_be():
    gold = named(("王明华", "人物", 0), ("明", "人物", 1))
    found = named(("王", "人物", 0), ("明华", "人物", 1), ("华", "人物", 2))
    score = scores([gold], [found], match="relaxed", samples=9)["entities"].micro
    assert (score.correct, score.predicted, score.gold) == (2, 3, 2)


def test_macro_is_the_mean_over_the_types_of_the_gold():
    gold = named(("王明华", "人物", 0), ("青石镇", "城镇", 6))
    found = named(("王明华", "人物", 0), ("宏远公司", "公司", 15))
    entities = scores([gold], [found], samples=9)["entities"]
    assert {name: one.f1 for name, one in entities.types.items()} == {
        "人物": 1.0, "公司": 0.0, "城镇": 0.0,
    }  # fmt: skip
    assert entities.macro == 0.5 and entities.micro.f1 == 0.5
    assert entities.micro.low <= 0.5 <= entities.micro.high


def test_parts_that_nobody_has_are_left_out():
    assert scores([named()], [named()]) == {}
    assert set(scores([named(("王明华", "人物", 0))], [named()])) == {"entities"}


def test_arguments_count_with_their_event_and_role():
    events = [Event("成立", Mention("创办", "成立", 12, 14), (("机构", 0),))]
    other = named(("王明华", "人物", 0), events=events)
    types = scores([GOLD], [other], samples=9)["arguments"].types
    assert set(types) == {"成立 / 创始人", "成立 / 机构"}
