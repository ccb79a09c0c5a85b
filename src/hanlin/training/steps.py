"""What do all trainings share: steps that are counted, checked, kept, and gone on with?

Row i of the run is the i-th row of the data, whatever the number of processes: what a step sees is
a pure function of its number, so a run that goes on from a checkpoint cannot drift.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainingArguments

from hanlin.core import ranks
from hanlin.core.errors import ConfigError, StageFailedError
from hanlin.core.extras import require
from hanlin.core.stage import StageContext
from hanlin.models.save import quiet_transformers
from hanlin.training import resume
from hanlin.training.arguments import curve_writer, precision_of, training_arguments
from hanlin.training.callbacks import CheckpointKeeper, Recorder
from hanlin.training.failed_step import Decode, write_rows
from hanlin.training.probes import Probe
from hanlin.training.resume import Checkpoint
from hanlin.training.schedule import Schedule
from hanlin.training.sharding import Sharding, deepspeed_config, shapes_of, warn_of_fsdp
from hanlin.training.state import State, arithmetic, begin_with, total_steps

CHECKPOINTS = "checkpoints"


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
        probe: measures the model on held-out texts, or None.
        trainer: further arguments of transformers' Trainer.
        state: what it goes on from, its weights in the model already; None: a new run.
        compat: see `state.total_steps`.
        keeps_last: the last step leaves a checkpoint too.
        decode: ids -> text, for the rows of a step that failed.
        sharding: what the processes share out among them.
    """

    model: PreTrainedModel
    rows: Rows
    pad_id: int
    schedule: Schedule
    processes: int = 1
    probe: Probe | None = None
    trainer: Mapping[str, Any] = field(default_factory=dict)
    state: State | None = None
    compat: str | None = None
    keeps_last: bool = False
    decode: Decode | None = None
    sharding: Sharding = field(default_factory=Sharding)

    @property
    def first_step(self) -> int:
        """Return the updates that earlier runs have made."""
        return 0 if self.state is None else self.state.step

    def total_steps(self) -> int:
        """Return the updates that are made at the end, those of earlier runs included.

        Raises:
            ConfigError: the warm-up would take the whole run, or no step is left.
        """
        steps = self.schedule.total_steps(self.rows.rows_per_epoch)
        if self.state is not None:
            steps = total_steps(self.state, steps, compat=self.compat)
        self.schedule.warmup(steps)
        return steps

    def rows_of(self, step: int) -> range:
        """Return which rows update number `step`, from 1, is made of."""
        each = self.schedule.rows_per_step
        start = (step - 1 - self.first_step) * each
        return range(start, start + each)


def open_checkpoints(job: Job, context: StageContext, steps: int) -> Checkpoint | None:
    """Return the checkpoint to go on from: this run's newest, or what an earlier run left."""
    folder = context.out / CHECKPOINTS
    if ranks.is_first():
        resume.clean(folder)
        found = resume.latest(folder)
        if found is not None and found.step >= steps:  # the Trainer would make one step too many
            resume.delete(found)
            found = resume.latest(folder)
        if job.state is not None and found is None:
            note = arithmetic(job.state, job.schedule, steps)
            context.note(note)
            context.events.emit("continued", stage=context.name, text=note, total_steps=steps)
            path = resume.checkpoint_path(folder, job.state.step)
            with quiet_transformers():
                begin_with(job.state, job.model, path, schedule=job.schedule, steps=steps)
            resume.mark_complete(path, step=job.state.step, tokens=job.state.tokens)
    ranks.barrier()
    start = resume.latest(folder)
    if job.sharding.zero and start is not None and start.processes != job.processes:
        raise ConfigError(
            f"the run was interrupted with {start.processes} processes, and processes is "
            f"{job.processes}",
            why="under DeepSpeed's ZeRO each process can go on with its own share only",
            fix=f"set processes to {start.processes}; without sharding.zero it could change",
        )
    return start


