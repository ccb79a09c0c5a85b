"""The card says what the folder holds, says what is missing, and invents nothing."""

import json
import shutil

import pytest
from report_folder import STAGES, events, scores, write_events, write_json, write_run, write_stage

from hanlin.core.errors import InputError, ResourceError
from hanlin.pipeline.report.build import build, summary, write

FILES = ("report.html", "report.json", "report.md")


def test_a_finished_run_has_everything(run_dir):
    card = build(run_dir)
    assert (card.name, card.seed, card.status, card.notes) == ("quickstart", 17, "finished", ())
    assert [stage.id for stage in card.stages] == [id_ for id_, *_ in STAGES]
    assert [stage.seconds for stage in card.stages] == [seconds for *_, seconds, _ in STAGES]
    assert card.stages[0].artifacts[0].path == "world/corpus"
    assert [(curve.stage, curve.quantity) for curve in card.curves] == [
        ("base", "loss"), ("pretrain", "loss"), ("finetune", "loss"), ("pretrain", "bits_per_byte"),
    ]  # fmt: skip
    evaluation = card.evaluations[0]
    assert (len(evaluation.rows), len(evaluation.dialogues)) == (8, 3)
    assert evaluation.extractions[0].found.relations[0].tail == "云溪镇"
    assert [check.is_ok for check in card.checks] == [True, False]
    assert card.environment["torch"] == "2.13.0"
    assert card.vocabulary == (("added", 612), ("english ids changed", 0))


def test_the_card_depends_on_the_folder_alone(run_dir, tmp_path, monkeypatch):
    moved = tmp_path / "elsewhere" / "copy"
    shutil.copytree(run_dir, moved)
    write(run_dir)
    monkeypatch.chdir(moved.parent)
    write(moved.relative_to(moved.parent))
    for name in FILES:
        assert (run_dir / name).read_bytes() == (moved / name).read_bytes()
        assert str(tmp_path) not in (run_dir / name).read_text(encoding="utf-8")


def test_files_are_written_only_when_they_change(run_dir):
    write(run_dir)
    before = {name: (run_dir / name).stat().st_mtime_ns for name in FILES}
    write(run_dir)
    assert {name: (run_dir / name).stat().st_mtime_ns for name in FILES} == before
    (run_dir / "report.md").write_text("scribbled over", encoding="utf-8")
    write(run_dir)
    assert (run_dir / "report.md").read_text(encoding="utf-8").startswith("# quickstart")
    assert (run_dir / "report.html").stat().st_mtime_ns == before["report.html"]
    assert not [path for path in run_dir.iterdir() if path.name.endswith(".part")]


def test_report_json_is_the_card(run_dir):
    card = write(run_dir)
    document = json.loads((run_dir / "report.json").read_text(encoding="utf-8"))
    assert document["version"] == 1
    assert document["stages"][1]["artifacts"][0]["sha256"] == card.stages[1].artifacts[0].sha256
    assert document["evaluations"][0]["rows"][0]["scores"]["after"]["value"] == 0.9416


def test_absolute_paths_are_shortened(run_dir):
    assert "corpus: …/zh.txt" in build(run_dir).recipe_text
    assert "somebody" not in (write(run_dir) and (run_dir / "report.html").read_text("utf-8"))


def test_an_interrupted_run(tmp_path):
    run_dir = write_run(tmp_path / "cut", until="pretrain")
    card = write(run_dir)
    states = {stage.id: stage.status for stage in card.stages}
    assert (states["tokenizer"], states["pretrain"]) == ("finished", "unfinished")
    assert (states["finetune"], card.status) == ("not run", "unfinished")
    assert "interrupted or still going on: pretrain" in card.notes
    assert "not run: finetune, evaluate, export" in card.notes
    assert "not evaluated: the run holds no scores" in card.notes
    assert any(curve.stage == "pretrain" for curve in card.curves)
    # Without an evaluation the tokenizer stage's own measure is shown.
    assert {bar.tokens_per_character for bar in card.fertility} == {0.28, 0.29, 0.71, 2.91}
    assert "Not evaluated" in (run_dir / "report.html").read_text(encoding="utf-8")


