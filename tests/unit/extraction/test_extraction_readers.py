"""Are rows of data sets read with checked spans, bad ones counted, wordings of others taken?"""

import json

import pytest

from hanlin.core.errors import ConfigError, InputError
from hanlin.data.readers import BadRows
from hanlin.extraction.formats.deepke_prompts import filled, read_templates
from hanlin.extraction.readers import read_set
from hanlin.extraction.readers.bio_tags import chunks
from hanlin.extraction.readers.detect import detect_set


def write(tmp_path, name, *rows):
    path = tmp_path / name
    text = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
    path.write_text(text + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (
            {"text": "王明来了", "label": {"name": {"王明": [[1, 2]]}}},
            r"\[1, 3\) is '明来', not '王明'",
        ),
        ({"text": "王明来了", "label": {"name": {"王明": [[-1, 1]]}}}, r"\[-1, 2\)"),
        ({"text": "王明来了", "label": 3}, "no attribute 'items'"),
        ({"text": "王明", "labels": {}}, "no key 'label'"),
        ([], "expected an object, found list"),
    ],
)
def test_a_wrong_row_is_counted_with_its_reason(tmp_path, row, reason):
    good = {"text": "王明来了", "label": {"name": {"王明": [[0, 1]]}}}
    path = write(tmp_path, "x.jsonl", good, row)
    bad = BadRows(0.5)
    (one,) = read_set(path, kind="cluener", bad=bad)
    assert (one.entities[0].start, one.entities[0].end, bad.bad) == (0, 2, 1)
    with pytest.raises(InputError, match=reason):
        list(read_set(path, kind="cluener"))


def test_chunks_are_counted_as_conlleval_does():
    tags = ["B-A", "I-A", "I-B", "O", "I-A", "B-A", "B-A", "I-A", "O"]
    assert list(chunks(tags)) == [(0, 2, "A"), (2, 3, "B"), (4, 5, "A"), (5, 6, "A"), (6, 8, "A")]


def test_tokens_are_joined_by_script(tmp_path):
    english = write(tmp_path, "en.bio", "Ada\tB-PER", "Brook\tI-PER", "came\tO", "", "x O")
    (one, _) = read_set(english, kind="bio")
    assert (one.text, one.language) == ("Ada Brook came", "en")
    assert (one.entities[0].start, one.entities[0].end) == (0, 9)
    chinese = write(tmp_path, "zh.bio", "王 B-PER", "明 I-PER", "用 O", "iPad O", "Pro O")
    (one,) = read_set(chinese)
    assert (one.text, one.language, one.entities[0].text) == ("王明用iPad Pro", "zh", "王明")


def test_rows_of_one_sentence_are_one_example(tmp_path):
    path = write(tmp_path, "x.tsv", "甲\t乙\t收购\t甲收购乙。", "乙\t甲\t被收购\t甲收购乙。",
                 "丙\t丁\tunknown\t丙和丁。")  # fmt: skip
    assert detect_set(path) == "nre-tsv"
    one, two = read_set(path)
    assert [(r.type, one.named(r.head), one.named(r.tail)) for r in one.relations] == [
        ("收购", "甲", "乙"), ("被收购", "乙", "甲"),
    ]  # fmt: skip
    assert two.relations == () and two.text == "丙和丁。"


def test_what_is_no_set_says_what_is(tmp_path):
    with pytest.raises(InputError, match="the form of no data set that is known") as caught:
        list(read_set(write(tmp_path, "x.jsonl", {"a": 1})))
    assert "CLUENER" in str(caught.value)
    with pytest.raises(InputError, match="is empty"):
        list(read_set(write(tmp_path, "y.jsonl", "")))
    with pytest.raises(InputError, match="is no file"):
        list(read_set(tmp_path / "none"))


def test_wordings_of_deepke_are_read_from_its_own_files(tmp_path, zh):
    value = {
        "zh": {
            "template": {"0": "列表：{s_schema}，格式：{s_format}。", "1": "{s_schema}{s_format}"}
        }
    }
    path = write(tmp_path, "ner_template.json", value)
    first, _ = read_templates(path, "zh")
    assert (
        filled(first, zh, "NER", form=0)
        == '列表：["人物", "城镇", "公司"]，格式：(实体,实体类型)。'
    )
    with pytest.raises(ConfigError, match="holds no templates for 'en'") as caught:
        read_templates(path, "en")
    assert "ner_template.json" in str(caught.value)