class StepTrainer(Trainer):
    """transformers' Trainer, with our schedule, a count of tokens and a stop at NaN."""

    job: Job
    lr_scheduler: LambdaLR | None
    tokens: int | torch.Tensor = 0
    """Tokens seen by this process, padding left out."""
    rng_from: str | None = None
    """The checkpoint whose random state is still to be taken."""

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:  # noqa: ANN401
        """Give every B of an adapter a learning rate of its own, where LoRA+ is asked for."""
        optimizer: torch.optim.Optimizer = super().create_optimizer(model)
        ratio = self.job.schedule.lora_plus_ratio
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
            factor = partial(self.job.schedule.factor, total_steps=num_training_steps)
            self.lr_scheduler = LambdaLR(optimizer or self.optimizer, factor)
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:  # noqa: ANN401
        """Go forward and backward over one micro-batch; stop where the loss is not a number."""
        inputs = args[1] if len(args) > 1 else kwargs["inputs"]
        self.tokens += inputs["input_ids"].ne(self.job.pad_id).sum()
        loss = super().training_step(*args, **kwargs)
        self._check_finite("loss", float(loss))
        return loss

    def _load_rng_state(self, checkpoint: str | None) -> None:
        """Wait for the first batch: to begin with the rows draws a random number itself."""
        self.rng_from = checkpoint

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """Return the micro-batches of a step."""
        found = super().get_batch_samples(*args, **kwargs)
        if self.rng_from is not None:
            super()._load_rng_state(self.rng_from)
            self.rng_from = None
        return found

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
        file = Path(str(self.args.output_dir)).with_name(f"rows-of-step-{step}.jsonl")
        write_rows(self.job.rows, self.job.rows_of(step), file, decode=self.job.decode)
        if step == 1:
            raise StageFailedError(
                f"the {what} is {value} at step 1",
                why="no update was made yet: the model's own weights are damaged or overflow; the "
                f"rows are in {file}",
                fix="check the model with hanlin weights verify, or take another one",
            )
        raise StageFailedError(
            f"the {what} is {value} at step {step}",
            why=f"the training diverged at a learning rate of {rate:.3g}; the rows of the step are "
            f"in {file}",
            fix="lower schedule.learning_rate or raise schedule.warmup_steps"
            + (", or set schedule.precision to bf16" if self.args.fp16 else "")
            + "; if the rows are damaged, take them out of the data",
        )


def arguments_of(
    job: Job,
    context: StageContext,
    steps: int,
    *,
    kind: type[TrainingArguments],
    **more: Any,  # noqa: ANN401
) -> TrainingArguments:
    """Return the Trainer's arguments for a job.

    Args:
        job: the training.
        context: names the folder of the checkpoints and the seed.
        steps: made at the end.
        kind: the class of the arguments.
        more: what only this class knows.

    Raises:
        ConfigError: see `arguments.training_arguments`.
        MissingExtraError: something that is asked for is not installed.
    """
    new = steps - job.first_step
    return training_arguments(
        job.schedule.model_copy(update={"save_every": job.schedule.save_steps(new)}),
        folder=context.out / CHECKPOINTS,
        steps=steps,
        processes=job.processes,
        seed=context.stream("trainer"),
        extra={**job.trainer, **_deepspeed(job)},
        make=lambda **values: kind(**values, **more),
    )


def equip(trainer: StepTrainer, job: Job, context: StageContext, steps: int) -> None:
    """Give a trainer its job and what happens between the steps."""
    trainer.job = job
    warn_of_fsdp(trainer.args)
    trainer.remove_callback(PrinterCallback)

    def tokens() -> int:
        return int(trainer.tokens)

    keeper = CheckpointKeeper(
        context.out / CHECKPOINTS, steps=steps, tokens=tokens, keeps_last=job.keeps_last,
        shapes=shapes_of(job.model),
    )  # fmt: skip
    recorder = Recorder(
        context, steps=range(job.first_step, steps), tokens=tokens, probe=job.probe,
        probe_every=job.schedule.probe_steps(steps - job.first_step), log=trainer.log,
        is_shared=job.sharding.zero == 3,
    )  # fmt: skip
    for callback in (keeper, recorder, curve_writer(job.trainer, context)):
        if callback is not None:
            trainer.add_callback(callback)


def next_row(job: Job, start: Checkpoint | None) -> int:
    """Return the first row that is still to be trained."""
    return job.rows_of(1 + (job.first_step if start is None else start.step)).start


def _deepspeed(job: Job) -> dict[str, Any]:
    """Return the Trainer's argument for DeepSpeed, where something is shared out.

    Raises:
        MissingExtraError: DeepSpeed is not installed.
        ConfigError: the micro-batches cannot be shared out.
    """
    if not job.sharding.zero:
        return {}
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    ops = require("deepspeed.ops", extra="cluster", purpose=f"sharding.zero {job.sharding.zero}")
    if not torch.cuda.is_available():  # gloo does the same; this one is compiled for minutes first
        ops.__compatible_ops__["deepspeed_shm_comm"] = False
    schedule = job.schedule
    each = schedule.accumulation_of(job.processes)
    config = deepspeed_config(job.sharding, schedule, precision=precision_of(schedule), each=each)
    return {"deepspeed": config}