def test_a_failed_stage_says_why_without_paths(tmp_path):
    run_dir = write_run(tmp_path / "failed", until="finetune")
    error = f"{run_dir}/finetune/x.bin is damaged; /home/somebody/data/zh.txt too"
    failed = {"event": "stage_failed", "stage": "finetune", "error": error}
    write_events(run_dir, [*events("finetune"), failed])
    card = build(run_dir)
    assert card.status == "failed"
    assert "stage finetune failed: finetune/x.bin is damaged; …/zh.txt too" in card.notes


def test_a_line_cut_by_a_kill_is_passed_over(run_dir):
    write_events(run_dir, events(), tail='{"t": 1, "event": "metric", "stage": "base", "lo')
    assert build(run_dir).status == "finished"


def test_a_kill_after_the_folder_was_renamed_leaves_a_finished_stage(run_dir):
    log = [e for e in events() if (e["event"], e.get("stage")) != ("stage_finished", "export")]
    write_events(run_dir, log)
    assert build(run_dir).status == "finished"
    (run_dir / ".work" / "export").mkdir(parents=True)  # but here it is being done again
    assert build(run_dir).stages[-1].status == "unfinished"


def test_a_stage_from_the_cache(run_dir):
    log = [e for e in events() if e.get("stage") != "base"]
    write_events(run_dir, [{"t": 1, "event": "stage_cached", "stage": "base"}, *log])
    card = write(run_dir)
    assert card.stages[1].is_cached and card.stages[1].seconds == 61.25
    assert "nothing was logged in this run: base" in (run_dir / "report.md").read_text("utf-8")


def test_artifacts_are_found_by_kind_whatever_the_stages_are_called(tmp_path):
    run_dir = tmp_path / "mine"
    place = write_stage(run_dir, "evaluate", folder="exam-2")
    record = json.loads((place / "stage.json").read_text(encoding="utf-8"))
    record["id"], record["outputs"][0]["path"] = "exam-2", "results/marks.json"
    write_json(place / "stage.json", record)
    write_json(place / "results" / "marks.json", scores())
    card = write(run_dir)
    assert card.name == "mine"
    assert card.evaluations[0].stage == "exam-2" and len(card.evaluations[0].rows) == 8
    assert "run.json is missing: which stages were planned is not known" in card.notes
    assert "events.jsonl is missing or empty: no curves" in card.notes


def test_an_artifact_outside_of_its_stage_is_not_read(run_dir, tmp_path):
    write_json(tmp_path / "secret.json", scores())
    record = json.loads((run_dir / "evaluate" / "stage.json").read_text(encoding="utf-8"))
    record["outputs"][0]["path"] = "../../../secret.json"
    write_json(run_dir / "evaluate" / "stage.json", record)
    assert build(run_dir).evaluations == ()


@pytest.mark.parametrize("name", ["run.json", "world/stage.json", "evaluate/scores.json"])
def test_a_damaged_file_is_named_and_the_rest_is_shown(run_dir, name):
    (run_dir / name).write_text('{"version": 1, "rows": [', encoding="utf-8")
    card = write(run_dir)
    assert any(note.startswith(f"{name} cannot be read:") for note in card.notes)
    assert len(card.curves) == 4


def test_a_missing_scores_file_is_named(run_dir):
    (run_dir / "evaluate" / "scores.json").unlink()
    assert "evaluate/scores.json is missing" in build(run_dir).notes


def test_bad_rows_are_left_out_and_named(run_dir):
    document = scores()
    del document["rows"][0]["metric"]
    document["rows"][1]["scores"]["after"]["value"] = "a lot"
    document["rows"].append("no object")
    document["dialogues"][0]["prompt"] = {"messages": []}
    document["extractions"][0]["entities"][0] = "梅若溪"
    write_json(run_dir / "evaluate" / "scores.json", document)
    card = write(run_dir)
    evaluation = card.evaluations[0]
    counts = len(evaluation.rows), len(evaluation.dialogues), len(evaluation.extractions)
    assert counts == (6, 2, 1)
    text = "\n".join(card.notes)
    for part in ("rows 1 of scores.json", "rows 2 of scores.json", "expected an object, got str",
                 "prompt is no text but dict", "extractions 1 of scores.json"):  # fmt: skip
        assert part in text


