"""What happens between the steps: events, progress, probes, complete checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState

from hanlin.core import ranks
from hanlin.core.events import read_events
from hanlin.core.stage import StageContext
from hanlin.training import resume
from hanlin.training.probes import Probe
from hanlin.training.saved_adapter import check_checkpoint
from hanlin.training.sharding import Shapes


class CheckpointKeeper(TrainerCallback):
    """Marks each checkpoint as complete and deletes old ones.

    Args:
        folder: where the Trainer writes its checkpoints.
        steps: number of the last step.
        tokens: returns the tokens that this process has seen.
        keeps_last: whether the last step leaves a checkpoint; the stage saves the model itself.
        shapes: what each checkpoint must hold.
    """

    def __init__(
        self,
        folder: Path,
        *,
        steps: int,
        tokens: Callable[[], int],
        keeps_last: bool,
        shapes: Shapes,
    ) -> None:
        self.folder, self.steps, self.tokens = folder, steps, tokens
        self.keeps_last, self.shapes = keeps_last, shapes

    def on_step_end(
        self,
        args: Any,  # noqa: ANN401
        state: TrainerState,
        control: TrainerControl,
        **_: object,
    ) -> None:
        """Log the last step; leave out its checkpoint, unless it is to be kept."""
        if state.global_step >= self.steps:
            control.should_save, control.should_log = self.keeps_last, True

    def on_save(
        self,
        args: Any,  # noqa: ANN401
        state: TrainerState,
        control: TrainerControl,
        **_: object,
    ) -> None:
        """Read the weights back and write the marker, once every process has written its part."""
        tokens = ranks.total(self.tokens())
        ranks.barrier()
        if ranks.is_first():
            path = resume.checkpoint_path(self.folder, state.global_step)
            check_checkpoint(path, self.shapes)
            resume.mark_complete(
                path, step=state.global_step, tokens=tokens, processes=ranks.world_size()
            )
            resume.prune(self.folder)


class Recorder(TrainerCallback):
    """Emits metric, probe and sample events and draws the progress.

    Args:
        context: where events and progress go.
        steps: from the updates that earlier runs made to those made at the end.
        tokens: returns the tokens that this process has seen.
        probe: measures the model; None: no probes.
        probe_every: steps between probes; the first and the last step are always probed.
        log: hands figures to TensorBoard and others.
        is_shared: no process holds all weights, so that all of them have to probe together.
    """

    def __init__(  # noqa: PLR0913 - what it tells, when and to whom
        self,
        context: StageContext,
        *,
        steps: range,
        tokens: Callable[[], int],
        probe: Probe | None,
        probe_every: int,
        log: Callable[[dict[str, float]], None],
        is_shared: bool = False,
    ) -> None:
        self.context, self.steps, self.tokens = context, steps, tokens
        self.probe, self.probe_every, self.log = probe, probe_every, log
        self.is_shared = is_shared
        self.text = ""
        self.last = (time.monotonic(), 0)
        self.at_start: dict[str, float] = {}

    def on_train_begin(
        self,
        args: Any,  # noqa: ANN401
        state: TrainerState,
        control: TrainerControl,
        *,
        model: torch.nn.Module,
        **_: object,
    ) -> None:
        """Probe the model as it was before the first step and start the clock."""
        tokens = ranks.total(self.tokens())
        if state.global_step == self.steps.start:
            self._probe(state.global_step, model, control)
        elif self.probe is not None:  # this run was interrupted and goes on
            self.at_start = _probed_at(self.context, self.steps.start)
        self.last = (time.monotonic(), tokens)

    def on_step_end(
        self,
        args: Any,  # noqa: ANN401
        state: TrainerState,
        control: TrainerControl,
        *,
        model: torch.nn.Module,
        **_: object,
    ) -> None:
        """Draw the progress; probe where it is time."""
        step = state.global_step
        if ranks.is_first():
            self.context.progress(step, self.steps.stop, self.text)
        if (step - self.steps.start) % self.probe_every == 0 or step == self.steps.stop:
            started = time.monotonic()
            self._probe(step, model, control)
            then, tokens = self.last
            self.last = (then + time.monotonic() - started, tokens)

    def on_log(
        self,
        args: Any,  # noqa: ANN401
        state: TrainerState,
        control: TrainerControl,
        *,
        logs: dict[str, float],
        **_: object,
    ) -> None:
        """Emit a metric event."""
        if "loss" not in logs:  # probes, and the Trainer's summary at the end
            return
        now, tokens = time.monotonic(), ranks.total(self.tokens())
        (then, before), self.last = self.last, (now, tokens)
        self.text = f"loss {logs['loss']:.3f}"
        if ranks.is_first():
            self.context.events.emit(
                "metric",
                stage=self.context.name,
                step=state.global_step,
                loss=logs["loss"],
                learning_rate=logs["learning_rate"],
                grad_norm=logs["grad_norm"],
                tokens=tokens,
                tokens_per_s=round((tokens - before) / max(now - then, 1e-9), 1),
                **{k.replace("/", "_"): v for k, v in logs.items() if k.startswith("rewards/")},
            )

    def _probe(self, step: int, model: torch.nn.Module, control: TrainerControl) -> None:
        if self.probe is None or not (ranks.is_first() or self.is_shared):
            return
        found, name, emit = self.probe(model), self.context.name, self.context.events.emit
        if not ranks.is_first():
            return
        if step == self.steps.start:
            self.at_start = dict(found.bits_per_byte)
        for language, value in found.bits_per_byte.items():
            change = _change(self.at_start.get(language), value)
            emit("probe", stage=name, step=step, language=language, bits_per_byte=value,
                 change=change)  # fmt: skip
        for sample in found.samples:
            emit("sample", stage=name, step=step, **asdict(sample))
        was_to_log = control.should_log  # to log anything turns it off
        self.log({f"bits_per_byte/{name}": value for name, value in found.bits_per_byte.items()})
        control.should_log = was_to_log
        if step == self.steps.stop:
            self.context.note(_summary(self.at_start, found.bits_per_byte))


def _probed_at(context: StageContext, step: int) -> dict[str, float]:
    """Return what the last probe of this stage at a step found, from its events."""
    return {
        event["language"]: event["bits_per_byte"]
        for event in read_events(context.events.path)
        if event["event"] == "probe" and (event["stage"], event["step"]) == (context.name, step)
    }


def _change(before: float | None, now: float) -> float | None:
    """Return by which part a figure grew; above 0 something was forgotten."""
    return None if not before else round(now / before - 1, 6)


def _summary(before: Mapping[str, float], after: Mapping[str, float]) -> str:
    parts = []
    for language, now in after.items():
        then = before.get(language)
        change = _change(then, now)
        told = "" if then is None or change is None else f"{then:.3f} -> "
        parts.append(f"{language} {told}{now:.3f}" + (f" ({change:+.1%})" if told else ""))
    return f"  held-out bits per byte: {', '.join(parts)}"
