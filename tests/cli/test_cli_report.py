"""`hanlin report RUN` and `hanlin report compare RUN RUN`."""

import json

import pytest

from hanlin.cli.main import run_command


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Two small runs below the current folder: one finished, one failed."""
    monkeypatch.chdir(tmp_path)
    for name, value in (("good", 0.9), ("bad", None)):
        stage = tmp_path / "runs" / name / "exam"
        stage.mkdir(parents=True)
        record = {"version": 1, "name": name, "seed": 3, "recipe": "r.yaml", "hanlin": "0.1.0",
                  "stages": [{"id": "exam", "stage": "evaluate"}]}  # fmt: skip
        (stage.parent / "run.json").write_text(json.dumps(record), encoding="utf-8")
        if value is None:
            failed = {"t": 1, "event": "stage_failed", "stage": "exam", "error": "no memory"}
            (stage.parent / "events.jsonl").write_text(json.dumps(failed) + "\n", encoding="utf-8")
            continue
        output = {"name": "scores", "kind": "scores", "path": "scores.json", "sha256": "ab",
                  "size_bytes": 10, "made_by": "exam"}  # fmt: skip
        done = {"id": "exam", "stage": "evaluate", "outputs": [output], "seconds": 1.5,
                "peak_bytes": 2_000_000}  # fmt: skip
        (stage / "stage.json").write_text(json.dumps(done), encoding="utf-8")
        before = {"value": 0.2, "low": 0.1, "high": 0.3, "n": 50}
        after = {"value": value, "low": 0.8, "high": 0.95, "n": 50}
        row = {"benchmark": "four", "label": "四选一 four options", "language": "zh",
               "metric": "accuracy", "higher_is_better": True, "chance": 0.25,
               "scores": {"before": before, "after": after}}  # fmt: skip
        scores = {"version": 1, "models": ["before", "after"], "rows": [row]}
        (stage / "scores.json").write_text(json.dumps(scores), encoding="utf-8")
    return tmp_path / "runs"


def test_a_run_is_shown_and_its_files_are_written(runs, capsys):
    assert run_command(["report", "runs/good"]) == 0
    out = capsys.readouterr().out
    assert "四选一 four options, Chinese, accuracy" in out
    assert "20.0 % [10.0, 30.0]" in out and "better; above chance" in out
    assert out.endswith("report: runs/good/report.html\n")
    assert sorted(path.name for path in (runs / "good").glob("report.*")) == [
        "report.html", "report.json", "report.md",
    ]  # fmt: skip


def test_one_json_document(runs, capsys):
    assert run_command(["report", "--json", "runs/good"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["name"] == "good" and document["evaluations"][0]["rows"][0]["chance"] == 0.25


def test_html_goes_where_it_is_asked_for(runs, capsys):
    assert run_command(["report", "runs/bad", "--html", "card.html"]) == 0
    assert "stage exam failed: no memory" in capsys.readouterr().out
    assert (runs.parent / "card.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert not list((runs / "bad").glob("report.*"))


def test_an_existing_file_is_kept_unless_forced(runs, capsys):
    (runs.parent / "card.html").write_text("mine", encoding="utf-8")
    assert run_command(["report", "runs/good", "--html", "card.html"]) == 4
    error = capsys.readouterr().err
    assert "error: card.html exists already" in error and "add --force" in error
    assert (runs.parent / "card.html").read_text(encoding="utf-8") == "mine"
    assert run_command(["report", "runs/good", "--html", "card.html", "--force"]) == 0


def test_compare(runs, capsys):
    command = ["report", "compare", "runs/good", "runs/bad", "--html", "difference.html"]
    assert run_command(command) == 0
    captured = capsys.readouterr()
    assert "good against bad" in captured.out and "not evaluated" in captured.out
    assert "page: difference.html" in captured.err
    assert "good against bad" in (runs.parent / "difference.html").read_text(encoding="utf-8")
    assert run_command(["report", "compare", "runs/good", "runs/bad", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["names"] == ["good", "bad"]


def test_a_wrong_folder(runs, capsys):
    assert run_command(["report", "good"]) == 4
    error = capsys.readouterr().err
    assert "error: good does not exist" in error
    assert "why: a report is made from the folder that `hanlin run` writes" in error
    assert "fix: did you mean runs/good?" in error
    assert run_command(["report", "runs"]) == 4
    assert "runs is not the folder of a run" in capsys.readouterr().err


def test_help_has_examples_that_run(runs, capsys):
    for command in (["report"], ["report", "compare"], ["report", "show"]):
        assert run_command([*command, "--help"]) == 0
        assert "Examples:" in capsys.readouterr().out
    assert run_command(["report"]) in (0, 2)
