"""`hanlin tokenizer compare`: tables, one JSON document, a plot, wrong input with exit codes."""

import json

import pytest

from hanlin.cli.main import run_command


@pytest.fixture
def hanlin(capsys):
    def run(*arguments):
        code = run_command(["tokenizer", "compare", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def texts(tmp_path, english, chinese):
    zh, en = tmp_path / "zh.txt", tmp_path / "en.txt"
    zh.write_text("\n".join(chinese), encoding="utf-8")
    en.write_text("\n".join([*english, "a ▁ is lost"]), encoding="utf-8")
    return zh, en


def test_tables_for_people(hanlin, base_folder, tmp_path, texts):
    code, stdout, _ = hanlin(base_folder, base_folder / "tokenizer.model", "--text", *texts)
    assert code == 0
    lines = stdout.splitlines()
    assert lines[0].split()[:4] == ["text", "language", "tokenizer", "characters"]
    assert lines[2].split()[:3] == ["zh.txt", "Han", "tokenizer"]
    assert "exact" in lines[2] and "1 of 10 differ" in lines[4]
    assert lines[3].endswith("none")
    assert f"the first text that does not come back is {texts[1]}:10" in stdout


def test_json_and_a_plot(hanlin, base_folder, tmp_path, texts):
    pytest.importorskip("matplotlib")
    plot = tmp_path / "p.png"
    code, stdout, stderr = hanlin(base_folder, "--text", *texts, "--plot", plot, "--json")
    value = json.loads(stdout)
    assert code == 0 and stderr == "" and value["plot"] == str(plot)
    assert [row["language"] for row in value["languages"]] == ["Han", "Latin"]
    assert value["inputs"][0]["size_bytes"] == texts[0].stat().st_size
    assert plot.read_bytes().startswith(b"\x89PNG")
    code, stdout, stderr = hanlin(base_folder, "--text", *texts, "--plot", plot)
    assert code == 4 and stdout == "" and "exists already" in stderr
    assert hanlin(base_folder, "--text", *texts, "--plot", plot, "--force")[0] == 0


def test_no_tokenizer(hanlin, tmp_path, texts):
    code, stdout, stderr = hanlin(texts[0], "--text", texts[1])
    assert code == 4 and stdout == "" and "is no tokenizer" in stderr and "fix:" in stderr
    code, _, stderr = hanlin(tmp_path / "gone", "--text", texts[1])
    assert code == 4 and "does not exist" in stderr


def test_a_corpus_that_is_not_utf8(hanlin, base_folder, tmp_path):
    file = tmp_path / "gbk.txt"
    file.write_bytes("河流穿过古城\n".encode("gbk") * 2 + b"good\n" * 8)
    code, stdout, stderr = hanlin(base_folder, "--text", file)
    assert code == 4 and stdout == ""
    assert "2 of 10 rows are bad" in stderr and "line 1: not UTF-8" in stderr
    code, stdout, _ = hanlin(base_folder, "--text", file, "--max-bad-rows", 0.2)
    assert code == 0 and "Latin" in stdout


def test_the_same_twice(hanlin, base_folder, texts):
    code, _, stderr = hanlin(base_folder, base_folder, "--text", texts[0])
    assert code == 2 and "is given twice" in stderr and "fix:" in stderr
