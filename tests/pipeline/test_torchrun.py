"""Two real processes under torchrun train what one process trains."""

import pytest
import torch
from safetensors.torch import load_file

from hanlin.core.events import read_events
from hanlin.pipeline.run import run_single
from hanlin.training import finetune, pretrain
from training_world import make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.mark.parametrize("stage", ["pretrain", "finetune"])
def test_two_processes_agree_with_one(world, tmp_path, stage):
    module = {"pretrain": pretrain, "finetune": finetune}[stage]
    made = {}
    for processes in (1, 2):
        values = world.inputs(stage, processes=processes, schedule={"save_every": 5})
        config = module.Config.model_validate(values)
        made[processes] = run_single(stage, config, out=tmp_path / str(processes), seed=3)

    one, two = (metrics(made[processes]) for processes in (1, 2))
    assert [row["step"] for row in two] == [row["step"] for row in one] == list(range(1, 13))
    assert [row["tokens"] for row in two] == [row["tokens"] for row in one]
    losses = [torch.tensor([row["loss"] for row in rows]) for rows in (one, two)]
    torch.testing.assert_close(*losses, atol=1e-5, rtol=0)
    single, double = (weights(made[processes]) for processes in (1, 2))
    assert single.keys() == double.keys()
    for name in single:
        torch.testing.assert_close(double[name], single[name], atol=1e-5, rtol=0, msg=name)


def metrics(folder):
    return [event for event in read_events(folder / "events.jsonl") if event["event"] == "metric"]


def weights(folder):
    (file,) = folder.glob("*.safetensors")
    return load_file(file)