def test_numbers_that_are_none_are_no_numbers(run_dir):
    document = scores()
    document["rows"][3]["scores"]["after"] = {"value": float("nan"), "low": None, "high": None}
    write_json(run_dir / "evaluate" / "scores.json", document)
    card = write(run_dir)
    assert card.evaluations[0].rows[3].scores["after"].value is None
    assert "no number" in (run_dir / "report.html").read_text(encoding="utf-8")
    assert "NaN" not in (run_dir / "report.json").read_text(encoding="utf-8")


def test_one_model_is_compared_with_chance_only(tmp_path):
    document = scores()
    document["models"] = ["after"]
    for row in document["rows"]:
        del row["scores"]["before"]
    run_dir = write_run(tmp_path / "one", given=document)
    text = summary(write(run_dir))
    assert "above chance" in text and "better" not in text
    assert "nothing to compare" in (run_dir / "report.html").read_text(encoding="utf-8")


def test_versions_that_changed_on_the_way_are_both_named(run_dir):
    record = json.loads((run_dir / "export" / "stage.json").read_text(encoding="utf-8"))
    record["environment"]["torch"] = "2.14.0"
    write_json(run_dir / "export" / "stage.json", record)
    assert build(run_dir).environment["torch"] == "2.13.0, then 2.14.0"


def test_settings_stand_in_for_a_recipe_that_was_not_kept(run_dir):
    (run_dir / "recipe.yaml").unlink()
    assert build(run_dir).recipe_text == ""
    record = json.loads((run_dir / "base" / "stage.json").read_text(encoding="utf-8"))
    write_json(run_dir / "base" / "stage.json", record | {"config": {"vocab_size": 400}})
    assert build(run_dir).recipe_text == "base:\n  vocab_size: 400\n"


def test_the_summary_says_what_was_reached_and_where_the_page_is(run_dir):
    text = summary(build(run_dir), run_dir / "report.html")
    assert text.startswith("quickstart: 7 of 7 stages finished, 4 min 34 s of work")
    assert "26.2 % [21.3, 31.2]" in text and "94.2 % [91.1, 97.3]" in text
    assert "after against before: 5 better, 2 no clear change, 1 unchanged" in text
    assert text.endswith(f"report: {run_dir / 'report.html'}\n")


def test_a_folder_that_does_not_exist(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        build(tmp_path / "nowhere")
    assert "nowhere does not exist" in caught.value.what
    assert caught.value.fix == "give a folder such as runs/quickstart"


def test_a_name_instead_of_a_folder_is_understood(run_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        build(run_dir.relative_to(tmp_path / "runs"))
    assert caught.value.fix == "did you mean runs/quickstart?"


def test_a_folder_that_is_no_run(run_dir, tmp_path):
    with pytest.raises(InputError) as caught:
        write(tmp_path)
    assert "is not the folder of a run" in caught.value.what
    assert "no run.json, no events.jsonl and no finished stage" in caught.value.why
    with pytest.raises(InputError) as caught:
        build(run_dir / "base")
    assert "the folder of one stage" in caught.value.what
    assert caught.value.fix == f"hanlin report {run_dir}"
    with pytest.raises(InputError, match="is not a folder"):
        build(run_dir / "run.json")


def test_a_full_disk_leaves_the_old_report(run_dir, monkeypatch):
    import errno
    import os

    write(run_dir)
    before = (run_dir / "report.html").read_bytes()
    write_json(run_dir / "evaluate" / "scores.json", scores() | {"rows": []})

    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError, match="the disk is full"):
        write(run_dir)
    assert (run_dir / "report.html").read_bytes() == before
    assert not [path for path in run_dir.iterdir() if path.name.endswith(".part")]
