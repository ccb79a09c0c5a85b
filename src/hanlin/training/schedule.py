"""How long, how fast and in which portions a model is trained: one section for all three stages."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from hanlin.core.config import StrictModel
from hanlin.core.environment import usable_cpus
from hanlin.core.errors import ConfigError

WARMUP_SHARE = 0.03  # of the steps, where warmup_steps is not set; the share LLaMA-style runs use
IN_A_RUN = 10  # checkpoints and probes, where their distance is not set
MOST_STEPS_LOST = 500  # by a kill, where save_every is not set


class Schedule(StrictModel):
    """Settings of the training loop; a step is one update of the weights."""

    steps: Annotated[int, Field(ge=1)] | None = None
    """Updates of the weights. None: as many as `epochs` takes."""
    epochs: Annotated[float, Field(gt=0)] | None = None
    """Passes over the data. None: one, unless `steps` is set."""
    seq_len: int = Field(default=512, ge=8)
    """Tokens in a row."""
    micro_batch_size: int = Field(default=8, ge=1)
    """Rows that go through the model at once, in each process."""
    gradient_accumulation_steps: int = Field(default=1, ge=1)
    """Micro-batches in a step, over all processes together: the step does not depend on them."""
    learning_rate: float = Field(default=3e-4, gt=0)
    """Highest learning rate."""
    lora_plus_ratio: float = Field(default=1.0, ge=1)
    """How much faster B of an adapter learns than A (LoRA+, Hayou et al. 2024, proposes 16)."""
    scheduler: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate goes on after the warm-up."""
    warmup_steps: Annotated[int, Field(ge=0)] | None = None
    """Steps over which the learning rate rises from zero. None: 3 % of the steps."""
    min_learning_rate_ratio: float = Field(default=0.1, ge=0, le=1)
    """Where cosine and linear end, as a share of `learning_rate`."""
    weight_decay: float = Field(default=0.01, ge=0)
    """AdamW's weight decay; norms are left out."""
    betas: tuple[float, float] = (0.9, 0.95)
    """AdamW's decay rates of the two moments."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradients are scaled down to this norm."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Type of the matrix products, and of weights that are not trained; trained weights and the
    optimizer stay in fp32. "auto": bf16 on a GPU that has it, fp16 on an older one, else fp32."""
    attention: Literal["auto", "sdpa", "eager", "flash_attention_2"] = "auto"
    """How attention is computed. flash_attention_2 (the package flash-attn, on a GPU, in 16 bits)
    trains without any padding; "auto" is the model's own, in transformers mostly sdpa."""
    optimizer: Literal["adamw", "adamw-8bit", "paged-adamw", "paged-adamw-8bit"] = "adamw"
    """How AdamW's two moments are kept: in fp32 or in 8 bits; "paged" ones move to the processor's
    memory when the GPU's is full (Dettmers et al. 2022 and 2023; bitsandbytes, on a GPU)."""
    gradient_checkpointing: bool = False
    """Compute the activations of each layer once more on the way back: a fraction of the memory,
    about a third more time."""
    neftune_alpha: Annotated[float, Field(gt=0)] | None = None
    """Add noise of this strength to the embeddings while training (NEFTune, Jain et al. 2023)."""
    save_every: Annotated[int, Field(ge=1)] | None = None
    """Steps between checkpoints. None: ten in a run, and one every 500 steps at least."""
    log_every: int = Field(default=10, ge=1)
    """Steps between metric events."""
    probe_every: Annotated[int, Field(ge=1)] | None = None
    """Steps between probes on held-out text. None: ten in a run."""
    threads: Annotated[int, Field(ge=1)] | None = None
    """CPU threads of each process. None: the usable processors, shared between the processes."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.steps is not None and self.epochs is not None:
            raise ValueError("steps and epochs are both set: delete one of them")
        if self.steps is not None and (self.warmup_steps or 0) >= self.steps:
            raise ValueError(
                f"warmup_steps {self.warmup_steps} is not below steps {self.steps}: lower one or "
                "raise the other"
            )
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError("betas must lie in [0, 1)")
        return self

    @property
    def rows_per_step(self) -> int:
        """Return the rows of one step, over all processes."""
        return self.micro_batch_size * self.gradient_accumulation_steps

    def total_steps(self, rows_per_epoch: int) -> int:
        """Return how many updates the run makes."""
        if self.steps is not None:
            return self.steps
        return max(1, math.ceil((self.epochs or 1.0) * rows_per_epoch / self.rows_per_step))

    def save_steps(self, total_steps: int) -> int:
        """Return the steps between checkpoints."""
        return self.save_every or min(MOST_STEPS_LOST, math.ceil(total_steps / IN_A_RUN))

    def probe_steps(self, total_steps: int) -> int:
        """Return the steps between probes."""
        return self.probe_every or math.ceil(total_steps / IN_A_RUN)

    def warmup(self, total_steps: int) -> int:
        """Return the steps of the warm-up.

        Raises:
            ConfigError: the warm-up would take the whole run.
        """
        if self.warmup_steps is None:
            return min(math.ceil(WARMUP_SHARE * total_steps), total_steps - 1)
        if self.warmup_steps >= total_steps:
            raise ConfigError(
                f"warmup_steps {self.warmup_steps} is not below the {total_steps} steps of the run",
                why="the learning rate would never reach its height",
                fix="lower schedule.warmup_steps or raise schedule.steps",
            )
        return self.warmup_steps

    def factor(self, step: int, total_steps: int) -> float:
        """Return the share of `learning_rate` that update number `step` (from 0) is made with."""
        warmup = self.warmup(total_steps)
        if step < warmup:
            return (step + 1) / (warmup + 1)
        if self.scheduler == "constant":
            return 1.0
        done = min(1.0, (step - warmup) / max(1, total_steps - warmup))
        left = 1.0 - done if self.scheduler == "linear" else (1.0 + math.cos(math.pi * done)) / 2
        return self.min_learning_rate_ratio + (1.0 - self.min_learning_rate_ratio) * left

    def threads_of(self, processes: int) -> int:
        """Return the CPU threads that each process uses."""
        return self.threads or max(1, usable_cpus() // processes)

    def accumulation_of(self, processes: int) -> int:
        """Return the micro-batches of a step in each process.

        Raises:
            ConfigError: the micro-batches of a step cannot be shared out evenly.
        """
        each, rest = divmod(self.gradient_accumulation_steps, processes)
        if rest:
            raise ConfigError(
                f"gradient_accumulation_steps {self.gradient_accumulation_steps} cannot be shared "
                f"between {processes} processes",
                why="each process takes the same number of a step's micro-batches",
                fix=f"set schedule.gradient_accumulation_steps to a multiple of {processes}, "
                "or change processes",
            )
        return each
