"""`kill -9` at random moments of a training stage, then the same call: the same bytes."""

import json
import random
import subprocess
import sys
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import pytest

from hanlin.training import finetune, pretrain
from training_world import bytes_of, make_world, run_stage

DRIVER = Path(__file__).parents[1] / "rank_driver.py"
STEPS = 24
SCHEDULE = {"steps": STEPS, "save_every": 2}
RANDOM = {"lora": {"dropout": 0.2}}  # dropout: random numbers must go on as well
needs_bitsandbytes = pytest.mark.skipif(
    not find_spec("bitsandbytes"), reason="bitsandbytes is not installed"
)
RUNS = {  # name: stage, settings, output, seed of the steps at which it is killed
    "pretrain": ("pretrain", {}, "model", 1),
    "lora": ("finetune", RANDOM, "adapter", 2),
    "qlora": ("finetune", {**RANDOM, "method": "qlora"}, "adapter", 3),
}


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """All runs, each killed at three steps and as it wrote its result: folder, values, steps."""
    folder = tmp_path_factory.mktemp("killed")
    world, jobs, values = make_world(folder / "world"), [], {}
    for name, (stage, settings, output, seed) in RUNS.items():
        if name == "qlora" and not find_spec("bitsandbytes"):
            continue
        values[name] = world.inputs(stage, schedule=SCHEDULE, **settings)
        steps = sorted(random.Random(seed).sample(range(3, STEPS * 2 // 3), 3))
        jobs.append({"stage": stage, "values": values[name], "out": str(folder / name), "ranks": 1,
                     "kill_at": steps, "kill_with": output})  # fmt: skip
    (folder / "jobs.json").write_text(json.dumps(jobs))
    done = subprocess.run(
        [sys.executable, str(DRIVER), str(folder / "jobs.json")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    return folder, values, {Path(out).name: found for out, found in told.items()}


@pytest.mark.parametrize(
    "name", ["pretrain", "lora", pytest.param("qlora", marks=needs_bitsandbytes)]
)
def test_killed_run_ends_in_the_same_bytes(killed, tmp_path, name):
    folder, values, told = killed
    stage, _, output, _ = RUNS[name]
    module = {"pretrain": pretrain, "finetune": finetune}[stage]
    run_stage(module, values[name], tmp_path / "whole")

    assert told[name]["codes"] == [0]
    restarts = [now for before, now in pairwise(told[name]["steps"]) if now <= before]
    assert len(restarts) >= 3  # it went back to a checkpoint after each kill,
    assert min(restarts) > 1  # and never to the start
    expected = bytes_of(tmp_path / "whole" / output)
    assert bytes_of(folder / name / output) == expected
    assert any(file.endswith(".safetensors") for file in expected)
    assert not (folder / name / "checkpoints").exists()
