"""By which step is a name found, and is nothing found where nothing is meant?"""

import pytest

from hanlin.core.errors import MissingExtraError
from hanlin.extraction.align import align
from hanlin.extraction.ground import Ground, fold_script, is_bordered
from hanlin.extraction.parse import Parsed


def places(text, name, until="fuzzy"):
    found, status = Ground(text, until=until).places(name)
    return [text[start:end] for start, end in found], status


@pytest.mark.parametrize(
    ("text", "name", "found", "status"),
    [
        ("王明在青石镇。王明！", "王明", ["王明", "王明"], "exact"),
        ("在ＡＢＣ公司。", "ABC公司", ["ＡＢＣ公司"], "folded"),
        ("在ABC公司。", "ＡＢＣ公司", ["ABC公司"], "folded"),
        ("臺灣的鐘點", "台湾", ["臺灣"], "script"),
        ("台湾的钟点", "臺灣", ["台湾"], "script"),
        ("乾隆皇帝", "干隆", ["乾隆"], "script"),
        ("钜盛华", "鉅盛華", ["钜盛华"], "script"),
        ("The ACME  Corp., founded", "Acme Corp", ["ACME  Corp"], "fuzzy"),
        ("“山 东·省”政府", "山东省", ["山 东·省"], "fuzzy"),
        ("王明华创办了宏远科技公司。", "宏远科枝公司", ["宏远科技公司"], "fuzzy"),
        ("He met Dr. Jonathan Millar there", "Jonathan Miller", ["Jonathan Millar"], "fuzzy"),
        ("🙂王明🙂", "🙂", ["🙂", "🙂"], "exact"),
    ],
)
def test_a_name_is_found_by_the_first_step_that_can(text, name, found, status):
    assert places(text, name) == (found, status)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("王刚来了。", "王明"),  # half of a short name is another name
        ("王小明来了。", "王小刚"),
        ("", "王明"),
        ("王明", ""),
        ("今天", "。，"),
        ("宏远", "宏远公司有限责任"),
    ],
)
def test_another_name_is_not_found(text, name):
    assert places(text, name) == ([], "missing")


def test_later_steps_are_left_out_on_wish():
    assert places("臺灣", "台湾", until="folded") == ([], "missing")
    assert places("ＡＢ", "AB", until="exact") == ([], "missing")
    assert places("ACME Corp", "Acme Corp", until="script") == ([], "missing")


def test_folding_the_script_keeps_lengths():
    text = "乾隆發展頭髮裡面後來 Ab１🙂\u3000"
    assert len(fold_script(text)) == len(text)


def test_whole_latin_words_come_first():
    assert not is_bordered("party", 0, 3) and is_bordered("art, a", 0, 3)
    (mention,) = align(Parsed((("x", "art"),)), "part of art").entities
    assert (mention.start, mention.end) == (8, 11)
    (mention,) = align(Parsed((("x", "2019"),)), "120190于2019年").entities
    assert mention.start == 7


def test_a_span_that_the_answer_gives_is_taken_where_the_name_stands_there():
    text = "王明见到王明。"
    right = align(Parsed((("人物", "王明"),), spans=((4, 6),)), text).entities[0]
    wrong = align(Parsed((("人物", "王明"),), spans=((3, 5),)), text).entities[0]
    assert (right.start, wrong.start) == (4, 0)


def test_two_writings_of_a_name_get_a_place_each():
    found = align(
        Parsed((("x", "汽车之家"), ("x", "汽車之家"))), "汽车之家与汽车之家", until="script"
    )
    assert [m.start for m in found.entities] == [0, 5]


def test_a_package_that_is_missing_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "rapidfuzz", None)
    with pytest.raises(MissingExtraError, match=r"needs the package 'rapidfuzz'") as caught:
        Ground("王明", until="fuzzy")
    assert 'pip install "hanlin[extract]"' in str(caught.value)
