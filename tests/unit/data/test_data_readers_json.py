"""Values of long JSON documents one by one, and where a broken one is broken."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanlin.core.errors import InputError
from hanlin.data.readers import BadRows, json_rows

VALUES = st.lists(
    st.recursive(
        st.one_of(st.integers(), st.text(max_size=5), st.booleans(), st.none()),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
        ),
        max_leaves=6,
    ),
    max_size=6,
)


def read(path):
    return list(json_rows.read_values(path, BadRows()))


@given(values=VALUES, indent=st.sampled_from([None, 1]), block=st.integers(1, 9))
def test_a_list_is_read_in_pieces_of_any_size(tmp_path_factory, values, indent, block):
    path = tmp_path_factory.mktemp("json") / "a.json"
    path.write_text(" \n" + json.dumps(values, ensure_ascii=False, indent=indent) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_rows, "BLOCK", block)
        assert [value for _, value in read(path)] == values


def test_lines_are_where_the_elements_begin(write):
    path = write("a.json", '\n[\n  {"a":\n 1},\n\n 2\n, 3]')
    assert read(path) == [(3, {"a": 1}), (6, 2), (7, 3)]


@pytest.mark.parametrize(
    ("content", "line", "why"),
    [
        ('[\n{"a": 1},\n{"a": }\n]', 3, "Expecting value"),
        ('[\n{"a": 1}\n{"a": 2}\n]', 3, "expected ',', found '{'"),
        ('[\n{"a": 1},\n{"a": 2}\n', 4, "expected ',', found ''"),
        ('{\n"a": 1,\n"b" 2}', 3, "Expecting ':' delimiter"),
    ],
)
def test_a_broken_document_names_the_line(write, content, line, why):
    path = write("a.json", content)
    with pytest.raises(InputError) as caught:
        read(path)
    assert f"{path}:{line}: this is not valid JSON" in str(caught.value)
    assert caught.value.why.startswith(why) or "no end" in caught.value.why
    assert ".jsonl" in caught.value.fix


def test_one_object_over_several_lines_is_one_value(write):
    assert read(write("a.json", '{\n "text": "x"\n}')) == [(1, {"text": "x"})]


def test_another_encoding_is_explained(write):
    path = write("a.json", b"[\n" + json.dumps("你好", ensure_ascii=False).encode("gb18030"))
    with pytest.raises(InputError) as caught:
        read(path)
    assert f"{path} is not UTF-8 text" in str(caught.value)
    assert "iconv -f GB18030 -t UTF-8" in caught.value.fix


def test_nesting_without_end_is_a_bad_row(write):
    bad = BadRows()
    path = write("a.jsonl", '{"a": 1}\n' + "[" * 100_000 + "\n")
    assert [value for _, value in json_rows.read_values(path, bad)] == [{"a": 1}]
    assert bad.rows[0].line == 2


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.txt"])
def test_a_broken_first_line_is_a_bad_row_too(write, name):
    bad = BadRows()
    path = write(name, '{"a": \n{"a": 1}\n\n{"a": 2}\n')
    assert list(json_rows.read_values(path, bad)) == [(2, {"a": 1}), (4, {"a": 2})]
    assert [row.line for row in bad.rows] == [1]


def test_elements_that_share_a_line_have_their_number(write):
    rows = [{"a": i} for i in range(4)]
    assert read(write("a.json", json.dumps(rows))) == list(enumerate(rows, 1))
    assert read(write("b.json", '[{"a": 0}, {"a": 1},\n{"a": 2}]')) == list(enumerate(rows[:3], 1))


def test_lists_on_lines_are_rows(write):
    assert read(write("a.json", '["a", "b"]\n[]\n{}\n')) == [(1, ["a", "b"]), (2, []), (3, {})]
    assert read(write("b.json", '\n\n["a"]\n\n')) == [(3, "a")]


def test_objects_that_follow_one_another_over_lines_are_rows(write):
    content = '{\n "a": 1\n}\n{\n "a": 2\n}\n'
    assert read(write("a.json", content)) == [(1, {"a": 1}), (4, {"a": 2})]


def test_what_follows_a_list_is_not_lost_in_silence(write):
    with pytest.raises(InputError) as caught:
        read(write("a.json", '[\n"a"\n]\n{"b": 1}\n'))
    assert caught.value.why == "something follows the end of the list"
    assert ":4: this is not valid JSON" in str(caught.value)
