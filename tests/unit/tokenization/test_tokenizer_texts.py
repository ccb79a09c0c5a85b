import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanlin.core.errors import InputError
from hanlin.tokenization.texts import Text, lines_of, read_many, read_texts, sample


def test_rows_of_jsonl_with_and_without_a_language(tmp_path):
    rows = [{"text": "河流\n长", "language": "zh"}, {"text": "river"}, {"text": "", "language": 3}]
    file = tmp_path / "a.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n", encoding="utf-8")
    assert list(read_texts(file)) == [Text("河流\n长", "zh"), Text("river"), Text("")]


def test_lines_of_plain_text(tmp_path):
    file = tmp_path / "a.txt"
    file.write_bytes("one\r\n\n 河流 \n".encode())
    assert [row.text for row in read_texts(file)] == ["one", " 河流 "]


def test_few_bad_rows_are_left_out_and_told(tmp_path, caplog):
    file = tmp_path / "a.jsonl"
    rows = ['{"text": "x"}'] * 98 + ["{broken", '{"text": "\\ud800"}']
    file.write_text("\n".join(rows), encoding="utf-8")
    assert len(list(read_texts(file, max_bad_rows=0.02))) == 98
    assert "2 of 100 rows were left out: line 99" in caplog.text
    assert "line 100" in caplog.text


def test_many_bad_rows_stop(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"text": "x"}\n{"title": "x"}\n\xff\xfe\n{"text": 3}\n[]\n')
    with pytest.raises(InputError, match="4 of 5 rows are bad") as caught:
        list(read_texts(file))
    assert 'line 2: no "text" in the row; line 3: not UTF-8' in caught.value.why
    assert "and 1 more" in caught.value.why
    assert "max_bad_rows" in caught.value.fix


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(InputError, match=r"gone\.txt does not exist"):
        list(read_texts(tmp_path / "gone.txt"))
    with pytest.raises(InputError, match="is a folder, not a text file"):
        list(read_texts(tmp_path))


def test_reasons_of_many_bad_rows_are_not_all_kept(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text("[]\n" * 5000)
    with pytest.raises(InputError, match="5000 of 5000 rows are bad") as caught:
        list(read_texts(file))
    assert caught.value.why.endswith("and 4997 more; the limit is 1.0%")


def test_invalid_utf8_is_told_by_line(tmp_path):
    file = tmp_path / "a.txt"
    file.write_bytes("好\n".encode() + "坏\n".encode("gb18030"))
    with pytest.raises(InputError, match="1 of 2 rows are bad") as caught:
        list(read_texts(file))
    assert "line 2: not UTF-8" in caught.value.why


def test_many_files_tell_how_far_they_are(tmp_path):
    files = [tmp_path / "a.txt", tmp_path / "b.txt"]
    for file in files:
        file.write_text(("x" * 999 + "\n") * 5000)
    told = []
    texts = list(read_many(files, progress=lambda *args: told.append(args)))
    assert len(texts) == 10_000
    assert told and all(done <= total == 10_000_000 for done, total, _ in told)
    assert told[-1][2].endswith("MB of text read")


def test_lines_are_short_and_not_empty():
    parts = list(lines_of(["a\n\n  \nb\r\n" + "河" * 2500]))
    assert parts == ["a", "b", "河" * 1000, "河" * 1000, "河" * 500]


@given(count=st.integers(0, 60), most=st.integers(1, 40), seed=st.integers(0, 9))
def test_a_sample_keeps_the_order_and_the_limit(count, most, seed):
    lines = [str(i) for i in range(count)]
    kept = sample(iter(lines), most=most, seed=seed)
    assert kept == sorted(set(kept), key=int) and len(kept) == min(count, most)
    assert kept == sample(iter(lines), most=most, seed=seed)
    assert sum(map(len, sample(lines, most=most, seed=seed, size=len))) <= most


def test_a_sample_is_even():
    lines = [str(i) for i in range(10)]
    counts = Counter(line for seed in range(600) for line in sample(lines, most=3, seed=seed))
    assert all(120 < counts[line] < 240 for line in lines)  # 180 each, give or take
