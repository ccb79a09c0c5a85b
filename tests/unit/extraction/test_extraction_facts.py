"""Are rows read with their spans checked, and written as they were read?"""

import json

import pytest

from hanlin.core.errors import ConfigError, InputError
from hanlin.data.readers import BadRows
from hanlin.extraction.facts import from_row, read_extractions, to_row
from hanlin.extraction.html import entity_types, fragment, page
from hanlin.extraction.texts import read_texts


def test_a_row_is_written_as_it_was_read(example):
    row = json.loads(json.dumps(to_row(example), ensure_ascii=False))
    assert from_row(row) == example


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"entities": [{"text": "李雪", "type": "人物", "start": 0, "end": 2}]}, "not '李雪'"),
        ({"entities": [{"text": "", "type": "人物", "start": 0, "end": 0}]}, "not ''"),
        ({"entities": [], "relations": [{"type": "x", "head": 0, "tail": 1}]}, "no index"),
        ({"text": 3}, "expected text"),
        ({"relations": [{"type": "x"}]}, "no key 'head'"),
        ({"events": ["x"]}, "indices"),
        ({"entities": None}, "not iterable"),
    ],
)
def test_a_wrong_row_is_counted_with_its_reason(tmp_path, example, change, reason):
    path = tmp_path / "rows.jsonl"
    rows = [to_row(example), {**to_row(example), **change}]
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    bad = BadRows(0.5)
    assert [one.id for one in read_extractions(path, bad=bad)] == ["1"]
    assert (bad.rows[0].line, reason in bad.rows[0].reason) == (2, True), bad.rows
    with pytest.raises(InputError, match="1 of 2 rows cannot be used"):
        list(read_extractions(path))


def test_html_marks_the_spans_and_escapes_everything(example):
    html = fragment(example, types=entity_types([example]))
    assert '<mark class="type0" style="--type:0">王明华<small>人物</small></mark>出生在' in html
    assert "王明华 → 出生地 → 青石镇" in html
    assert "成立 (创办) 机构: 宏远公司; 创始人: 王明华" in html
    row = {
        "text": "<b>&", "language": '"><script>',
        "entities": [{"text": "<b>", "type": "<i>", "start": 0, "end": 3},
                     {"text": "<u>", "type": "<i>", "start": None}],
    }  # fmt: skip
    html = page([from_row(row)], title="<title>")
    for tag in ("<b>", "<i>", "<u>", "<script>", "<title><"):
        assert tag not in html
    assert "&lt;u&gt; (&lt;i&gt;): not in the text" in html


def test_html_shows_every_character_once_where_spans_overlap():
    row = {
        "text": "张三丰",
        "entities": [{"text": "三丰", "type": "a", "start": 1, "end": 3},
                     {"text": "张三", "type": "a", "start": 0, "end": 2}],
    }  # fmt: skip
    assert '<p><mark class="type0" style="--type:0">张三<small>a</small></mark>丰</p>' in fragment(
        from_row(row), types=["a"]
    )


def test_texts_come_from_lines_or_rows(tmp_path, zh, en):
    lines = tmp_path / "texts.txt"
    lines.write_text("\ufeff今天。\n\n 明天🙂 \n", encoding="utf-8")
    texts = read_texts(lines, schemas={"zh": zh}, language=None)
    assert [(t.id, t.text, t.language) for t in texts] == [
        ("1", "今天。", "zh"),
        ("3", "明天🙂", "zh"),
    ]
    rows = tmp_path / "texts.jsonl"
    rows.write_text(
        '{"text": "今天", "language": "zh", "id": "a"}\n{"text": "Today"}\n', encoding="utf-8"
    )
    texts = read_texts(rows, schemas={"zh": zh, "en": en}, language="en")
    assert [(t.id, t.language) for t in texts] == [("a", "zh"), ("2", "en")]
    with pytest.raises(ConfigError, match="a text has no language"):
        read_texts(rows, schemas={"zh": zh, "en": en}, language=None)


def test_texts_that_cannot_be_read_are_refused(tmp_path, zh):
    path = tmp_path / "texts.txt"
    with pytest.raises(InputError, match="does not exist"):
        read_texts(path, schemas={"zh": zh}, language=None)
    path.write_text("\n \n", encoding="utf-8")
    with pytest.raises(InputError, match="is empty"):
        read_texts(path, schemas={"zh": zh}, language=None)
    path.write_bytes("今天".encode("gb18030"))
    with pytest.raises(InputError, match="not UTF-8 text") as caught:
        read_texts(path, schemas={"zh": zh}, language=None)
    assert "iconv" in str(caught.value)
