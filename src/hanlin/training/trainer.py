"""How is a model trained on packed rows? The set-up of transformers' Trainer of these stages."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import PreTrainedModel, TrainingArguments

from hanlin.core import ranks
from hanlin.core.stage import StageContext
from hanlin.data.collate import collator_for
from hanlin.models.save import disk_errors, quiet_transformers
from hanlin.training.adapters import quiet_peft
from hanlin.training.arguments import precision_of
from hanlin.training.attention import autocast, training_attention
from hanlin.training.loss import chunked
from hanlin.training.packing_check import check_packing
from hanlin.training.resume import Checkpoint
from hanlin.training.sharding import check_shapes, make_whole, shapes_of
from hanlin.training.steps import (
    CHECKPOINTS,
    Job,
    Rows,
    StepTrainer,
    arguments_of,
    equip,
    next_row,
    open_checkpoints,
)

__all__ = ["CHECKPOINTS", "Job", "StepTrainer", "causal_model", "train"]

PROBED_TOKENS = 128  # of the first row; enough to tell two ways to compute a loss apart


def train(job: Job, context: StageContext) -> None:
    """Train the model in place; after a kill, go on from the last complete checkpoint.

    Every process of the stage calls it. The last step leaves no checkpoint unless it is asked for:
    its weights are in the model, and the caller saves them.

    Raises:
        ConfigError: the schedule does not fit the data, the model or the machine.
        InputError: the state does not fit the model.
        StageFailedError: the loss or a gradient is no longer a number, or the model's attention
            does not keep packed documents apart.
    """
    schedule, steps = job.schedule, job.total_steps()
    start = open_checkpoints(job, context, steps)
    base = causal_model(job.model)
    use_cache = job.model.config.use_cache
    precision = precision_of(schedule)
    shapes = shapes_of(job.model)
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", job.processes))  # torchrun counts a machine's
    with deterministic(schedule.threads_of(beside)), quiet_transformers():
        trainer = _make_trainer(job, context, start, steps)
        trainer.tokens = start.tokens if start and ranks.is_first() else 0
        ids = torch.from_numpy(job.rows.row(0).ids[None, :PROBED_TOKENS])
        with (
            chunked(base, probe={"input_ids": ids.to(base.device), "use_cache": False}),
            recomputing(base, is_on=schedule.gradient_checkpointing),
            training_attention(base, schedule.attention, precision=precision),
            disk_errors(context.out / CHECKPOINTS),
            quiet_peft(),
        ):
            collator = collator_for(base, pad_id=job.pad_id, seq_len=schedule.seq_len)
            with autocast(base, precision):
                check_packing(job.model, job.rows, collator)
            trainer.data_collator = collator
            trainer.train(resume_from_checkpoint=str(start.path) if start else None)
            make_whole(job.model)
            if job.sharding.zero:
                trainer.model_wrapped.destroy()
    check_shapes(shapes_of(job.model), shapes, where="the model behind the training")
    job.model.config.use_cache = use_cache  # the Trainer turns it off for training
    if getattr(base, "quantization_method", None) is None:  # those stay where they are
        job.model.to("cpu")


def causal_model(model: Any) -> PreTrainedModel:  # noqa: ANN401 - a PeftModel or a PreTrainedModel
    """Return the language model below an adapter, or the model itself."""
    below = getattr(model, "get_base_model", None)
    found: PreTrainedModel = model if below is None else below()
    return found


@contextmanager
def recomputing(model: PreTrainedModel, *, is_on: bool) -> Iterator[None]:
    """Compute the activations of each layer again on the way back, while the block runs."""
    if not is_on:
        yield
        return
    model.gradient_checkpointing_enable({"use_reentrant": False})
    try:
        yield
    finally:
        model.gradient_checkpointing_disable()


@contextmanager
def deterministic(threads: int) -> Iterator[None]:
    """Make torch give the same bytes each time, with a fixed number of threads."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    # On CUDA some attention kernels have no deterministic backward: there it only warns.
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    # Filling every new tensor with NaN is a debugging aid and took 40 % of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])
        torch.utils.deterministic.fill_uninitialized_memory = fill


class _RunRows(torch.utils.data.Dataset):
    """The rows of the run from one of them on; nothing before it is read or counted over."""

    def __init__(self, rows: Rows, *, first: int, count: int) -> None:
        self.rows, self.first, self.count = rows, first, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:  # noqa: ANN401
        return self.rows.row(self.first + index)


def _make_trainer(
    job: Job, context: StageContext, start: Checkpoint | None, steps: int
) -> StepTrainer:
    # As long as the run, so that the Trainer counts it as one epoch from any step on.
    rows = _RunRows(job.rows, first=next_row(job, start), count=steps * job.schedule.rows_per_step)
    trainer = StepTrainer(
        model=job.model,
        args=arguments_of(job, context, steps, kind=TrainingArguments),
        train_dataset=rows,
    )
    equip(trainer, job, context, steps)
    return trainer
