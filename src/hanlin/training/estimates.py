"""What will a training stage need? From the shapes alone, without torch."""

from __future__ import annotations

from pathlib import Path

from hanlin.core.errors import HanlinError
from hanlin.core.stage import Estimate
from hanlin.models.info import ModelInfo, read_info
from hanlin.models.memory import ADAM_BYTES, training_bytes
from hanlin.training.resume import KEPT
from hanlin.training.schedule import Schedule

WEIGHT_BYTES = 4  # weights are trained and saved in fp32


def estimate_training(
    info: ModelInfo, schedule: Schedule, *, trained_parameters: int | None = None
) -> Estimate:
    """Estimate disk (checkpoints and result) and memory of one process.

    Args:
        info: the model's shape.
        schedule: the portions.
        trained_parameters: None: all of them.
    """
    trained = info.parameters if trained_parameters is None else trained_parameters
    result = trained * WEIGHT_BYTES
    checkpoint = result + trained * ADAM_BYTES
    return Estimate(
        disk_bytes=(KEPT + 1) * checkpoint + result,  # the next one is there before the oldest goes
        memory_bytes=training_bytes(
            info,
            tokens=schedule.micro_batch_size * schedule.seq_len,
            seq_len=schedule.seq_len,
            trained_parameters=trained_parameters,
        ),
    )


def info_of(model: str) -> ModelInfo | None:
    """Return the shape of a local model; None where it is not known before the run."""
    if not Path(model).is_dir():
        return None
    try:
        return read_info(model)
    except HanlinError:  # the stage itself says what is wrong, with the right message
        return None


def lora_parameters(info: ModelInfo, rank: int) -> int:
    """Return the parameters of an adapter on all linear layers; grown rows are left out."""
    hidden, wide = info.hidden_size, info.intermediate_size
    query, key_value = info.heads * info.head_size, info.kv_heads * info.head_size
    sides = 2 * (hidden + query) + 2 * (hidden + key_value) + 3 * (hidden + wide)
    return rank * sides * info.layers
