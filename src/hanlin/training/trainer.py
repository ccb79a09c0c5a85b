"""How is a model trained? The one set-up of transformers' Trainer that all three stages use.

Row i of the run is the i-th row of the data, whatever the number of processes: what a step sees is
a pure function of its number, so a run that goes on from a checkpoint cannot drift.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedModel, PrinterCallback, Trainer

from hanlin.core import ranks
from hanlin.core.errors import StageFailedError
from hanlin.core.stage import StageContext
from hanlin.data.collate import collator_for
from hanlin.models.save import disk_errors, quiet_transformers
from hanlin.training import resume
from hanlin.training.adapters import quiet_peft
from hanlin.training.arguments import precision_of, training_arguments
from hanlin.training.attention import autocast, training_attention
from hanlin.training.callbacks import CheckpointKeeper, Recorder
from hanlin.training.loss import chunked
from hanlin.training.packing_check import check_packing
from hanlin.training.schedule import Schedule

PROBED_TOKENS = 128  # of the first row; enough to tell two ways to compute a loss apart
Probe = Callable[[torch.nn.Module], dict[str, float]]


class Rows(Protocol):
    """Training rows that can be asked for by their number in the whole run."""

    @property
    def rows_per_epoch(self) -> int:
        """Return the rows of one pass over the data."""

    def row(self, index: int) -> Any:  # noqa: ANN401 - what `data.collate` takes
        """Return one row."""


@dataclass(frozen=True)
class Job:
    """One training run.

    Attributes:
        model: on the CPU, in fp32; trained in place.
        rows: the data.
        pad_id: fills up short rows; occurs in no text.
        schedule: how long, how fast, in which portions.
        processes: how many processes share each step.
        probe: measures bits per byte by language, or None.
        trainer: further arguments of transformers' Trainer.
    """

    model: PreTrainedModel
    rows: Rows
    pad_id: int
    schedule: Schedule
    processes: int = 1
    probe: Probe | None = None
    trainer: Mapping[str, Any] = field(default_factory=dict)


def train(job: Job, context: StageContext) -> None:
    """Train the model in place; after a kill, go on from the last complete checkpoint.

    Every process of the stage calls it. The last step leaves no checkpoint: its weights are
    in the model, and the caller saves them.

    Raises:
        ConfigError: the schedule does not fit the data, the model or the machine.
        StageFailedError: the loss or a gradient is no longer a number, or the model's attention
            does not keep packed documents apart.
    """
    schedule = job.schedule
    steps = schedule.total_steps(job.rows.rows_per_epoch)
    schedule.warmup(steps)
    checkpoints = context.out / "checkpoints"
    if ranks.is_first():
        resume.clean(checkpoints)
    ranks.barrier()
    start = resume.latest(checkpoints)
    base = causal_model(job.model)
    use_cache = job.model.config.use_cache
    precision = precision_of(schedule)
    with deterministic(schedule.threads_of(job.processes)), quiet_transformers():
        trainer = _make_trainer(job, context, checkpoints, steps)
        trainer.tokens = start.tokens if start and ranks.is_first() else 0
        ids = torch.from_numpy(job.rows.row(0).ids[None, :PROBED_TOKENS])
        with (
            chunked(base, probe={"input_ids": ids.to(base.device), "use_cache": False}),
            recomputing(base, is_on=schedule.gradient_checkpointing),
            training_attention(base, schedule.attention, precision=precision),
            disk_errors(checkpoints),
            quiet_peft(),
        ):
            collator = collator_for(base, pad_id=job.pad_id, seq_len=schedule.seq_len)
            with autocast(base, precision):
                check_packing(job.model, job.rows, collator)
            trainer.data_collator = collator
            trainer.train(resume_from_checkpoint=str(start.path) if start else None)
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


class StepTrainer(Trainer):
    """transformers' Trainer, with our schedule, a count of tokens and a stop at NaN."""

    schedule: Schedule
    pad_id: int
    lr_scheduler: LambdaLR | None
    tokens: int | torch.Tensor = 0
    """Tokens seen by this process, padding left out."""

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:  # noqa: ANN401
        """Give every B of an adapter a learning rate of its own, where LoRA+ is asked for."""
        optimizer: torch.optim.Optimizer = super().create_optimizer(model)
        ratio = self.schedule.lora_plus_ratio
        of_b = {p for name, p in (model or self.model).named_parameters() if ".lora_B." in name}
        for group in list(optimizer.param_groups) if ratio != 1.0 else []:
            faster = [p for p in group["params"] if p in of_b]
            if faster:
                group["params"] = [p for p in group["params"] if p not in of_b]
                rate = group["lr"] * ratio
                optimizer.add_param_group({**group, "params": faster, "lr": rate})
        return optimizer

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> LambdaLR:
        """Follow `Schedule.factor`."""
        if self.lr_scheduler is None:
            factor = partial(self.schedule.factor, total_steps=num_training_steps)
            self.lr_scheduler = LambdaLR(optimizer or self.optimizer, factor)
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:  # noqa: ANN401
        """Go forward and backward over one micro-batch; stop where the loss is not a number."""
        inputs = args[1] if len(args) > 1 else kwargs["inputs"]
        self.tokens += inputs["input_ids"].ne(self.pad_id).sum()
        loss = super().training_step(*args, **kwargs)
        self._check_finite("loss", float(loss))
        return loss

    def floating_point_ops(self, inputs: Any) -> int:  # noqa: ANN401
        """Return 0: nobody reads the count, and it walks through the model at each step."""
        return 0

    def _clip_grad_norm(self, model: torch.nn.Module) -> Any:  # noqa: ANN401
        """Stop before a gradient that is not a number reaches the weights.

        fp16 is left out: its loss scaler meets such gradients on purpose and skips the step.
        """
        norm = super()._clip_grad_norm(model)
        if not self.args.fp16:
            self._check_finite("gradient norm", float(norm))
        return norm

    def _check_finite(self, what: str, value: float) -> None:
        if math.isfinite(value):
            return
        step, rate = self.state.global_step + 1, self._get_learning_rate()
        if step == 1:
            raise StageFailedError(
                f"the {what} is {value} at step 1",
                why="no update was made yet: the model's own weights are damaged or overflow",
                fix="check the model with hanlin weights verify, or take another one",
            )
        raise StageFailedError(
            f"the {what} is {value} at step {step}",
            why=f"the training diverged at a learning rate of {rate:.3g}",
            fix="lower schedule.learning_rate or raise schedule.warmup_steps"
            + (", or set schedule.precision to bf16" if self.args.fp16 else ""),
        )


class _RunRows(torch.utils.data.Dataset):
    """The rows of the whole run, in order; the sampler goes through them one by one."""

    def __init__(self, rows: Rows, count: int) -> None:
        self.rows, self.count = rows, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:  # noqa: ANN401
        return self.rows.row(index)


def _make_trainer(job: Job, context: StageContext, checkpoints: Path, steps: int) -> StepTrainer:
    schedule = job.schedule
    trainer = StepTrainer(
        model=job.model,
        args=training_arguments(
            schedule,
            folder=checkpoints,
            steps=steps,
            processes=job.processes,
            seed=context.stream("trainer"),
            extra=job.trainer,
        ),
        train_dataset=_RunRows(job.rows, steps * schedule.rows_per_step),
    )
    trainer.schedule, trainer.pad_id = schedule, job.pad_id
    trainer.remove_callback(PrinterCallback)
    keeper = CheckpointKeeper(checkpoints, steps=steps, tokens=lambda: int(trainer.tokens))
    trainer.add_callback(keeper)
    recorder = Recorder(
        context,
        steps=steps,
        tokens=lambda: int(trainer.tokens),
        probe=job.probe,
        probe_every=schedule.probe_steps(steps),
    )
    trainer.add_callback(recorder)
    return trainer
