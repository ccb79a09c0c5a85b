"""Which mentions, links and facts does a graph give a text? Chinese, English, dates, quantities."""

import json

import pytest

from hanlin.extraction.knowledge.index import build
from hanlin.extraction.knowledge.items import Fact, Kind, Name, Signature
from hanlin.extraction.knowledge.link import Linker
from hanlin.extraction.knowledge.mentions import MentionFinder
from hanlin.extraction.knowledge.rules import Rules
from hanlin.extraction.knowledge.sources import read_graph
from hanlin.extraction.knowledge.values import find_values, says_date, says_quantity

pytest.importorskip("ahocorasick_rs")


def names_of(aliases, text):
    (hits,) = MentionFinder(aliases).find([text])
    return [text[start:end] for _, start, end in hits]


def test_the_longest_name_wins_and_words_have_borders():
    aliases = ["New York", "York", "New York City", "Art", "北京", "北京大学", "大学生"]
    assert names_of(aliases, "New Yorkers in New York City, York") == ["New York City", "York"]
    assert names_of(aliases, "Arthur's Art—Art，北京大学生") == ["Art", "Art", "北京大学"]
    assert names_of(aliases, "") == []
    assert names_of([], "Art") == []


def test_latin_names_stand_free_in_chinese_text():
    assert names_of(["IBM", "AI"], "他在IBM工作，研究AI，不是AIX") == ["IBM", "AI"]
    assert names_of(["IBM"], "ＩＢＭ公司") == ["ＩＢＭ"]


def test_an_alias_that_ends_inside_of_a_word_hides_none():
    aliases = ["American Rev", "American", "Revolution War", "War of In", "of Independence", "of"]
    assert names_of(aliases, "American Revolution War of Independence") == [
        "American", "Revolution War", "of Independence",
    ]  # fmt: skip
    assert names_of(aliases, "War of Inns, American Revolution") == ["of", "American"]


def test_of_full_width_characters_only_letters_and_digits_are_folded():
    assert names_of(["甲，乙", "IBM"], "ＩＢＭ和甲，乙") == ["ＩＢＭ", "甲，乙"]


def test_half_of_a_pair_of_code_units_is_no_letter():
    assert names_of(["York"], "\ud800York \udfff York") == ["York", "York"]


def test_a_number_is_not_a_part_of_another():
    assert names_of(["871", "1871"], "1,871 and 3.871 and 18710 but 871, 1871年") == ["871", "1871"]


def test_places_are_right_behind_characters_of_any_width():
    text = "🙂é中𠀀 Zürich–Paris “York”"
    (hits,) = MentionFinder(["Zürich", "Paris", "York", "𠀀"]).find([text])
    assert [text[s:e] for _, s, e in hits] == ["𠀀", "Zürich", "Paris", "York"]
    first, second = MentionFinder(["York"]).find(["York", "in York"])
    assert [(s, e) for _, s, e in first + second] == [(0, 4), (3, 7)]


GRAPH = [
    *(Kind(p, "person") for p in ("ada", "ada2")),
    *(Kind(t, "town") for t in ("paris", "paris-tx")),
    Kind("texas", "state"), Kind("france", "country"), Kind("works", "company"),
    Name("ada", "Ada Brook"), Name("ada", "Brook"),
    Name("ada2", "Eve Brook"), Name("ada2", "Brook"),
    Name("paris", "Paris"), Name("paris-tx", "Paris"), Name("texas", "Texas"),
    Name("france", "France"), Name("works", "Brook Works"),
    Fact("ada", "born_in", "paris"), Fact("ada2", "born_in", "paris-tx"),
    Fact("paris", "in", "france"), Fact("paris-tx", "in", "texas"), Fact("works", "founder", "ada"),
    Fact("ada", "born_on", "1963-03-13"), Fact("works", "made", "12000 t"),
    Fact("works", "color", "blue", "text"), Name("t", "tons"), Name("t", "吨"),
    Signature("founder", inverse="founded"),
]  # fmt: skip


@pytest.fixture(scope="module")
def index():
    return build(GRAPH)


def facts_of(index, text, **rules):
    linker = Linker(index, Rules(**rules))
    (found,) = linker.annotate([text])
    names = []
    for told in found.facts:
        relation = index.relations[told.relation].id
        ends = [text[slice(*place)] for place in (told.head_place, told.tail_place)]
        if told.is_inverse:
            relation, ends = index.signatures[relation].inverse, ends[::-1]
        names.append((ends[0], relation, ends[1]))
    return names, found


def test_facts_come_with_places_and_evidence(index):
    text = "It rained. Ada Brook was born in Paris. She liked it."
    names, found = facts_of(index, text)
    assert names == [("Ada Brook", "born_in", "Paris")]
    (told,) = found.facts
    assert [text[s:e].strip() for s, e in told.evidence] == ["Ada Brook was born in Paris."]


