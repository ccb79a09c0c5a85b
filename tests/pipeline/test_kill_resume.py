"""`kill -9` at random moments of a training stage, then the same call: the same bytes."""

import importlib.util
import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from hanlin.training import finetune, pretrain
from training_world import bytes_of, make_world, run_stage

DRIVER = Path(__file__).with_name("kill_driver.py")
STEPS = 60
SCHEDULE = {"steps": STEPS, "save_every": 3}
RANDOM = {"lora": {"dropout": 0.2}}  # dropout: random numbers must go on as well
needs_bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.mark.parametrize(
    ("stage", "settings", "seed"),
    [
        ("pretrain", {}, 1),
        ("finetune", RANDOM, 2),
        pytest.param("finetune", {**RANDOM, "method": "qlora"}, 3, marks=needs_bitsandbytes),
    ],
)
def test_killed_run_ends_in_the_same_bytes(world, tmp_path, stage, settings, seed):
    module = {"pretrain": pretrain, "finetune": finetune}[stage]
    values = world.inputs(stage, schedule=SCHEDULE, **settings)
    output = "adapter" if stage == "finetune" else "model"
    run_stage(module, values, tmp_path / "whole")

    killed = tmp_path / "killed"
    killed.mkdir()
    done = subprocess.run(
        [sys.executable, str(DRIVER), stage, json.dumps(values), str(killed), str(seed)],
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    steps = json.loads(done.stdout.splitlines()[-1])
    restarts = [now for before, now in pairwise(steps) if now <= before]
    assert len(restarts) >= 3  # it went back to a checkpoint after each kill,
    assert min(restarts) > 1  # and never to the start
    expected = bytes_of(tmp_path / "whole" / output)
    assert bytes_of(killed / output) == expected
    assert any(name.endswith(".safetensors") for name in expected)
    assert not (killed / "checkpoints").exists()
