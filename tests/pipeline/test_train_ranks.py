"""Two processes as torchrun starts them: killed, restarted, other portions, ZeRO, fewer of them.

One driver forks all of them (tests/rank_driver.py); test_torchrun.py has torchrun itself.
"""

import json
import random
import subprocess
import sys
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hanlin.core.events import EventLog, read_events
from hanlin.core.stage import StageContext
from hanlin.training import pretrain
from training_world import bytes_of, make_world

DRIVER = Path(__file__).parents[1] / "rank_driver.py"
STEPS = 8
KILLS = sorted(random.Random(5).sample(range(2, STEPS), 3))
ONE_STEP = {"steps": 1, "max_grad_norm": 1e9, "warmup_steps": 0, "save_every": None}
PORTIONS = {  # micro_batch_size, gradient_accumulation_steps, processes: always eight rows a step
    "one batch of 8": (8, 1, 1),
    "1 process, 8 portions": (1, 8, 1),
    "2 processes, 4 portions each": (1, 8, 2),
}


def job(
    world, out, *, stage="pretrain", ranks=2, schedule=None, kill_at=(), stop_at=None, **settings
):
    schedule = {"steps": STEPS, "save_every": 2, **(schedule or {})}
    values = world.inputs(stage, processes=ranks, schedule=schedule, **settings)
    return {
        "stage": stage, "values": values, "out": str(out), "ranks": ranks,
        "kill_at": list(kill_at), "stop_at": stop_at,
    }  # fmt: skip


