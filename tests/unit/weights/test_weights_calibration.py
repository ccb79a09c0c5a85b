"""Which rows calibrate, which are held out, and what is refused."""

import json

import pytest

from hanlin.core.errors import InputError
from hanlin.weights.calibration import read_calibration, read_probe


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


@pytest.fixture
def file(tmp_path):
    return write_rows(tmp_path / "texts.jsonl", [{"text": f"第{i}行 row"} for i in range(40)])


def test_one_row_in_five_is_held_out(file):
    found = read_calibration(file, rows=1000)
    assert found.held_out == tuple(f"第{i}行 row" for i in range(0, 40, 5))
    assert len(found.calibration) == 32
    assert not set(found.held_out) & set(found.calibration)


def test_fewer_rows_are_spread_over_the_file(file):
    found = read_calibration(file, rows=8)
    assert len(found.calibration) == 8
    assert found.calibration[0] == "第1行 row" and found.calibration[-1] == "第36行 row"


def test_conversations_are_texts_too(tmp_path):
    rows = [{"instruction": f"问{i}", "input": "", "output": "答"} for i in range(10)]
    found = read_calibration(write_rows(tmp_path / "chat.jsonl", rows), rows=9)
    assert found.held_out == ("问0\n答", "问5\n答")


def test_probe_is_cut_by_bytes(file):
    assert read_probe(file, max_bytes=30) == ["第0行 row", "第1行 row"]
    assert read_probe(file, max_bytes=6) == ["第0"]  # never half a character


def test_too_few_rows(tmp_path):
    with pytest.raises(InputError, match="has 3 rows with text, at least 10 are needed") as caught:
        read_calibration(write_rows(tmp_path / "few.jsonl", [{"text": "x"}] * 3), rows=5)
    assert "held out" in caught.value.why


def test_no_text(tmp_path):
    with pytest.raises(InputError, match="there is no text in"):
        read_probe(write_rows(tmp_path / "empty.jsonl", [{"text": " "}]))
    with pytest.raises(InputError, match="does not exist"):
        read_probe(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="no text: expected"):
        read_probe(write_rows(tmp_path / "numbers.jsonl", [{"a": 1}] * 9))
