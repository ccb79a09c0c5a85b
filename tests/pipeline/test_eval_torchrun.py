"""Two real processes under torchrun share the questions of an evaluation, and change nothing."""

import json
import os
import subprocess
import sys

import pytest

from exam_world import World
from hanlin.evaluation import evaluate
from hanlin.models.tiny import make_tiny
from hanlin.pipeline.run import run_single


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    make_tiny(folder / "model")
    World(folder, count=60).write("ceval")
    return folder


def test_a_run_of_two_processes_writes_the_same_file(folder, tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    made = {}
    for processes in (1, 2):
        out = tmp_path / f"{processes}.json"
        command = [
            sys.executable, "-m", "torch.distributed.run", "--standalone",
            "--nproc-per-node", str(processes), "-m", "hanlin", "eval", "run",
            str(folder / "model"), "--benchmark", "ceval", "--data", str(folder / "ceval"),
            "--shots", "1", "--out", str(out), "--json",
        ]  # fmt: skip
        environment["HANLIN_CACHE"] = str(tmp_path / f"cache{processes}")
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["rows"][0]["scores"]["model"]["n"] == 180
        made[processes] = out.read_bytes()
    assert made[1] == made[2]
    journals = sorted((tmp_path / "cache2" / "responses").iterdir())
    assert sorted(len(file.read_text().splitlines()) for file in journals) == [208, 512]


def test_the_stage_shares_its_questions_too(folder, tmp_path):
    made = {}
    for processes in (1, 2):
        config = evaluate.Config.model_validate({
            "models": {"m": str(folder / "model")},
            "processes": processes,
            "benchmarks": [{"id": "c", "benchmark": "ceval", "data": str(folder / "ceval"),
                            "shots": 0}],
            "dialogues": [{"language": "zh", "prompt": "你好"}],
        })  # fmt: skip
        made[processes] = run_single("evaluate", config, out=tmp_path / str(processes), seed=3)
    one, two = (json.loads((made[n] / "scores.json").read_text()) for n in (1, 2))
    assert one["rows"][0]["scores"]["m"]["n"] == 180
    assert one == two
    records = [(made[n] / "records" / "c-m.jsonl").read_text().splitlines() for n in (1, 2)]
    assert len(records[0]) == len(records[1]) == 180
