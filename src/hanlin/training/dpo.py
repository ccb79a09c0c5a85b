"""Stage `dpo`: tune a model on pairs of a better and a worse answer.

Direct preference optimization (Rafailov et al. 2023, https://arxiv.org/abs/2305.18290), by TRL.

hanlin dpo --model tuned --preferences pairs.jsonl --out adapter
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from hanlin.core.config import InputPath, ModelPath
from hanlin.core.stage import Estimate, Outputs, Stage, StageContext
from hanlin.training.adapters import Lora
from hanlin.training.estimates import estimate_training, info_of
from hanlin.training.methods import Method
from hanlin.training.settings import TrainingConfig


class Config(TrainingConfig):
    """Config of the stage `dpo`."""

    sequences_per_row: ClassVar[int] = 2  # both answers

    model: ModelPath
    """The model to tune, one that answers already: a folder or a hub id."""
    preferences: list[InputPath] = Field(min_length=1)
    """Files of rows with a question, a `chosen` and a `rejected` answer."""
    prompt: str | None = None
    """Name of the prompt format. None: the one that the model was tuned on."""
    method: Method = "lora"
    """As in `finetune`. "full" holds the model twice: as it becomes, and as it was."""
    lora: Lora = Lora()
    """The adapter, where the method has one."""
    init_from: InputPath | None = None
    """An adapter whose weights this one starts with, and from which it is kept from straying."""
    beta: float = Field(default=0.1, gt=0)
    """How much straying from the model as it was costs; a larger one keeps closer to it."""
    loss: Literal["sigmoid", "ipo", "hinge"] = "sigmoid"
    """DPO's own loss ("sigmoid"); "ipo" (Azar et al. 2023) does not grow with certainty; "hinge"
    is SLiC's (Zhao et al. 2023)."""
    max_bad_rows: float = Field(default=0.01, ge=0, le=1)
    """Largest share of unusable rows of a file; more of them stop the stage."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for key, reason in (
            ("source_rows", "preferences have no token store"),
            ("keep_state", "a run of preferences cannot be continued"),
        ):
            if getattr(self, key):
                raise ValueError(f"{key} cannot be set: {reason}; delete it")
        if self.lora.dropout:
            raise ValueError(
                "lora.dropout is set: the model and what it was must differ by their weights "
                "alone; delete it"
            )
        if self.sharding.zero:
            raise ValueError("sharding.zero cannot be set for dpo; delete it")
        return self


def run(config: Config, context: StageContext) -> None:
    """Train and write `adapter` or `model`; after a kill, go on from the last checkpoint."""
    from hanlin.core import ranks
    from hanlin.training.outcome import finish, is_finished
    from hanlin.training.pairs import open_pairs
    from hanlin.training.preferences import train_on_pairs
    from hanlin.training.tuned import open_tuned, write_tuned

    output = "model" if config.method == "full" else "adapter"
    if is_finished(context.out, output):
        return
    with ranks.together(config.processes):
        tuned = open_tuned(config, context, start=config.init_from)
        pairs, prompt = open_pairs(config, tuned, context)
        train_on_pairs(config, tuned, pairs, context)
        if ranks.is_first():
            finish(context.out, output, partial(write_tuned, config, tuned, prompt))


def outputs(config: Config) -> Outputs:
    """Return what the method leaves."""
    return config.outputs("model" if config.method == "full" else "adapter")


def estimate(config: Config) -> Estimate:
    """Estimate from the model's shape, where it is known already."""
    info = info_of(config.model)
    return Estimate() if info is None else estimate_training(info, config)


STAGE = Stage(
    summary="Tune on pairs of a better and a worse answer (DPO), full or LoRA.",
    config=Config,
    run=run,
    outputs=outputs,
    estimate=estimate,
    revision=2,
)
