"""Which settings do all training stages share?"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from hanlin.core.config import InputPath
from hanlin.core.stage import Outputs, StageConfig
from hanlin.training.probes import ProbeTexts
from hanlin.training.schedule import Schedule
from hanlin.training.sharding import Sharding

STATE = "state"  # name of the output


class TrainingConfig(StageConfig):
    """What `base`, `pretrain`, `finetune` and `dpo` have in common."""

    sequences_per_row: ClassVar[int] = 1
    """How many sequences of `seq_len` a row of a step has."""

    schedule: Schedule = Schedule()
    """How long, how fast, in which portions."""
    source_rows: dict[str, Annotated[int, Field(ge=0)]] | None = None
    """Rows of each source of the store in every step, such as {zh: 424, en: 80}, as KnowLM mixes;
    together they are the rows of a step. None: by the weights of the sources."""
    probe: ProbeTexts | None = None
    """Held-out texts that are measured along the way."""
    processes: int = Field(default=1, ge=1)
    """Processes that share each step; more than one are started with torchrun."""
    sharding: Sharding = Sharding()
    """What the processes share out among them."""
    trainer: dict[str, Any] = {}
    """Any other argument of transformers' TrainingArguments, by its name there."""
    keep_state: bool = False
    """Leave `state` too: optimizer, schedule and random state, from which a later run can go on
    (`continue_from`); two to three times as large as what is trained."""

    @model_validator(mode="after")
    def _check_source_rows(self) -> Self:
        rows = sum((self.source_rows or {}).values())
        if self.source_rows is not None and rows != self.schedule.rows_per_step:
            raise ValueError(
                f"source_rows are {rows} rows, but a step has {self.schedule.rows_per_step} "
                "(micro_batch_size x gradient_accumulation_steps); make them the same"
            )
        return self

    @model_validator(mode="after")
    def _check_sharding(self) -> Self:
        if self.sharding.zero and self.processes == 1:
            raise ValueError(
                f"sharding.zero is {self.sharding.zero} but processes is 1: there is nobody to "
                "share with; set processes, or save memory with method qlora, "
                "schedule.gradient_checkpointing or a paged optimizer"
            )
        if self.sharding.zero and self.keep_state:
            raise ValueError(
                "keep_state cannot go with sharding.zero: each process keeps its own share of the "
                "optimizer; delete one of them"
            )
        return self

    @property
    def sharding_stage(self) -> int:
        """Return the stage of ZeRO, or the one that FSDP is like (`trainer.fsdp`)."""
        if self.sharding.zero or not self.trainer.get("fsdp"):
            return self.sharding.zero
        settings = self.trainer.get("fsdp_config")
        is_kept = isinstance(settings, dict) and not settings.get("reshard_after_forward", True)
        return 2 if is_kept else 3

    def outputs(self, name: str) -> Outputs:
        """Return what the stage leaves: the output of this name, and the state if it is kept."""
        kept: Outputs = {"state": ("training-state", STATE)} if self.keep_state else {}
        return {name: (name, name), **kept}


class ContinuedConfig(TrainingConfig):
    """What `pretrain` and `finetune` have in common: they can go on from an earlier run."""

    continue_from: InputPath | None = None
    """Go on with optimizer and schedule of an earlier run, on its data from the beginning or on
    new: its `state` (`keep_state`), or a checkpoint of the Trainer. `schedule` counts the new
    steps; what it leaves out of learning rate and optimizer follows the earlier run."""
    compat: Literal["chinese-vicuna"] | None = None
    """Count the steps of a continued run as Chinese-Vicuna: the larger of what the earlier run was
    to make and of what this one would make alone. None: those made and the new ones."""

    @model_validator(mode="after")
    def _check_compat(self) -> Self:
        if self.compat is not None and self.continue_from is None:
            raise ValueError("compat is set, but continue_from is not: delete compat")
        return self
