"""The quickstart recipe, made small: all stages, the same bytes twice, and after three kills."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hanlin.core.files import sha256
from hanlin.pipeline.plan import make_plan, read_record
from hanlin.pipeline.recipe import find_recipe, load_recipe
from hanlin.pipeline.report.build import write
from hanlin.pipeline.run import run_plan

pytestmark = pytest.mark.slow

SMALL = [
    "world.people=12",
    "world.rounds=6",
    "world.extraction_train=24",
    "world.extraction_test=6",
    "base.vocab_size=400",
    "base.architecture={hidden_size: 32, layers: 2, heads: 2, max_length: 512}",
    "base.schedule={steps: 12, seq_len: 128, micro_batch_size: 4, learning_rate: 1e-3, threads: 1}",
    "tokenizer.add=200",
    "pretrain.schedule={steps: 12, seq_len: 128, micro_batch_size: 4, threads: 1}",
    "finetune.schedule={steps: 12, seq_len: 256, micro_batch_size: 4, threads: 1}",
    "evaluate.max_new_tokens=8",
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A finished small run."""
    out = tmp_path_factory.mktemp("quickstart") / "run"
    loaded = load_recipe(find_recipe("quickstart"), changes=SMALL)
    run_plan(loaded, make_plan(loaded, out), out)
    write(out)
    return out


def command(out: Path) -> list[str]:
    changes = [word for change in SMALL for word in ("--set", change)]
    return [sys.executable, "-m", "hanlin", "run", "quickstart", "--out", str(out), *changes]


def digests(run: Path) -> dict[str, str]:
    stages = json.loads((run / "run.json").read_text())["stages"]
    return {
        f"{stage['id']}/{output['name']}": output["sha256"]
        for stage in stages
        for output in read_record(run / stage["id"])["outputs"]
    }


def test_every_stage_leaves_what_it_promises(whole):
    assert len(digests(whole)) >= 18
    assert not list(whole.rglob("*.pt")) and not list(whole.rglob("*.bin.index*"))
    assert not list(whole.rglob("checkpoint-*")) and not list(whole.rglob("training_args*"))
    scores = json.loads((whole / "evaluate/scores.json").read_text(encoding="utf-8"))
    for row in scores["rows"]:
        for score in row["scores"].values():
            assert score["low"] <= score["value"] <= score["high"] and score["n"] > 0
    fertility = json.loads((whole / "tokenizer/fertility.json").read_text())
    assert fertility["english_ids_changed"] == 0 and fertility["added"] > 50
    checks = json.loads((whole / "export/gguf/checks.json").read_text())
    assert checks["f16"]["token_ids_equal"] and checks["f16"]["greedy_agreement"] >= 0.95


def test_the_card_has_the_scores_and_no_path_of_the_machine(whole):
    page = (whole / "report.html").read_text(encoding="utf-8")
    assert "Four options" in page and "bits" in page
    assert str(whole) not in page and str(Path.home()) + "/" not in page
    card = json.loads((whole / "report.json").read_text(encoding="utf-8"))
    assert card["stages"] and (whole / "report.md").stat().st_size > 1000


def test_the_result_answers_in_a_pipe(whole):
    chat = [sys.executable, "-m", "hanlin", "chat", str(whole), "--max-new-tokens", "8"]
    done = subprocess.run(chat, input="你好！\nHello\n", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 2 and "\ufffd" not in done.stdout


def test_a_second_run_changes_nothing(whole):
    before = sha256(whole / "merge"), sha256(whole / "evaluate")
    done = subprocess.run(command(whole), capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr.count("up to date") == 12, done.stderr
    assert before == (sha256(whole / "merge"), sha256(whole / "evaluate"))


def test_three_kills_end_with_the_same_bytes(whole, tmp_path):
    out = tmp_path / "run"
    for delay_s in (7.0, 9.5, 8.0):
        process = subprocess.Popen(
            command(out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(delay_s)
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = subprocess.run(command(out), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    ours, theirs = digests(out), digests(whole)
    assert {name for name in ours if ours[name] != theirs[name]} == set()
