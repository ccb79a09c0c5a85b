"""What does a run leave so that a later one can go on with its optimizer and schedule?

A *state* is a checkpoint of the Trainer without what only the same run can use, and with a record
of how far it came (`state.json`). Checkpoints of the Trainer that other programs left are read as
well: without running what a pickle may hold, nothing in their folder changed or renamed.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hanlin.core.errors import ConfigError, InputError
from hanlin.core.files import read_json, write_json
from hanlin.training.schedule import Schedule

RECORD, TRAINER_STATE = "state.json", "trainer_state.json"
OPTIMIZER, LR_SCHEDULER = "optimizer.pt", "scheduler.pt"
LEFT_OUT = ("complete.json", "training_args.bin", "README.md")  # the marker; a pickle; PEFT's card
KEPT = (  # keys of the schedule that an optimizer and a learning rate in the middle depend on
    "optimizer", "betas", "weight_decay", "learning_rate", "lora_plus_ratio", "scheduler",
    "warmup_steps", "min_learning_rate_ratio",
)  # fmt: skip


@dataclass(frozen=True)
class State:
    """How far an earlier run came.

    Attributes:
        path: its folder.
        step: updates of the weights that were made.
        steps: updates that the run was to make; its learning rate was planned for them.
        tokens: seen until then.
        rows_per_step: rows of each update; None where it is not known.
        schedule: those of `KEPT` that are known.
    """

    path: Path
    step: int
    steps: int
    tokens: int = 0
    rows_per_step: int | None = None
    schedule: Mapping[str, Any] = field(default_factory=dict)


def read_state(path: Path) -> State:
    """Read what is known of a kept state, or of a checkpoint of the Trainer.

    Raises:
        InputError: it is neither.
    """
    missing = [name for name in (OPTIMIZER, LR_SCHEDULER) if not (path / name).is_file()]
    if missing or not ((path / RECORD).is_file() or (path / TRAINER_STATE).is_file()):
        raise InputError(
            f"{path} holds no state that training can be continued from",
            why=f"it has no {missing[0] if missing else TRAINER_STATE}; weights alone are where a "
            "new optimizer and schedule start",
            fix="give the `state` of a run with keep_state: true or a checkpoint of the Trainer; "
            "for weights alone: --init-from ADAPTER, or --model MODEL for a whole model",
        )
    ours = (path / RECORD).is_file()
    record = read_json(path / (RECORD if ours else TRAINER_STATE))
    try:
        if not ours:
            return _of_trainer(path, record)
        return State(
            path, int(record["step"]), int(record["steps"]), int(record["tokens"]),
            int(record["rows_per_step"]), dict(record["schedule"]),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path / (RECORD if ours else TRAINER_STATE)} does not say how far the run came",
            why=f"{type(error).__name__}: {error}",
            fix="copy the folder again, or train from the weights with --init-from",
        ) from error


def _of_trainer(path: Path, record: Mapping[str, Any]) -> State:
    scheduler = _load(path / LR_SCHEDULER)
    known = {"learning_rate": float(scheduler["base_lrs"][0])}
    step, steps = int(record["global_step"]), int(record["max_steps"])
    return State(path, step, steps, int(record.get("num_input_tokens_seen") or 0), None, known)


def schedule_like(schedule: Schedule, state: State) -> Schedule:
    """Return the schedule of a run that is continued.

    Args:
        schedule: what the config says; what it leaves out follows the state.
        state: the earlier run's.

    Raises:
        ConfigError: the config says something else than the state.
    """
    known: dict[str, Any] = {}
    for name in KEPT:
        said, found = getattr(schedule, name), state.schedule.get(name)
        found = tuple(found) if isinstance(found, list) else found
        if found is None or said == found:
            continue
        if name in schedule.model_fields_set:
            raise ConfigError(
                f"schedule.{name} is {said!r}, but {state.path} was trained with {found!r}",
                why="--continue keeps the optimizer and the schedule",
                fix=f"delete schedule.{name}, or start a new schedule with --init-from",
            )
        known[name] = found
    return schedule.model_copy(update=known)


def total_steps(state: State, new: int, *, compat: str | None) -> int:
    """Return the steps that all runs together make.

    Args:
        state: the earlier run's.
        new: steps that the config asks for, or its data makes.
        compat: None adds them to those made; "chinese-vicuna" takes the larger of `new` and of what
            the earlier run was to make, as its finetune.py does with max_steps.

    Raises:
        ConfigError: no step would be left.
    """
    total = state.step + new if compat is None else max(state.steps, new)
    if total <= state.step:
        raise ConfigError(
            f"nothing is left to train: {state.step} steps are made, and the larger of the earlier "
            f"run's {state.steps} and the new {new} is {total}",
            why=f"compat {compat} counts the steps of all runs together",
            fix=f"set schedule.steps above {state.step}, or delete compat to make {new} more",
        )
    return total


def arithmetic(state: State, schedule: Schedule, total: int) -> str:
    """Say in a few lines what a continued run does with steps, rows and learning rate."""
    before = [f"rows per step: {schedule.rows_per_step}"]
    if state.rows_per_step not in (None, schedule.rows_per_step):
        before.append(f"(before: {state.rows_per_step})")
    rate = schedule.learning_rate

    def at(step: int, steps: int) -> str:
        return f"{rate * schedule.factor(step, steps):.3g}"

    was = ""
    if "scheduler" in state.schedule:  # else the earlier schedule was not one of ours
        was = f"was {at(state.step - 1, state.steps)} at the last step; "
    return "\n".join([
        f"continues from {state.path}",
        f"  steps: {state.step} made (of {state.steps}) + {total - state.step} new = {total}",
        f"  learning rate: {was}goes on at {at(state.step, total)}, since the schedule now spans "
        f"{total} steps, and ends at {at(total - 1, total)}",
        f"  data: from its first row; {' '.join(before)}",
        "  kept: weights, optimizer, schedule, random state",
    ])  # fmt: skip


def begin_with(
    state: State,
    model: Any,  # noqa: ANN401 - a PeftModel or a PreTrainedModel
    checkpoint: Path,
    *,
    schedule: Schedule,
    steps: int,
) -> None:
    """Write the checkpoint that a continued run starts with.

    Args:
        state: the earlier run's.
        model: with the state's weights.
        checkpoint: the folder.
        schedule: of the run that begins.
        steps: made at the end.

    Raises:
        InputError: the optimizer was made for other weights.
    """
    import torch
    from transformers import TrainerControl, TrainerState

    optimizer = _load(state.path / OPTIMIZER)
    _check_optimizer(optimizer, model, state.path / OPTIMIZER)
    for group in optimizer["param_groups"]:  # it holds the rate of the earlier run's last step
        height = group.get("initial_lr", schedule.learning_rate)
        group["lr"] = height * schedule.factor(state.step, steps)
    scheduler = _load(state.path / LR_SCHEDULER)
    scheduler["_last_lr"] = [group["lr"] for group in optimizer["param_groups"]]
    shutil.rmtree(checkpoint, ignore_errors=True)
    model.save_pretrained(str(checkpoint))
    copied = [*state.path.glob("rng_state*.pth"), *state.path.glob("scaler.pt")]
    for file in copied:
        shutil.copyfile(file, checkpoint / file.name)
    torch.save(optimizer, checkpoint / OPTIMIZER)
    torch.save(scheduler, checkpoint / LR_SCHEDULER)
    begun = TrainerState(
        global_step=state.step, train_batch_size=schedule.micro_batch_size,
        logging_steps=schedule.log_every, save_steps=schedule.save_steps(steps - state.step),
        stateful_callbacks=[TrainerControl()],
    )  # fmt: skip
    begun.save_to_json(str(checkpoint / TRAINER_STATE))


def keep(checkpoint: Path, out: Path, record: Mapping[str, object]) -> None:
    """Copy a checkpoint to where it outlives its run, with a record."""
    from transformers import TrainerState

    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(checkpoint, out, ignore=shutil.ignore_patterns(*LEFT_OUT))
    TrainerState(global_step=int(str(record["step"]))).save_to_json(str(out / TRAINER_STATE))
    write_json(out / RECORD, {"version": 1, **record})


def _check_optimizer(optimizer: Mapping[str, Any], model: Any, file: Path) -> None:  # noqa: ANN401
    """Compare the shapes of the moments with those of the weights that are trained."""
    moments = optimizer.get("state", {}).values()
    found = sorted(tuple(own["exp_avg"].shape) for own in moments if "exp_avg" in own)
    wanted = sorted(tuple(p.shape) for p in model.parameters() if p.requires_grad)
    if found == wanted:
        return
    raise InputError(
        f"{file} does not belong to the weights that are trained: it holds the moments of "
        f"{len(found)} tensors, {len(wanted)} are trained",
        why="other layers or other grown rows were trained, or another kind of optimizer was used",
        fix="train as the earlier run did, or start a new optimizer with --init-from",
    )


def _load(file: Path) -> dict[str, Any]:
    """Read a file of torch.save; nothing but tensors and plain values is accepted."""
    import pickle

    import torch

    try:
        found = torch.load(file, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise InputError(
            f"{file} cannot be read",
            why=str(error).partition("\n")[0][:200],
            fix="copy it again; or train from the weights alone with --init-from",
        ) from error
    if not isinstance(found, dict):
        raise InputError(f"{file} holds no state of an optimizer", fix="copy it again")
    return found
