"""A run skips what is unchanged, repairs what is damaged, goes on with what was interrupted."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hanlin.core.errors import ConfigError, HanlinError, InputError, ResourceError
from hanlin.core.events import read_events
from hanlin.pipeline.plan import make_plan, read_record
from hanlin.pipeline.recipe import load_recipe
from hanlin.pipeline.run import locked, run_plan, run_single
from hanlin.pipeline.stages import STAGES

RECIPE = """\
schema_version: 1
name: small
seed: 3
stages:
  world: {stage: sample-world, people: 12, rounds: 6, extraction_train: 8, extraction_test: 4}
  other: {stage: sample-world, people: 12, rounds: 6, extraction_train: 8, extraction_test: 4}
  chat:
    stage: instruct
    examples: "@world/extraction/train.jsonl"
    schema_file: "@world/extraction/schema.yaml"
"""


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "small.yaml").write_text(RECIPE)
    return tmp_path / "small.yaml"


def run(recipe: Path, out: Path, *, changes=(), redo=(), until=None) -> dict[str, str]:
    """Run and return what was planned: stage id -> action."""
    loaded = load_recipe(recipe, changes=changes)
    plan = make_plan(loaded, out, redo=redo, until=until)
    run_plan(loaded, plan, out)
    return {item.id: item.action for item in plan}


def digests(out: Path) -> dict[str, str]:
    return {
        f"{stage}/{output['name']}": output["sha256"]
        for stage in ("world", "other", "chat")
        for output in read_record(out / stage)["outputs"]
    }


def test_a_second_run_does_nothing(recipe, tmp_path):
    out = tmp_path / "run"
    assert set(run(recipe, out).values()) == {"run"}
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.jsonl")}
    assert set(run(recipe, out).values()) == {"skip"}
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*.jsonl")}
    assert not (out / ".work").exists()


def test_a_damaged_output_redoes_its_stage_and_what_depends_on_it(recipe, tmp_path):
    out = tmp_path / "run"
    run(recipe, out)
    good = digests(out)
    file = out / "world" / "extraction" / "train.jsonl"
    data = bytearray(file.read_bytes())
    data[100] ^= 1
    file.write_bytes(data)
    assert run(recipe, out) == {"world": "run", "other": "skip", "chat": "run"}
    assert digests(out) == good
    (out / "chat" / "chat.jsonl").unlink()
    assert run(recipe, out) == {"world": "skip", "other": "skip", "chat": "run"}
    (out / "other" / "stage.json").write_text("{")
    assert run(recipe, out) == {"world": "skip", "other": "run", "chat": "skip"}


def test_a_changed_setting_redoes_only_what_it_touches(recipe, tmp_path):
    out = tmp_path / "run"
    run(recipe, out)
    changed = ["other.rounds=7"]
    assert run(recipe, out, changes=changed) == {"world": "skip", "other": "run", "chat": "skip"}
    changed.append("seed=4")
    assert set(run(recipe, out, changes=changed).values()) == {"run"}


def test_redo_and_until(recipe, tmp_path):
    out = tmp_path / "run"
    assert run(recipe, out, until="other") == {"world": "run", "other": "run"}
    assert run(recipe, out, redo=["world"]) == {"world": "run", "other": "skip", "chat": "run"}
    with pytest.raises(ConfigError, match="no stage 'wrold'") as caught:
        run(recipe, out, redo=["wrold"])
    assert "did you mean 'world'?" in str(caught.value)


def test_the_same_recipe_gives_the_same_bytes_anywhere(recipe, tmp_path):
    run(recipe, tmp_path / "a")
    other = tmp_path / "elsewhere"
    other.mkdir()
    (other / "renamed.yaml").write_text(RECIPE)
    run(other / "renamed.yaml", tmp_path / "b")
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    keys = [read_record(tmp_path / name / "chat")["fingerprint"] for name in "ab"]
    assert keys[0] == keys[1]


def test_the_content_of_an_input_counts_not_its_place(tmp_path):
    world = tmp_path / "world"
    run_single("sample-world", sample_world(), out=world)
    recipe = "name: own\nstages:\n  instruct: {examples: %s, schema_file: %s}\n"
    keys = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for file in ("train.jsonl", "schema.yaml"):
            (tmp_path / name / file).write_bytes((world / "extraction" / file).read_bytes())
        path = tmp_path / f"{name}.yaml"
        path.write_text(recipe % (f"{name}/train.jsonl", f"{name}/schema.yaml"))
        keys.append(make_plan(load_recipe(path), tmp_path / "run")[0].fingerprint)
    assert keys[0] == keys[1]
    (tmp_path / "b" / "schema.yaml").write_text("{}")
    assert make_plan(load_recipe(path), tmp_path / "run")[0].fingerprint != keys[0]


def sample_world():
    from hanlin.data.sample_world import STAGE

    return STAGE.config(people=12, rounds=6, extraction_train=8, extraction_test=4)


def test_a_single_stage_refuses_to_overwrite(tmp_path):
    out = tmp_path / "w"
    run_single("sample-world", sample_world(), out=out)
    first = (out / "corpus" / "zh.jsonl").read_bytes()
    with pytest.raises(InputError, match="exists already"):
        run_single("sample-world", sample_world(), out=out)
    run_single("sample-world", sample_world(), out=out, force=True, seed=5)
    assert (out / "corpus" / "zh.jsonl").read_bytes() != first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w"]


def test_a_single_stage_that_refuses_its_input_leaves_nothing(tmp_path):
    from hanlin.extraction.knowledge.instruct import STAGE

    for name in ("examples.jsonl", "schema.yaml"):
        (tmp_path / name).write_text("{")
    config = STAGE.config(
        examples=str(tmp_path / "examples.jsonl"), schema_file=str(tmp_path / "schema.yaml")
    )
    with pytest.raises(HanlinError):
        run_single("instruct", config, out=tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["examples.jsonl", "schema.yaml"]


def test_a_missing_input_is_found_before_anything_runs(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(RECIPE.replace('"@world/extraction/train.jsonl"', "nowhere/train.jsonl"))
    with pytest.raises(InputError, match=r"nowhere/train\.jsonl does not exist") as caught:
        run(path, tmp_path / "run")
    assert str(tmp_path) in caught.value.why and caught.value.exit_code == 4
    assert not (tmp_path / "run").exists()


def test_two_processes_cannot_share_a_run(recipe, tmp_path):
    with (
        locked(tmp_path / "run"),
        pytest.raises(ResourceError, match="another process is working"),
    ):
        run(recipe, tmp_path / "run")


@pytest.fixture
def use(monkeypatch, recipe):
    """Put a stage of stages_for_tests in the place of sample-world."""

    def put(name: str) -> None:
        monkeypatch.setitem(STAGES.targets, "sample-world", f"stages_for_tests:{name}")

    return put


def test_the_cache_serves_another_run_and_is_checked(recipe, tmp_path, monkeypatch, use):
    monkeypatch.setenv("HANLIN_CACHE", str(tmp_path / "cache"))
    use("CACHED")
    run(recipe, tmp_path / "a")
    run(recipe, tmp_path / "b")
    events = [event["event"] for event in read_events(tmp_path / "b" / "events.jsonl")]
    assert events.count("stage_cached") == 2
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    for entry in (tmp_path / "cache" / "stages").iterdir():
        (entry / "chat.jsonl").write_text("damaged")
    run(recipe, tmp_path / "c")
    assert digests(tmp_path / "c") == digests(tmp_path / "a")


@pytest.mark.parametrize("delay_s", [0.35, 0.5, 0.7, 0.9])
def test_a_killed_run_goes_on_to_the_same_bytes(recipe, tmp_path, delay_s):
    run(recipe, tmp_path / "whole")
    command = [sys.executable, "-m", "hanlin", "run", str(recipe), "--out", str(tmp_path / "cut")]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    time.sleep(delay_s)
    process.send_signal(signal.SIGKILL)
    process.wait()
    run(recipe, tmp_path / "cut")
    assert digests(tmp_path / "cut") == digests(tmp_path / "whole")
    assert set(run(recipe, tmp_path / "cut").values()) == {"skip"}


def test_half_written_files_of_a_stopped_run_are_swept_away(recipe, tmp_path, monkeypatch):
    run(recipe, tmp_path / "whole")
    with monkeypatch.context() as during:
        during.setitem(STAGES.targets, "sample-world", "stages_for_tests:CUT")
        with pytest.raises(KeyboardInterrupt):
            run(recipe, tmp_path / "cut")
    assert list((tmp_path / "cut" / ".work").rglob("*.part"))
    run(recipe, tmp_path / "cut")
    assert digests(tmp_path / "cut") == digests(tmp_path / "whole")


def test_a_shorter_run_leaves_the_work_of_a_later_stage_alone(recipe, tmp_path):
    out = tmp_path / "run"
    run(recipe, out, until="world")
    (out / ".work" / "chat").mkdir(parents=True)
    (out / ".work" / "chat" / "checkpoint").write_text("hours of work")
    assert run(recipe, out, until="other") == {"world": "skip", "other": "run"}
    assert (out / ".work" / "chat" / "checkpoint").exists()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 200 kB, or a skip where mounting is not allowed."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs needs root")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_is_said_and_leaves_nothing_half_made(recipe, small_disk):
    with pytest.raises(ResourceError, match="disk") as caught:
        run(recipe, small_disk / "run")
    assert caught.value.exit_code == 5 and "fix:" in str(caught.value)
    assert not (small_disk / "run" / "world").exists()


def test_a_disk_that_fills_up_on_the_way(recipe, small_disk, use):
    use("UNSIZED")
    with pytest.raises(ResourceError, match="the disk is full") as caught:
        run(recipe, small_disk / "run")
    assert "left" in caught.value.why
    assert not (small_disk / "run" / "world").exists()


def test_a_read_only_place_is_said(recipe, small_disk):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(ResourceError, match=r"no permission|disk") as caught:
        run(recipe, small_disk / "run")
    assert caught.value.exit_code == 5


def test_what_nobody_foresaw_is_a_failed_stage_that_can_be_repeated(recipe, tmp_path, monkeypatch):
    with monkeypatch.context() as during:
        during.setitem(STAGES.targets, "sample-world", "stages_for_tests:BROKEN")
        with pytest.raises(HanlinError, match="ZeroDivisionError: seven by nothing") as caught:
            run(recipe, tmp_path / "run")
    assert caught.value.exit_code == 6
    trace = tmp_path / "run" / ".work" / "world-traceback.txt"
    assert "seven by nothing" in trace.read_text() and str(trace) in caught.value.why
    run(recipe, tmp_path / "run")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["name"] == "small"
