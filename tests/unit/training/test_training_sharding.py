"""Weights that processes share are put together again; what was saved is checked by its shapes."""

import logging
import socket
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from hanlin.core.errors import ConfigError, MissingExtraError, StageFailedError
from hanlin.core.events import EventLog
from hanlin.core.stage import StageContext
from hanlin.models.load import load_model
from hanlin.training import finetune, pretrain, resume
from hanlin.training.schedule import Schedule
from hanlin.training.sharding import (
    Sharding,
    check_shapes,
    deepspeed_config,
    make_whole,
    shapes_of,
    warn_of_fsdp,
)
from hanlin.training.steps import Job, open_checkpoints
from hanlin.training.tuned import open_tuned
from training_world import run_stage

SCRIPT = """
import os, sys
import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from hanlin.models.load import load_model
from hanlin.training.loss import chunked
from hanlin.training.sharding import check_shapes, make_whole, shapes_of

rank, folder, port = os.fork() == 0, sys.argv[1], sys.argv[2]
os.environ |= {"RANK": str(int(rank)), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
               "MASTER_PORT": port}
torch.set_num_threads(1)
torch.distributed.init_process_group("gloo")
mesh = init_device_mesh("cpu", (2,))
ids = torch.arange(5, 45)[None]

def losses(model, share):
    with chunked(model, probe={"input_ids": ids, "use_cache": False}):
        share(model)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        for _ in range(3):
            loss = model(input_ids=ids, labels=ids, use_cache=False).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            yield float(loss)

def shard(model):
    for layer in model.model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    parameters = list(model.parameters())
    assert all(isinstance(p, DTensor) for p in parameters)
    held = sum(p.to_local().numel() for p in parameters)
    assert held <= 0.55 * sum(p.numel() for p in parameters), "nothing is shared out"

plain, model = load_model(folder).train(), load_model(folder).train()
shapes = shapes_of(model)
expected, found = list(losses(plain, lambda _: None)), list(losses(model, shard))
assert expected[2] < expected[0] and max(abs(a - b) for a, b in zip(expected, found)) < 1e-5
make_whole(model)
check_shapes(shapes_of(model), shapes, where="the model")
for (name, one), other in zip(plain.named_parameters(), model.parameters(), strict=True):
    assert not isinstance(other, DTensor)
    torch.testing.assert_close(other.data, one.data, atol=1e-5, rtol=0, msg=name)
torch.distributed.destroy_process_group()
if rank:
    os._exit(0)
_, status = os.wait()
sys.exit(status)
"""


def test_fully_sharded_weights_train_and_become_whole(world):
    """torch's own fully_shard on two processes without a GPU."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(world.model), str(port)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_whole_weights_stay_as_they_are():
    model = torch.nn.Linear(3, 2)
    before = model.weight
    make_whole(model)
    assert model.weight is before and shapes_of(model) == {"weight": (2, 3), "bias": (2,)}


@pytest.mark.parametrize("found", [{}, {"a": (0,)}, {"a": (2, 2)}])
def test_what_is_missing_or_empty_is_told(found):
    with pytest.raises(StageFailedError) as caught:
        check_shapes(found, {"a": (4, 2)}, where="checkpoint-3")
    assert "checkpoint-3 does not hold the whole model: 1 of 1 tensors are missing" in str(
        caught.value
    )


@pytest.mark.parametrize("zero", [1, 2, 3])
@pytest.mark.parametrize("offload", ["none", "optimizer"])
def test_settings_for_deepspeed(zero, offload):
    schedule = Schedule(micro_batch_size=3, max_grad_norm=0.5)
    sharding = Sharding(zero=zero, offload=offload)
    found = deepspeed_config(sharding, schedule, precision="bf16", each=4)
    assert found["zero_optimization"]["stage"] == zero
    assert found["train_micro_batch_size_per_gpu"] == 3 and found["gradient_clipping"] == 0.5
    assert found["gradient_accumulation_steps"] == 4
    assert found["bf16"]["enabled"] and not found["fp16"]["enabled"]
    assert ("offload_optimizer" in found["zero_optimization"]) == (offload == "optimizer")
    gathers = found["zero_optimization"].get("stage3_gather_16bit_weights_on_model_save", False)
    assert gathers == (zero == 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sharding": {"offload": "optimizer"}}, "offload optimizer needs zero 1, 2 or 3"),
        ({"sharding": {"zero": 2, "offload": "all"}}, "set zero 3"),
        ({"sharding": {"zero": 2}}, "processes is 1: there is nobody to share with"),
        ({"sharding": {"zero": 2}, "processes": 2, "keep_state": True}, "keep_state cannot go"),
    ],
)
def test_settings_that_do_not_go_together(world, settings, message):
    with pytest.raises(ValueError, match=message):
        pretrain.Config.model_validate(world.inputs("pretrain", **settings))


def test_under_zero_the_number_of_processes_stays(world, tmp_path):
    path = resume.checkpoint_path(tmp_path / "checkpoints", 4)
    path.mkdir(parents=True)
    resume.mark_complete(path, step=4, tokens=9, processes=2)
    context = StageContext("t", tmp_path, 0, EventLog(tmp_path / "events.jsonl"))
    schedule, sharding = Schedule(steps=8), Sharding(zero=2)
    job = Job(load_model(world.model), None, 0, schedule, processes=4, sharding=sharding)
    with pytest.raises(ConfigError) as caught:
        open_checkpoints(job, context, 8)
    assert "was interrupted with 2 processes, and processes is 4" in str(caught.value)
    assert "set processes to 2" in str(caught.value)
    assert open_checkpoints(replace(job, processes=2), context, 8).step == 4


def test_trained_rows_cannot_be_shared_out(world, tmp_path):
    values = world.inputs("finetune", processes=2, sharding={"zero": 3})
    config = finetune.Config.model_validate(values)
    context = StageContext("t", tmp_path, 0, EventLog(tmp_path / "events.jsonl"))
    with pytest.raises(ConfigError, match="10 rows of a grown vocabulary are to be trained"):
        open_tuned(config, context, start=None)


def test_fsdp_without_a_gpu_is_told(caplog):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with caplog.at_level(logging.WARNING):
        assert not warn_of_fsdp(SimpleNamespace(fsdp=None))
        assert warn_of_fsdp(SimpleNamespace(fsdp=True))
    assert "every process holds the whole model (plain DDP)" in caplog.text


def test_curves_for_tensorboard(world, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    values = world.inputs(
        "pretrain", trainer={"report_to": "tensorboard"}, schedule={"steps": 3},
        probe={"texts": str(world.heldout), "documents": 2},
    )  # fmt: skip
    context = run_stage(pretrain, values, tmp_path / "out")
    curves = EventAccumulator(str(context.events.path.parent / "tensorboard" / context.name))
    curves.Reload()
    tags = curves.Tags()["scalars"]
    assert [event.step for event in curves.Scalars("train/loss")] == [1, 2, 3]
    assert {"train/bits_per_byte/en", "train/bits_per_byte/zh"} <= set(tags)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("tensorbord", ConfigError, "trainer.report_to: 'tensorbord' is not known"),
        ("wandb", MissingExtraError, "curves in wandb needs the package 'wandb'"),
    ],
)
def test_reporters_that_are_not_there(world, tmp_path, monkeypatch, name, error, message):
    monkeypatch.setitem(sys.modules, "wandb", None)
    values = world.inputs("pretrain", trainer={"report_to": name}, schedule={"steps": 1})
    with pytest.raises(error, match=message):
        run_stage(pretrain, values, tmp_path / "out")
