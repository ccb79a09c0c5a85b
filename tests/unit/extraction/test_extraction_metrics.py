"""Is F1 strict, micro-averaged and comparable to the reference?"""

import dataclasses

import pytest

from hanlin.core.errors import InputError
from hanlin.extraction.facts import Event, Extraction, Mention, Relation
from hanlin.extraction.metrics import f1, matched


def extraction(id_, *names, text="a b c d"):
    return Extraction(id_, text, "en", tuple(Mention(n, "T", status="missing") for n in names))


def test_gold_scores_one_against_itself(example):
    scores = f1([example], [example])
    assert {name: (s.f1, s.low, s.high) for name, s in scores.items()} == {
        name: (1.0, 1.0, 1.0) for name in ("entities", "relations", "events", "overall")
    }
    assert [scores[name].gold for name in scores] == [3, 1, 3, 7]


def test_counts_are_summed_over_texts():
    gold = [extraction("1", "a", "b"), extraction("2", "c")]
    found = [extraction("1", "a", "x", "y"), extraction("2")]
    score = f1(gold, found)["entities"]
    assert (score.correct, score.predicted, score.gold) == (1, 3, 3)
    assert score.f1 == score.precision == score.recall == pytest.approx(1 / 3)
    assert score.low <= score.f1 <= score.high


def test_items_are_counted_as_often_as_they_come():
    score = f1([extraction("1", "a", "a")], [extraction("1", "a", "a", "a")])["entities"]
    assert (score.correct, score.predicted, score.gold) == (2, 3, 2)


def test_every_string_must_be_right(example):
    for wrong in (
        dataclasses.replace(example, relations=(Relation("出生地", 1, 0),)),
        dataclasses.replace(example, relations=(Relation("任职", 0, 1),)),
    ):
        assert f1([example], [wrong])["relations"].f1 == 0
    trigger = example.events[0].trigger
    event = Event("成立", trigger, (("创始人", 2), ("机构", 2)))
    score = f1([example], [dataclasses.replace(example, events=(event,))])["events"]
    assert (score.correct, score.predicted, score.gold) == (2, 3, 3)


def test_mentions_without_type_are_no_entities():
    found = Extraction("1", "a", "en", (Mention("a", "", 0, 1),))
    assert f1([extraction("1")], [found])["entities"].predicted == 0


def test_nothing_to_find_and_nothing_found_is_right():
    assert f1([extraction("1")], [extraction("1")])["overall"].f1 == 1
    assert f1([], [])["overall"].f1 == 1
    assert f1([extraction("1", "a")], [extraction("1")])["overall"].f1 == 0


def test_intervals_depend_on_the_seed_only():
    gold = [extraction(str(i), "a", "b") for i in range(20)]
    found = [extraction(str(i), "a", "b" if i % 3 else "x") for i in range(20)]
    assert f1(gold, found, seed=1) == f1(gold, found, seed=1)
    assert f1(gold, found, seed=1, samples=7) != f1(gold, found, seed=2, samples=7)
    score = f1(gold, found)["entities"]
    assert 0.6 < score.low < score.f1 < score.high < 1


def test_predictions_are_matched_by_id():
    gold = [extraction("1", "a"), extraction("2", "b")]
    assert matched(gold, [gold[1]]) == [Extraction("1", "a b c d", "en"), gold[1]]
    with pytest.raises(InputError, match="the id '2' twice"):
        matched(gold, [gold[1], gold[1]])
    with pytest.raises(InputError, match="'3' belongs to no gold text"):
        matched(gold, [extraction("3", "a")])
    with pytest.raises(InputError, match="'1' belongs to no gold text"):
        matched(gold, [extraction("1", "a", text="other")])
