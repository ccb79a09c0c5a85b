"""Which settings do all training stages share?"""

from __future__ import annotations

from pydantic import Field

from hanlin.core.stage import StageConfig
from hanlin.training.probes import ProbeTexts
from hanlin.training.schedule import Schedule


class TrainingConfig(StageConfig):
    """What `base`, `pretrain` and `finetune` have in common."""

    schedule: Schedule = Schedule()
    """How long, how fast, in which portions."""
    probe: ProbeTexts | None = None
    """Held-out texts that are measured along the way."""
    processes: int = Field(default=1, ge=1)
    """Processes that share each step; more than one are started with torchrun."""
