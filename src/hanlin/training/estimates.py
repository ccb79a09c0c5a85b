"""What will a training stage need? From the shapes alone, without torch."""

from __future__ import annotations

import math
from pathlib import Path

from hanlin.core.errors import HanlinError
from hanlin.core.stage import Estimate
from hanlin.models.info import ModelInfo, read_info
from hanlin.models.memory import ADAM_BYTES, Training, adapter_parameters, training_memory
from hanlin.training.resume import KEPT
from hanlin.training.schedule import Schedule

WEIGHT_BYTES = 4  # weights are trained and saved in fp32


def estimate_training(
    info: ModelInfo, schedule: Schedule, *, method: str = "full", rank: int = 0
) -> Estimate:
    """Estimate disk (checkpoints and result) and memory of one process.

    Args:
        info: the model's shape.
        schedule: the portions.
        method: "full", "lora", "int8" or "qlora".
        rank: of the adapter, where the method has one.
    """
    trained = info.parameters if method == "full" else adapter_parameters(info, rank=rank)
    result = trained * WEIGHT_BYTES
    checkpoint = result + math.ceil(trained * ADAM_BYTES[schedule.optimizer])
    training = Training(
        method=method,
        rows=schedule.micro_batch_size,
        seq_len=schedule.seq_len,
        trained_parameters=trained,
        precision="fp32" if schedule.precision == "auto" else schedule.precision,
        rank=0 if method == "full" else rank,
        is_recomputing=schedule.gradient_checkpointing,
        optimizer=schedule.optimizer,
    )
    return Estimate(
        disk_bytes=(KEPT + 1) * checkpoint + result,  # the next one is there before the oldest goes
        memory_bytes=training_memory(info, training).total,
    )


def info_of(model: str) -> ModelInfo | None:
    """Return the shape of a local model; None where it is not known before the run."""
    if not Path(model).is_dir():
        return None
    try:
        return read_info(model)
    except HanlinError:  # the stage itself says what is wrong, with the right message
        return None