def test_an_ambiguous_name_is_linked_by_what_else_is_there(index):
    names, _ = facts_of(index, "Paris lies in Texas, and Eve Brook was born in Paris.")
    assert ("Paris", "in", "Texas") in names and ("Eve Brook", "born_in", "Paris") in names
    names, found = facts_of(index, "Ada Brook left. Brook never came back.")
    assert [index.ids[m.node] for m in found.mentions] == ["ada", "ada"]
    _, found = facts_of(index, "Brook laughed.")
    assert [m.node for m in found.mentions] == [-1] or len(found.mentions[0].candidates) == 2


def test_dates_and_quantities_are_found_as_a_text_writes_them(index):
    for written in ("13 March 1963", "March 13, 1963", "1963-03-13", "1963年3月13日", "1963"):
        names, _ = facts_of(index, f"Ada Brook, born {written}, wrote.")
        assert names == [("Ada Brook", "born_on", written)]
    assert facts_of(index, "Ada Brook wrote in 1964.")[0] == []
    names, _ = facts_of(index, "Brook Works made 12,000 tons; its color is blue.")
    assert ("Brook Works", "made", "12,000 tons") in names
    assert ("Brook Works", "color", "blue") in names
    assert facts_of(index, "Brook Works生产1.2万吨钢。")[0] == [("Brook Works", "made", "1.2万吨")]


def test_inverse_relations_and_types_and_scope(index):
    text = "Ada Brook and Brook Works."
    names, _ = facts_of(index, text)
    assert names == [
        ("Brook Works", "founder", "Ada Brook"), ("Ada Brook", "founded", "Brook Works"),
    ]  # fmt: skip
    assert len(facts_of(index, text, inverse=False)[0]) == 1
    apart = "Paris is old. France is large."
    assert facts_of(index, apart)[0] == [("Paris", "in", "France")]
    assert facts_of(index, apart, scope="topic")[0] == [("Paris", "in", "France")]
    names, found = facts_of(index, apart, scope="sentence")
    assert names == [] and found.dropped == {"head and tail in different sentences": 1}


def test_a_pair_of_types_that_the_relation_hardly_ever_joins_is_an_error_of_the_graph():
    items = [Kind(f"p{n}", "person") for n in range(99)] + [Kind("x", "rock"), Kind("t", "town")]
    items += [Fact(f"p{n}", "born_in", "t") for n in range(99)] + [Fact("x", "born_in", "t")]
    items += [Name("t", "Town"), Name("x", "Rock"), *(Name(f"p{n}", f"P{n}") for n in range(99))]
    index = build(items)
    assert facts_of(index, "P3 and Rock, Town", least_share=0.05)[0] == [("P3", "born_in", "Town")]
    declared = build([*items, Signature("born_in", "rock", "town")])
    assert facts_of(declared, "P3 and Rock, Town")[0] == [("Rock", "born_in", "Town")]


def test_values_inside_longer_ones_are_found_where_they_belong():
    index = build([
        Kind("p", "plant"), Kind("q", "plant"), Name("p", "国槐"), Name("q", "白蜡树"),
        Fact("p", "use", "绿化", "text"), Fact("q", "use", "园林绿化", "text"),
    ])  # fmt: skip
    assert facts_of(index, "国槐用于园林绿化。")[0] == [("国槐", "use", "绿化")]


@pytest.mark.parametrize(
    ("text", "date"),
    [("在1963年3月", "1963-03"), ("on 3rd May 1999", "1999-05-03"), ("Sept. 2001", "2001-09"),
     ("2001/9/30", "2001-09-30"), ("约1963年", "1963")],
)  # fmt: skip
def test_dates_in_several_forms(text, date):
    assert [v.date for v in find_values(text) if v.date] == [date]


def test_a_text_may_say_less_of_a_date_and_never_more():
    year, *_ = [v for v in find_values("born 1963.") if v.date]
    assert says_date(year, "1963-03-13") and not says_date(year, "1964-03-13")
    day, *_ = [v for v in find_values("13 March 1963") if v.date]
    assert not says_date(day, "1963")


def test_quantities_need_their_unit():
    value = next(v for v in find_values("1,941公里长") if v.unit)
    assert says_quantity(value, "1941", ["km", "公里"]) == (0, 7)
    assert says_quantity(value, "1941", ["英里"]) is None
    assert says_quantity(value, "1940", ["公里"]) is None


@pytest.mark.real_data
def test_plants_are_told_as_people_told_them(real_data):
    texts = [
        json.loads(line)
        for line in (real_data / "ie/re/landscape_plants_dev.jsonl").open(encoding="utf-8")
    ]
    index = build(read_graph([real_data / "kg/plants_kg_zh.jsonl"]))
    right = found = wanted = 0
    annotations = Linker(index, Rules()).annotate([row["text"] for row in texts])
    for row, one in zip(texts, annotations, strict=True):
        told = {
            (row["text"][slice(*f.head_place)], index.relations[f.relation].id,
             row["text"][slice(*f.tail_place)], index.relations[f.relation].tail_type)
            for f in one.facts
        }  # fmt: skip
        gold = {
            (s["subject"], s["predicate"], s["object"], s["object_type"])
            for s in row["spo_list"]
            if s["predicate"] != "别称"
        }
        right, found, wanted = right + len(told & gold), found + len(told), wanted + len(gold)
    assert right / found > 0.97 and right / wanted > 0.95
