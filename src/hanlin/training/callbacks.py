"""What happens between the steps: events, progress, probes, complete checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState

from hanlin.core import ranks
from hanlin.core.stage import StageContext
from hanlin.training import resume


class CheckpointKeeper(TrainerCallback):
    """Marks each checkpoint as complete and deletes old ones.

    Args:
        folder: where the Trainer writes its checkpoints.
        steps: number of the last step; it leaves no checkpoint, the stage saves the model itself.
        tokens: returns the tokens that this process has seen.
    """

    def __init__(self, folder: Path, *, steps: int, tokens: Callable[[], int]) -> None:
        self.folder, self.steps, self.tokens = folder, steps, tokens

    def on_step_end(
        self,
        args: Any,  # noqa: ANN401
        state: TrainerState,
        control: TrainerControl,
        **_: object,
    ) -> None:
        """Leave out the checkpoint of the last step; log that step instead."""
        if state.global_step >= self.steps:
            control.should_save, control.should_log = False, True

    def on_save(
        self,
        args: Any,  # noqa: ANN401
        state: TrainerState,
        control: TrainerControl,
        **_: object,
    ) -> None:
        """Write the marker once every process has written its part."""
        tokens = ranks.total(self.tokens())
        ranks.barrier()
        if ranks.is_first():
            path = resume.checkpoint_path(self.folder, state.global_step)
            resume.mark_complete(path, step=state.global_step, tokens=tokens)
            resume.prune(self.folder)


class Recorder(TrainerCallback):
    """Emits metric and probe events and draws the progress.

    Args:
        context: where events and progress go.
        steps: number of the last step.
        tokens: returns the tokens that this process has seen.
        probe: model -> bits per byte by language; None: no probes.
        probe_every: steps between probes; the first and the last step are always probed.
    """

    def __init__(
        self,
        context: StageContext,
        *,
        steps: int,
        tokens: Callable[[], int],
        probe: Callable[[torch.nn.Module], dict[str, float]] | None,
        probe_every: int,
    ) -> None:
        self.context, self.steps, self.tokens = context, steps, tokens
        self.probe, self.probe_every = probe, probe_every
        self.text = ""
        self.last = (time.monotonic(), 0)

    def on_train_begin(
        self,
        args: Any,  # noqa: ANN401
        state: TrainerState,
        control: TrainerControl,
        *,
        model: torch.nn.Module,
        **_: object,
    ) -> None:
        """Probe the untrained model and start the clock."""
        tokens = ranks.total(self.tokens())
        if state.global_step == 0:
            self._probe(0, model)
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
            self.context.progress(step, self.steps, self.text)
        if step % self.probe_every == 0 or step == self.steps:
            started = time.monotonic()
            self._probe(step, model)
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
        if "loss" not in logs:  # the Trainer's summary at the end
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
            )

    def _probe(self, step: int, model: torch.nn.Module) -> None:
        if self.probe is None or not ranks.is_first():
            return
        for language, value in self.probe(model).items():
            self.context.events.emit(
                "probe",
                stage=self.context.name,
                step=step,
                language=language,
                bits_per_byte=value,
            )
