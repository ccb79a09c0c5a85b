"""Which settings do all training stages share?"""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from hanlin.core.stage import StageConfig
from hanlin.training.probes import ProbeTexts
from hanlin.training.schedule import Schedule


class TrainingConfig(StageConfig):
    """What `base`, `pretrain` and `finetune` have in common."""

    schedule: Schedule = Schedule()
    """How long, how fast, in which portions."""
    source_rows: dict[str, Annotated[int, Field(ge=0)]] | None = None
    """Rows of each source of the store in every step, such as {zh: 424, en: 80}, as KnowLM mixes;
    together they are the rows of a step. None: by the weights of the sources."""
    probe: ProbeTexts | None = None
    """Held-out texts that are measured along the way."""
    processes: int = Field(default=1, ge=1)
    """Processes that share each step; more than one are started with torchrun."""
    trainer: dict[str, Any] = {}
    """Any other argument of transformers' TrainingArguments, by its name there."""

    @model_validator(mode="after")
    def _check_source_rows(self) -> Self:
        rows = sum((self.source_rows or {}).values())
        if self.source_rows is not None and rows != self.schedule.rows_per_step:
            raise ValueError(
                f"source_rows are {rows} rows, but a step has {self.schedule.rows_per_step} "
                "(micro_batch_size x gradient_accumulation_steps); make them the same"
            )
        return self
