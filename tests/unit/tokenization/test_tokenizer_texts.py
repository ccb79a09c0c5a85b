import json

import pytest

from hanlin.core.errors import InputError
from hanlin.tokenization.texts import Text, read_all, read_texts


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


def test_files_without_text_are_refused(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("\n \n")
    with pytest.raises(InputError, match="there is no text in"):
        read_all([file])
    assert read_all([]) == []


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(InputError, match=r"gone\.txt does not exist"):
        read_all([tmp_path / "gone.txt"])
    with pytest.raises(InputError, match="is a folder, not a text file"):
        read_all([tmp_path])
