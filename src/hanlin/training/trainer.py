"""How is a model trained? The one set-up of transformers' Trainer that all three stages use.

Row i of the run is the i-th row of the data, whatever the number of processes: what a step sees is
a pure function of its number, so a run that goes on from a checkpoint cannot drift.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainingArguments

from hanlin.core.errors import ConfigError, StageFailedError
from hanlin.core.stage import StageContext
from hanlin.data.collate import collate, mask_dtype_for
from hanlin.models.save import disk_errors, quiet_transformers
from hanlin.training import ranks, resume
from hanlin.training.adapters import quiet_peft
from hanlin.training.callbacks import CheckpointKeeper, Recorder
from hanlin.training.schedule import Schedule

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
    """

    model: PreTrainedModel
    rows: Rows
    pad_id: int
    schedule: Schedule
    processes: int = 1
    probe: Probe | None = None


def train(job: Job, context: StageContext) -> None:
    """Train the model in place; after a kill, go on from the last complete checkpoint.

    Every process of the stage calls it. The last step leaves no checkpoint: its weights are
    in the model, and the caller saves them.

    Raises:
        ConfigError: the schedule does not fit the data, the model or the machine.
        StageFailedError: the loss or a gradient is no longer a number.
    """
    schedule = job.schedule
    steps = schedule.total_steps(job.rows.rows_per_epoch)
    schedule.warmup(steps)
    _check_machine(schedule)
    checkpoints = context.out / "checkpoints"
    if ranks.is_first():
        resume.clean(checkpoints)
    ranks.barrier()
    start = resume.latest(checkpoints)
    use_cache = job.model.config.use_cache
    with deterministic(schedule.threads_of(job.processes)), quiet_transformers():
        trainer = _make_trainer(job, context, checkpoints, steps)
        trainer.tokens = start.tokens if start and ranks.is_first() else 0
        with disk_errors(checkpoints), quiet_peft():
            trainer.train(resume_from_checkpoint=str(start.path) if start else None)
    job.model.config.use_cache = use_cache  # the Trainer turns it off for training
    job.model.to("cpu")


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
        args=_arguments(job, context, checkpoints, steps),
        train_dataset=_RunRows(job.rows, steps * schedule.rows_per_step),
        data_collator=partial(
            collate,
            pad_id=job.pad_id,
            seq_len=schedule.seq_len,
            mask_dtype=mask_dtype_for(job.model),
        ),
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


def _arguments(job: Job, context: StageContext, checkpoints: Path, steps: int) -> TrainingArguments:
    schedule = job.schedule
    return TrainingArguments(
        output_dir=str(checkpoints),
        max_steps=steps,
        per_device_train_batch_size=schedule.micro_batch_size,
        gradient_accumulation_steps=schedule.accumulation_of(job.processes),
        train_sampling_strategy="sequential",
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        learning_rate=schedule.learning_rate,
        weight_decay=schedule.weight_decay,
        adam_beta1=schedule.betas[0],
        adam_beta2=schedule.betas[1],
        max_grad_norm=schedule.max_grad_norm,
        optim="adamw_torch_fused",
        bf16=schedule.precision == "bf16",
        fp16=schedule.precision == "fp16",
        seed=context.stream("trainer"),
        save_strategy="steps",
        save_steps=schedule.save_steps(steps),
        logging_strategy="steps",
        logging_steps=schedule.log_every,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        report_to="none",
        use_cpu=not torch.cuda.is_available(),
        ddp_backend=None if job.processes == 1 or torch.cuda.is_available() else "gloo",
        ddp_find_unused_parameters=False,
    )


def _check_machine(schedule: Schedule) -> None:
    if schedule.precision == "fp16" and not torch.cuda.is_available():
        raise ConfigError(
            "precision fp16 needs a GPU, and torch sees none",
            why="processors have no fast 16-bit float arithmetic",
            fix="set schedule.precision to fp32 (or bf16 where the processor has AMX)",
        )
