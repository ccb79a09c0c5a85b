"""On a CUDA device every method and every optimizer learns. Skipped where there is none."""

import importlib.util

import pytest
import torch

from hanlin.core.events import read_events
from training_world import bytes_of, make_world, run_stage

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
    pytest.mark.skipif(
        importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
    ),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"))


def losses(context):
    return [e["loss"] for e in read_events(context.events.path) if e["event"] == "metric"]


@pytest.mark.parametrize("method", ["full", "lora", "int8", "qlora"])
def test_every_method_learns(world, tmp_path, method):
    from hanlin.training import finetune

    values = world.inputs("finetune", method=method, schedule={"steps": 30})
    found = losses(run_stage(finetune, values, tmp_path / "out"))
    assert sum(found[-5:]) < sum(found[:5])


@pytest.mark.parametrize("name", ["adamw-8bit", "paged-adamw", "paged-adamw-8bit"])
def test_every_optimizer_learns(world, tmp_path, name):
    from hanlin.training import finetune

    values = world.inputs("finetune", schedule={"steps": 30, "optimizer": name})
    found = losses(run_stage(finetune, values, tmp_path / "out"))
    assert sum(found[-5:]) < sum(found[:5])


def test_interrupted_in_fp32_it_ends_in_the_same_bytes(world, tmp_path):
    from hanlin.training import finetune

    def interrupt(done, total, text):
        if done == 7:
            raise KeyboardInterrupt

    values = world.inputs("finetune", schedule={"precision": "fp32"})
    run_stage(finetune, values, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run_stage(finetune, values, tmp_path / "cut", progress=interrupt)
    run_stage(finetune, values, tmp_path / "cut")
    assert bytes_of(tmp_path / "cut" / "adapter") == bytes_of(tmp_path / "whole" / "adapter")


def test_preferences_are_learned(world, tmp_path):
    pytest.importorskip("trl")
    from hanlin.training import dpo
    from training_world import write_rows

    rows = [{"prompt": f"{i} 谁？", "chosen": "老师", "rejected": "the river"} for i in range(8)]
    write_rows(tmp_path / "pairs.jsonl", rows)
    values = {
        "model": str(world.model), "preferences": [str(tmp_path / "pairs.jsonl")],
        "prompt": "plain",
        "schedule": {"steps": 12, "seq_len": 64, "micro_batch_size": 2, "learning_rate": 3e-3,
                     "log_every": 1},
    }  # fmt: skip
    found = losses(run_stage(dpo, values, tmp_path / "out"))
    assert found[-1] < found[0]
