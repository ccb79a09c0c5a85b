"""On a CUDA device every precision learns. Skipped where there is none."""

import pytest
import torch

from hanlin.core.events import read_events
from training_world import make_world, run_stage

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("stage", ["pretrain", "finetune"])
def test_every_precision_learns(tmp_path, stage, precision):
    from hanlin.training import finetune, pretrain

    world = make_world(tmp_path / "world")
    module = {"pretrain": pretrain, "finetune": finetune}[stage]
    values = world.inputs(stage, schedule={"steps": 30, "precision": precision})
    context = run_stage(module, values, tmp_path / "out")
    log = read_events(context.events.path)
    losses = [event["loss"] for event in log if event["event"] == "metric"]
    assert sum(losses[-5:]) < sum(losses[:5])
