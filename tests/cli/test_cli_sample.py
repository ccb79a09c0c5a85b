"""`hanlin data sample`: one JSON document, tables for people, errors that say what to type."""

import json
import subprocess
import sys

import pytest


def hanlin(*arguments, cwd) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hanlin", "data", "sample", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd)


@pytest.fixture
def folder(tmp_path):
    for name, language in (("zh.jsonl", "山水"), ("en.jsonl", "hill ")):
        rows = [{"text": f"{language * 3}{chr(0x4E00 + n * 3)} word{n} {n % 4}"} for n in range(40)]
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


def test_the_summary_is_one_json_document(folder):
    done = hanlin(
        "zh.jsonl", "en.jsonl", "out.jsonl", "--n", 10, "--per-source", "zh.jsonl=3",
        "--report", "report.jsonl", "--json", cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["rows"], found["chosen"], found["report"]) == (80, 10, "report.jsonl")
    assert [source["chosen"] for source in found["sources"]] == [3, 7]
    assert 0 < found["covered"] <= 1
    assert len((folder / "out.jsonl").read_text().splitlines()) == 10
    assert len((folder / "report.jsonl").read_text().splitlines()) == 80


def test_people_get_tables(folder):
    done = hanlin("zh.jsonl", "out.jsonl", "--n", 10, "--length-buckets", 2, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "out.jsonl: 10 of 40 rows" in done.stdout
    assert "near duplicates left out: 0" in done.stdout
    assert "words covered:" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["zh.jsonl", "o.jsonl", "--n", "99"], 4, "fix: --n 40, or a higher --threshold"),
        (["none.jsonl", "o.jsonl", "--n", "9"], 4, "none.jsonl does not exist"),
        (["zh.jsonl", "o.csv", "--n", "9"], 2, "does not say how rows are written"),
        (["zh.jsonl", "o.jsonl", "--n", "9", "--per-source", "most"], 2, "NAME=COUNT"),
        (["zh.jsonl", "o.jsonl", "--n", "9", "--per-source", "x=9"], 2, "there is no source 'x'"),
        (["zh.jsonl", "--n", "9"], 2, "Missing argument"),
    ],
)
def test_mistakes_are_told_with_a_way_out(folder, arguments, code, says):
    done = hanlin(*arguments, cwd=folder)
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert not (folder / "o.jsonl").exists()
