"""What will a training stage need? From its config and the model's shape alone, without torch."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from hanlin.core.errors import HanlinError
from hanlin.core.stage import Estimate
from hanlin.models.info import ModelInfo, read_info
from hanlin.models.memory import (
    ADAM_BYTES,
    Precision,
    Training,
    adapter_parameters,
    trained_parameters,
    training_memory,
)
from hanlin.training.resume import KEPT

WEIGHT_BYTES = 4  # weights are trained and saved in fp32
SIDES = {
    "q_proj": "q", "k_proj": "k", "v_proj": "v", "o_proj": "o",
    "gate_proj": "gate", "up_proj": "up", "down_proj": "down",
}  # fmt: skip


def training_of(
    config: Any,  # noqa: ANN401 - of a training stage
    info: ModelInfo,
    *,
    grown_rows: int = 0,
    auto: Precision = "fp32",
) -> Training:
    """Return what a training stage does, as `models.memory` counts it, in each process.

    Args:
        config: of `base`, `pretrain`, `finetune` or `dpo`.
        info: the model's shape.
        grown_rows: that are trained beside an adapter, where the config trains them.
        auto: what precision "auto" stands for.
    """
    schedule, method = config.schedule, getattr(config, "method", "full")
    training = Training(
        method=method,
        rows=schedule.micro_batch_size * config.sequences_per_row,
        seq_len=schedule.seq_len,
        precision=auto if schedule.precision == "auto" else schedule.precision,
        is_recomputing=schedule.gradient_checkpointing,
        optimizer=schedule.optimizer,
        zero_stage=config.sharding_stage,
        processes=config.processes,
        on_host=config.sharding.offload,
        has_reference=config.sequences_per_row > 1 and method == "full",
        trained_parameters=info.parameters if method == "full" else None,
    )
    if method == "full":
        return training
    lora = config.lora
    names = lora.target_modules or list(SIDES)
    adapted = tuple(SIDES[name] for name in names if name in SIDES)
    rows = grown_rows if lora.grown_rows == "train" else 0
    count = adapter_parameters(info, rank=lora.rank, grown_rows=rows, adapted=adapted)
    return replace(training, rank=lora.rank, adapted=adapted, trained_parameters=count)


def estimate_training(info: ModelInfo, config: Any) -> Estimate:  # noqa: ANN401
    """Estimate disk (checkpoints and result) and memory of one process of a training stage.

    Args:
        info: the model's shape.
        config: of the stage.
    """
    training = training_of(config, info)
    trained = trained_parameters(info, training)
    result = trained * WEIGHT_BYTES
    checkpoint = result + math.ceil(trained * ADAM_BYTES[training.optimizer])
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
