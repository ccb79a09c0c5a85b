"""What a stage is: a strict config, declared outputs, one function, and a cheap estimate."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hanlin.core.config import StrictModel
from hanlin.core.events import EventLog

Outputs = Mapping[str, tuple[str, str]]


class StageConfig(StrictModel):
    """Base of every stage's config.

    A stage that can run in several processes adds a field `processes`; the runner then starts it
    with torchrun.
    """


@dataclass(frozen=True)
class Estimate:
    """What a stage expects to need; None means not known beforehand.

    Attributes:
        disk_bytes: space for outputs and checkpoints.
        memory_bytes: peak resident memory on the host.
        seconds: rough wall time.
    """

    disk_bytes: int | None = None
    memory_bytes: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class StageContext:
    """Everything that a stage may touch. It writes below `out` and nowhere else.

    Attributes:
        name: the stage's id in the recipe.
        out: its work folder; checkpoints live here too and survive a kill.
        seed: the recipe's root seed.
        events: where progress and metrics go.
        progress: called with (done, total, text); draws a bar or nothing.
        note: called with a line for people; prints it or nothing.
    """

    name: str
    out: Path
    seed: int
    events: EventLog
    progress: Callable[[int, int, str], None] = lambda _done, _total, _text: None
    note: Callable[[str], None] = lambda _line: None

    def stream(self, purpose: str) -> int:
        """Return the seed of one named random stream of this stage."""
        return derive_seed(self.seed, f"{self.name}/{purpose}")


@dataclass(frozen=True)
class Stage:
    """One row of the table of stages.

    Attributes:
        summary: one line for the list.
        config: the model that validates this stage's part of a recipe.
        run: does the work; imports heavy libraries inside.
        outputs: output name -> (kind, path below `context.out`) that `run` promises to write;
            a function of the config where that depends on it.
        estimate: cheap and offline, no torch.
        revision: raise it when the same config would now give other bytes.
        is_cacheable: its result may be kept for other runs (`HANLIN_CACHE`).
    """

    summary: str
    config: type[StageConfig]
    run: Callable[[Any, StageContext], None]
    outputs: Outputs | Callable[[Any], Outputs] = field(default_factory=dict)
    estimate: Callable[[Any], Estimate] = lambda _config: Estimate()
    revision: int = 1
    is_cacheable: bool = False

    def outputs_of(self, config: StageConfig) -> Outputs:
        """Return the outputs that this config leads to."""
        return self.outputs(config) if callable(self.outputs) else self.outputs


def derive_seed(seed: int, stream: str) -> int:
    """Return a 31-bit seed for one named purpose, such as "pretrain/order".

    A new consumer never shifts the numbers that another consumer sees. 31 bits, because numpy's
    legacy generator and several C libraries take no more.
    """
    digest = hashlib.sha256(f"{seed}:{stream}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 33
