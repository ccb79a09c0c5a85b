"""What will training take on a card, and on many: memory, hours, disk, money? Without torch.

hanlin plan --model llama-13b --method qlora --seq-len 2048 --gpu rtx-2080ti
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from hanlin.models.advice import Change, advise
from hanlin.models.cards import Card
from hanlin.models.info import ModelInfo
from hanlin.models.memory import (
    ADAM_BYTES,
    Memory,
    Training,
    trained_parameters,
    training_memory,
)
from hanlin.models.speed import NETWORK, Cluster, StepTime, step_time, traffic

CHECKPOINTS = 3  # two are kept, and the next is written before the oldest goes
CARDS_OF_A_NODE = 8


@dataclass(frozen=True)
class Job:
    """One training to plan.

    Attributes:
        name: stage id, or the model's name.
        info: shape of the model.
        training: per process; `processes` is not counted in, the fleet's cards are.
        rows_per_step: over all cards; None: one micro-batch in each.
        tokens: trained on in all; None where it is not known.
        weight_bytes: of the model on disk.
    """

    name: str
    info: ModelInfo
    training: Training
    rows_per_step: int | None = None
    tokens: int | None = None
    weight_bytes: int = 0


@dataclass(frozen=True)
class Fleet:
    """What it is to run on.

    Attributes:
        card: each card.
        gpus: cards in all.
        network: GB/s between machines, in one direction.
        usd_per_hour: price of one card; None: the card's.
    """

    card: Card
    gpus: int = 1
    network: float = NETWORK
    usd_per_hour: float | None = None

    @property
    def nodes(self) -> int:
        """Return the machines, eight cards in each."""
        return -(-self.gpus // CARDS_OF_A_NODE)

    @property
    def price(self) -> float | None:
        """Return what one card costs in an hour."""
        return self.card.usd_per_hour if self.usd_per_hour is None else self.usd_per_hour


@dataclass(frozen=True)
class Forecast:
    """What a job takes on a fleet.

    Attributes:
        job: what is trained.
        fleet: on what.
        training: with precision and sharding of this fleet.
        memory: at the peak, in each process.
        fits: within what a card can be counted on for.
        step: time of one update.
        tokens_per_second: over all cards.
        hours: of the whole training; None where its length is not known.
        usd: of the whole training; None where the price or the length is not known.
        disk_bytes: model, result and checkpoints.
        traffic_bytes: that each card sends in a step.
        host_bytes: what each machine keeps in its own memory instead of the cards'.
        changes: what would make it fit.
    """

    job: Job
    fleet: Fleet
    training: Training
    memory: Memory
    fits: bool
    step: StepTime
    tokens_per_second: float
    hours: float | None
    usd: float | None
    disk_bytes: int
    traffic_bytes: int
    host_bytes: int
    changes: tuple[Change, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for `--json`."""
        return {
            "name": self.job.name,
            "gpu": self.fleet.card.name,
            "gpus": self.fleet.gpus,
            "nodes": self.fleet.nodes,
            "method": self.training.method,
            "precision": self.training.precision,
            "zero_stage": self.training.zero_stage,
            "parameters": self.job.info.parameters,
            "trained_parameters": trained_parameters(self.job.info, self.training),
            "memory": self.memory.as_dict(),
            "usable_bytes": self.fleet.card.usable_bytes,
            "fits": self.fits,
            "step_seconds": self.step.as_dict(),
            "tokens_per_second": round(self.tokens_per_second, 1),
            "tokens": self.job.tokens,
            "hours": None if self.hours is None else round(self.hours, 2),
            "usd": None if self.usd is None else round(self.usd, 2),
            "disk_bytes": self.disk_bytes,
            "traffic_bytes_per_step": self.traffic_bytes,
            "host_bytes": self.host_bytes,
            "changes": [change.as_dict() for change in self.changes],
        }


def forecast(job: Job, fleet: Fleet) -> Forecast:
    """Predict what a job takes on a fleet, and what would make it fit."""
    training, accumulation = _on(job, fleet)
    memory = training_memory(job.info, training)
    cluster = Cluster(fleet.card, fleet.nodes, fleet.network)
    step = step_time(job.info, training, cluster, accumulation=accumulation)
    speed = training.tokens * fleet.gpus * accumulation / step.total
    hours = None if job.tokens is None else job.tokens / speed / 3600
    price = fleet.price
    is_fitting = memory.total <= fleet.card.usable_bytes
    return Forecast(
        job=job,
        fleet=fleet,
        training=training,
        memory=memory,
        fits=is_fitting,
        step=step,
        tokens_per_second=speed,
        hours=hours,
        usd=None if hours is None or price is None else hours * price * fleet.gpus,
        disk_bytes=disk_bytes(job),
        traffic_bytes=round(traffic(job.info, training, accumulation=accumulation)),
        host_bytes=_on_host(job.info, training, fleet),
        changes=() if is_fitting else tuple(advise(job.info, training, fleet.card)),
    )


def scaling(job: Job, fleet: Fleet, *, counts: tuple[int, ...]) -> list[Forecast]:
    """Predict the same job on different numbers of cards."""
    return [forecast(job, replace(fleet, gpus=count)) for count in counts]


def disk_bytes(job: Job) -> int:
    """Return the disk that the model, the result and the checkpoints take."""
    trained = trained_parameters(job.info, job.training)
    checkpoint = (4 + ADAM_BYTES[job.training.optimizer]) * trained
    model = job.weight_bytes or 2 * job.info.parameters
    return round(model + 4 * trained + CHECKPOINTS * checkpoint)


def _on_host(info: ModelInfo, training: Training, fleet: Fleet) -> int:
    """Return the bytes that a machine's memory holds for its cards."""
    if training.on_host == "none":
        return 0
    here, moved = replace(training, on_host="none"), training.processes // fleet.nodes
    full, left = training_memory(info, here), training_memory(info, training)
    kept = ("weights", "gradients", "optimizer")
    return moved * sum(getattr(full, name) - getattr(left, name) for name in kept)


def _on(job: Job, fleet: Fleet) -> tuple[Training, int]:
    """Return the training in each process of a fleet, and its micro-batches of a step."""
    training = job.training
    rows = job.rows_per_step or training.rows * fleet.gpus
    accumulation = max(1, round(rows / (training.rows * fleet.gpus)))
    precision = training.precision
    if precision == "bf16" and not fleet.card.has_bf16:
        precision = "fp16"
    return (
        replace(
            training,
            precision=precision,
            processes=fleet.gpus,
            accumulates=accumulation > 1,
            on_gpu=True,
        ),
        accumulation,
    )
