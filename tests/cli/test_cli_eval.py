"""`hanlin eval`: scores to a file, one JSON document, files side by side."""

import json

import pytest

from hanlin.models.tiny import make_tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("eval")
    make_tiny(folder / "base", seed=0)
    make_tiny(folder / "tuned", seed=1)
    rows = [
        {"id": f"q{n}", "question": f"问题{n}？", "options": ["甲", "乙", "丙", "丁"],
         "answer": n % 4, "subject": "s", "language": "zh"}
        for n in range(8)
    ]  # fmt: skip
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    (folder / "questions.jsonl").write_text("".join(lines))
    return folder


def measure(hanlin, folder, model, out, *more):
    data = folder / "questions.jsonl"
    return hanlin(
        "run", folder / model, "--benchmark", "questions", "--data", data, "--out", out, *more
    )


def test_run_writes_scores_and_records(hanlin, folder, tmp_path):
    out = tmp_path / "base.json"
    code, stdout, _ = measure(hanlin, folder, "base", out, "--json", "--limit", "4")
    assert code == 0
    written = json.loads(out.read_text())
    assert len(written["records"]) == 4
    assert (written["settings"]["data"], written["settings"]["limit"]) == ("questions.jsonl", 4)
    printed = json.loads(stdout)
    assert printed == {key: written[key] for key in ("version", "models", "rows")}
    assert printed["models"] == ["base"]
    assert printed["rows"][0]["scores"]["base"]["n"] == 4


def test_nothing_is_overwritten_unless_asked_for(hanlin, folder, tmp_path):
    out = tmp_path / "base.json"
    assert measure(hanlin, folder, "base", out)[0] == 0
    first = out.read_bytes()
    code, stdout, stderr = measure(hanlin, folder, "tuned", out)
    assert (code, stdout) == (4, "")
    assert "exists already" in stderr
    assert out.read_bytes() == first
    assert measure(hanlin, folder, "base", out, "--force")[0] == 0
    assert out.read_bytes() == first


def test_compare_puts_files_side_by_side(hanlin, folder, tmp_path):
    for model in ("base", "tuned"):
        measure(hanlin, folder, model, tmp_path / f"{model}.json", "--name", "m")
    files = [tmp_path / "base.json", tmp_path / "tuned.json"]
    code, stdout, _ = hanlin("compare", *files)
    assert code == 0
    header, _, line, _, *paired = stdout.splitlines()
    assert paired[0].split() == ["paired", "benchmark", "n", "difference", "McNemar", "p"]
    assert header.split()[:5] == ["benchmark", "language", "metric", "better", "chance"]
    assert "base: m" in header and "tuned: m" in header
    assert line.split()[:5] == ["questions", "zh", "accuracy", "higher", "0.250"]
    assert line.count("n=8") == 2
    code, stdout, _ = hanlin("compare", *files, "--json")
    assert set(json.loads(stdout)["models"]) == {"base: m", "tuned: m"}
    assert json.loads(stdout)["paired"][0]["n"] == 8


def test_compare_reads_the_scores_of_a_run(hanlin, tmp_path):
    row = {
        "benchmark": "b", "label": "Bits", "language": "en", "metric": "bits_per_byte",
        "higher_is_better": False, "chance": None,
        "scores": {"before": {"value": 2, "low": 1, "high": 3, "n": 5}, "after": None},
    }  # fmt: skip
    content = {"version": 1, "models": ["before", "after"], "rows": [row]}
    (tmp_path / "scores.json").write_text(json.dumps(content))
    code, stdout, _ = hanlin("compare", tmp_path / "scores.json")
    assert code == 0
    assert stdout.splitlines()[0].split()[-2:] == ["before", "after"]
    assert "2.000 [1.000, 3.000] n=5" in stdout


def test_compare_refuses_other_files(hanlin, tmp_path):
    (tmp_path / "x.json").write_text("[1]")
    code, _, stderr = hanlin("compare", tmp_path / "x.json")
    assert code == 4
    assert "holds no scores" in stderr


def test_list_names_every_benchmark(hanlin):
    code, stdout, _ = hanlin("list", "--json")
    assert code == 0
    names = [entry["name"] for entry in json.loads(stdout)]
    assert names == ["questions", "ceval", "cmmlu", "mmlu", "m3ke", "xiezhi", "agieval",
                     "gaokao", "bits-per-byte", "extraction",
                     "tokens-per-character"]  # fmt: skip
    assert "its folder, with dev/ and val/" in hanlin("list")[1]


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--metric", "f2"], 2, "metric"),
        (["--limit", "0"], 2, "limit"),
        (["--shots", "2"], 2, "leave shots out"),
        (["--prompt", "plane"], 2, "did you mean 'plain'"),
        (["--protocol", "guess"], 2, "'guess' is not one of"),
    ],
)
def test_wrong_options(hanlin, folder, tmp_path, more, code, message):
    found, _, stderr = measure(hanlin, folder, "base", tmp_path / "out.json", *more)
    assert found == code
    assert message in stderr
    assert not (tmp_path / "out.json").exists()


def test_unknown_benchmark_and_missing_data(hanlin, folder, tmp_path):
    arguments = ["run", folder / "base", "--out", tmp_path / "out.json", "--data"]
    code, _, stderr = hanlin(*arguments, tmp_path / "nothing", "--benchmark", "questions")
    assert code == 4
    assert "nothing does not exist" in stderr
    code, _, stderr = hanlin(*arguments, folder, "--benchmark", "cevaal")
    assert code == 2
    assert "did you mean 'ceval'" in stderr


@pytest.mark.real_data
def test_real_exams_run_through(hanlin, folder, real_data, tmp_path):
    for name in ("ceval", "cmmlu", "mmlu"):
        code, stdout, _ = hanlin(
            "run", folder / "base", "--benchmark", name, "--data", real_data / "eval" / name,
            "--limit", 30, "--shots", 1, "--out", tmp_path / f"{name}.json", "--json",
        )  # fmt: skip
        assert code == 0
        row = json.loads(stdout)["rows"][0]
        assert (row["metric"], row["chance"]) == ("accuracy", 0.25)
        assert row["scores"]["base"]["n"] == 30