def drive(folder, jobs):
    """Run jobs; return what the driver said of each by its name, and what it printed."""
    (folder / "jobs.json").write_text(json.dumps(jobs))
    ran = subprocess.run(
        [sys.executable, str(DRIVER), str(folder / "jobs.json")], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr[-4000:]
    told = json.loads(ran.stdout.splitlines()[-1])
    for name, found in told.items():
        assert not any(found["codes"]), (name, ran.stderr[-4000:])
    return {name.rpartition("/")[2]: found["steps"] for name, found in told.items()}, ran.stderr


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The runs: their world, their folder, the steps of each, what was printed."""
    folder = tmp_path_factory.mktemp("ranks")
    world = make_world(folder / "world")
    jobs = [
        job(world, folder / "whole"),
        job(world, folder / "killed", kill_at=KILLS),
        job(world, folder / "stopped", stop_at=4),
        job(world, folder / "fsdp", schedule={"steps": 1},
            trainer={"fsdp": True, "fsdp_config": {"version": 2}}),
    ]  # fmt: skip
    for name, (size, portions, ranks) in PORTIONS.items():
        schedule = {"micro_batch_size": size, "gradient_accumulation_steps": portions, **ONE_STEP}
        jobs.append(job(world, folder / name, ranks=ranks, schedule=schedule, keep_state=True))
    for ranks in (1, 2):
        jobs.append(job(world, folder / f"lora {ranks}", stage="finetune", ranks=ranks,
                        schedule={"steps": 4}))  # fmt: skip
    if find_spec("deepspeed"):
        jobs += [job(world, folder / f"zero {n}", sharding={"zero": n}) for n in (2, 3)]
        jobs.append(job(world, folder / "zero moved", sharding={"zero": 3, "offload": "all"}))
        jobs.append(job(world, folder / "zero killed", sharding={"zero": 3}, kill_at=[4]))
        jobs.append(job(world, folder / "zero lora", stage="finetune", sharding={"zero": 3},
                        schedule={"steps": 4}, lora={"grown_rows": "freeze"}))  # fmt: skip
    return world, folder, *drive(folder, jobs)


needs_deepspeed = pytest.mark.skipif(
    not find_spec("deepspeed"), reason='deepspeed is missing: pip install "hanlin[cluster]"'
)


def losses(folder, name):
    log = (folder / name).with_suffix(".events.jsonl")
    return [e["loss"] for e in read_events(log) if e["event"] == "metric"]


def weights(folder, name):
    return load_file(folder / name / "model" / "model.safetensors")


def assert_close(found, expected, *, atol):
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], atol=atol, rtol=0, msg=name)


def test_killed_at_three_steps_and_restarted_it_ends_in_the_same_bytes(done):
    _, folder, steps, _ = done
    steps = steps["killed"]
    assert sum(b <= a for a, b in pairwise(steps)) >= 2  # it went back
    assert steps[-1] == STEPS
    assert bytes_of(folder / "killed" / "model") == bytes_of(folder / "whole" / "model")


def test_what_two_processes_began_one_can_finish(done):
    world, folder, steps, _ = done
    assert steps["stopped"][-1] >= 4
    values = job(world, folder / "stopped", ranks=1)["values"]
    log = EventLog(folder / "one.events.jsonl")
    pretrain.run(
        pretrain.Config.model_validate(values),
        StageContext("pretrain", folder / "stopped", 0, log),
    )
    found = [e for e in read_events(log.path) if e["event"] == "metric"]
    assert 3 <= found[0]["step"] <= 7 and found[-1]["step"] == STEPS  # a checkpoint every 2 steps
    whole = [e for e in read_events(folder / "whole.events.jsonl") if e["event"] == "metric"]
    assert [e["tokens"] for e in found] == [e["tokens"] for e in whole[found[0]["step"] - 1 :]]
    assert_close(weights(folder, "stopped"), weights(folder, "whole"), atol=1e-5)


def test_an_adapter_of_two_processes_is_that_of_one(done):
    _, folder, steps, _ = done
    assert steps["lora 1"] == steps["lora 2"] == [1, 2, 3, 4]
    assert losses(folder, "lora 2") == pytest.approx(losses(folder, "lora 1"), abs=1e-5)
    files = (folder / f"lora {n}" / "adapter" / "adapter_model.safetensors" for n in (2, 1))
    assert_close(*map(load_file, files), atol=1e-5)


def gradients(folder, name):
    """Return the gradient of the first step: Adam's first moment holds a tenth of it."""
    optimizer = torch.load(folder / name / "state" / "optimizer.pt", weights_only=True)
    return [own["exp_avg"] / 0.1 for own in optimizer["state"].values()]


@pytest.mark.parametrize("name", list(PORTIONS)[1:])
def test_gradients_do_not_depend_on_portions_and_processes(done, name):
    _, folder, _, _ = done
    expected, found = (gradients(folder, own) for own in ("one batch of 8", name))
    assert len(found) == len(expected) > 10
    largest = max(float(own.abs().max()) for own in expected)
    assert largest > 1e-3
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


@needs_deepspeed
@pytest.mark.parametrize("stage", [2, 3, "moved"])
def test_zero_trains_what_plain_processes_train_and_saves_all_of_it(done, stage):
    _, folder, _, _ = done
    assert losses(folder, f"zero {stage}") == pytest.approx(losses(folder, "whole"), abs=1e-4)
    found = weights(folder, f"zero {stage}")
    assert all(tensor.numel() for tensor in found.values())
    assert_close(found, weights(folder, "whole"), atol=1e-4)


@needs_deepspeed
def test_zero_3_resumes(done):
    _, folder, steps, _ = done
    steps = steps["zero killed"]
    restart = next(b for a, b in pairwise(steps) if b <= a)
    assert 1 < restart <= 5 and steps[-1] == STEPS
    assert_close(weights(folder, "zero killed"), weights(folder, "zero 3"), atol=1e-6)


@needs_deepspeed
def test_an_adapter_under_zero_3_is_whole(done):
    _, folder, steps, _ = done
    assert steps["zero lora"] == [1, 2, 3, 4]
    saved = load_file(folder / "zero lora" / "adapter" / "adapter_model.safetensors")
    assert all(tensor.numel() for tensor in saved.values())
    assert any(bool(t.any()) for name, t in saved.items() if ".lora_B." in name)


def test_fsdp_without_a_gpu_says_that_it_is_plain_ddp(done):
    _, _, _, said = done
    if torch.cuda.is_available():
        pytest.skip("there is a GPU: FSDP shares out the weights")
    assert said.count("trainer.fsdp is set, but torch sees no GPU") == 1
