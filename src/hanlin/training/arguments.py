"""What is transformers' Trainer told? Our settings, and any other argument that a user names."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainingArguments

from hanlin.core import ranks
from hanlin.core.errors import ConfigError
from hanlin.core.extras import require
from hanlin.core.stage import StageContext
from hanlin.training.schedule import Schedule

OPTIMIZERS = {  # our name -> the Trainer's
    "adamw": "adamw_torch_fused",
    "adamw-8bit": "adamw_bnb_8bit",
    "paged-adamw": "paged_adamw_32bit",
    "paged-adamw-8bit": "paged_adamw_8bit",
}
TENSORBOARD = "tensorboard"
REPORTERS = (TENSORBOARD, "trackio", "wandb")  # by the names of their packages
OURS = {  # what is set through a key of our own
    "adam_beta1": "schedule.betas", "adam_beta2": "schedule.betas", "bf16": "schedule.precision",
    "fp16": "schedule.precision", "gradient_checkpointing": "schedule.gradient_checkpointing",
    "learning_rate": "schedule.learning_rate", "logging_steps": "schedule.log_every",
    "lr_scheduler_type": "schedule.scheduler", "max_grad_norm": "schedule.max_grad_norm",
    "max_steps": "schedule.steps", "neftune_noise_alpha": "schedule.neftune_alpha",
    "num_train_epochs": "schedule.epochs", "optim": "schedule.optimizer",
    "gradient_accumulation_steps": "schedule.gradient_accumulation_steps",
    "per_device_train_batch_size": "schedule.micro_batch_size", "save_steps": "schedule.save_every",
    "warmup_steps": "schedule.warmup_steps", "weight_decay": "schedule.weight_decay",
}  # fmt: skip


def precision_of(schedule: Schedule) -> str:
    """Return "fp32", "bf16" or "fp16": what the schedule says, or what suits this machine.

    Raises:
        ConfigError: fp16 is asked for where there is no GPU.
    """
    has_gpu = torch.cuda.is_available()
    if schedule.precision == "auto":
        if not has_gpu:
            return "fp32"
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if schedule.precision == "fp16" and not has_gpu:
        raise ConfigError(
            "precision fp16 needs a GPU, and torch sees none",
            why="processors have no fast 16-bit float arithmetic",
            fix="set schedule.precision to fp32 (or bf16 where the processor has AMX)",
        )
    return schedule.precision


def training_arguments(  # noqa: PLR0913 - the last one has a default
    schedule: Schedule,
    *,
    folder: Path,
    steps: int,
    processes: int,
    seed: int,
    extra: Mapping[str, Any],
    make: Callable[..., TrainingArguments] = TrainingArguments,
) -> TrainingArguments:
    """Return the Trainer's arguments.

    Args:
        schedule: our settings.
        folder: where checkpoints go.
        steps: of the run.
        processes: that share each step.
        seed: of what is random in a step, such as dropout.
        extra: further arguments by transformers' names.
        make: makes them.

    Raises:
        ConfigError: an extra argument is unknown, has a key of our own, or is refused; or the
            machine has not what the schedule asks for.
    """
    _check_optimizer(schedule.optimizer)
    values = {
        "output_dir": str(folder),
        "max_steps": steps,
        "gradient_accumulation_steps": schedule.accumulation_of(processes),
        "seed": seed,
        **_loop(schedule, steps=steps),
        **_machine(precision_of(schedule), processes=processes),
    }
    _check_extra(extra, values)
    others = [name for name in _reporters(extra) if name != TENSORBOARD]
    try:
        return make(**{**values, **extra, "report_to": others or "none"})
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"transformers refuses the arguments below the key `trainer`: {', '.join(extra)}",
            why=str(error).splitlines()[0],
            fix="see transformers' page on TrainingArguments for what they take",
        ) from error


def curve_writer(extra: Mapping[str, Any], context: StageContext) -> TrainerCallback | None:
    """Return what writes the curves for TensorBoard, beside events.jsonl, where it is asked for.

    Raises:
        MissingExtraError: TensorBoard is not installed.
    """
    if TENSORBOARD not in _reporters(extra) or not ranks.is_first():
        return None
    from torch.utils.tensorboard import SummaryWriter
    from transformers.integrations import TensorBoardCallback

    folder = context.events.path.parent / TENSORBOARD / context.name
    return TensorBoardCallback(SummaryWriter(str(folder)))


def _reporters(extra: Mapping[str, Any]) -> list[str]:
    """Return where curves are reported to, after checking that it is installed."""
    asked = extra.get("report_to") or []
    names = [asked] if isinstance(asked, str) else list(asked)
    names = [name for name in names if name != "none"]
    for name in names:
        if name not in REPORTERS:
            raise ConfigError(
                f"trainer.report_to: {name!r} is not known",
                why="events.jsonl and the report card have all curves anyway",
                fix=f"take one of {', '.join(REPORTERS)}, or delete it",
            )
        require(name, extra="curves", purpose=f"curves in {name}")
    return names


def _loop(schedule: Schedule, *, steps: int) -> dict[str, Any]:
    """Return how the steps are made, logged and saved."""
    return {
        "per_device_train_batch_size": schedule.micro_batch_size,
        "train_sampling_strategy": "sequential",
        "ignore_data_skip": True,  # the rows begin where they are to go on
        "remove_unused_columns": False,
        "learning_rate": schedule.learning_rate,
        "weight_decay": schedule.weight_decay,
        "adam_beta1": schedule.betas[0],
        "adam_beta2": schedule.betas[1],
        "max_grad_norm": schedule.max_grad_norm,
        "neftune_noise_alpha": schedule.neftune_alpha,
        "optim": OPTIMIZERS[schedule.optimizer],
        "save_strategy": "steps",
        "save_steps": schedule.save_steps(steps),
        "logging_strategy": "steps",
        "logging_steps": schedule.log_every,
        "logging_first_step": True,
        "logging_nan_inf_filter": False,
        "disable_tqdm": True,
    }


def _machine(precision: str, *, processes: int) -> dict[str, Any]:
    """Return what depends on the device and on how many share the work."""
    has_gpu = torch.cuda.is_available()
    return {
        "bf16": precision == "bf16",
        "fp16": precision == "fp16",
        "use_cpu": not has_gpu,
        "dataloader_pin_memory": has_gpu,
        "ddp_backend": None if processes == 1 or has_gpu else "gloo",
        "ddp_find_unused_parameters": False,
    }


def _check_extra(extra: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    known = sorted(field.name for field in fields(TrainingArguments) if field.init)
    for name in extra:
        if name in OURS:
            raise ConfigError(
                f"trainer.{name} has a key of its own here: {OURS[name]}",
                fix=f"delete trainer.{name} and set {OURS[name]}",
            )
        if name in values:
            raise ConfigError(
                f"trainer.{name} cannot be set",
                why="exact resuming and the shares of the processes depend on it",
                fix=f"delete trainer.{name}",
            )
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise ConfigError(
                f"trainer.{name} is no argument of transformers' TrainingArguments",
                fix=f"did you mean {near[0]!r}?" if near else "delete it",
            )


def _check_optimizer(name: str) -> None:
    if name == "adamw":
        return
    if not torch.cuda.is_available():
        raise ConfigError(
            f"schedule.optimizer {name} needs a GPU, and torch sees none",
            why="bitsandbytes keeps 8-bit and paged moments on a GPU only",
            fix="set schedule.optimizer to adamw",
        )
    require("bitsandbytes", extra="quantize", purpose=f"the optimizer {name}")
