"""How is a model trained on pairs of answers? TRL's loss in our loop: resumed, counted, checked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from hanlin.core import ranks
from hanlin.core.extras import require
from hanlin.core.stage import StageContext
from hanlin.models.save import disk_errors, quiet_transformers
from hanlin.training.adapters import quiet_peft
from hanlin.training.arguments import precision_of
from hanlin.training.attention import training_attention
from hanlin.training.methods import load_for
from hanlin.training.pairs import PairRows
from hanlin.training.resume import Checkpoint
from hanlin.training.steps import (
    CHECKPOINTS,
    Job,
    StepTrainer,
    arguments_of,
    equip,
    next_row,
    open_checkpoints,
)
from hanlin.training.trainer import causal_model, deterministic, recomputing
from hanlin.training.tuned import Tuned

if TYPE_CHECKING:
    from hanlin.training.dpo import Config

DEFAULT = re.compile(r"\.default(?=\.|$)")  # in the names of an adapter's parameters


def train_on_pairs(config: Config, tuned: Tuned, rows: PairRows, context: StageContext) -> None:
    """Train the model in place; every process of the stage calls it.

    Raises:
        ConfigError: the schedule does not fit the data, the model or the machine.
        MissingExtraError: TRL is not installed.
        StageFailedError: the loss or a gradient is no longer a number.
    """
    job = Job(
        tuned.model, rows, tuned.tokenizer.pad_id, config.schedule, config.processes, None,
        config.trainer, decode=tuned.tokenizer.decode,
    )  # fmt: skip
    steps = job.total_steps()
    start = open_checkpoints(job, context, steps)
    base = causal_model(tuned.model)
    precision, use_cache = precision_of(config.schedule), base.config.use_cache
    with (
        deterministic(config.schedule.threads_of(config.processes)),
        quiet_transformers(),
        quiet_peft(),
        recomputing(base, is_on=config.schedule.gradient_checkpointing),
        training_attention(base, config.schedule.attention, precision=precision),
        disk_errors(context.out / CHECKPOINTS),
    ):
        trainer = _make_trainer(config, tuned, job, context, start)
        trainer.tokens = start.tokens if start and ranks.is_first() else 0
        trainer.train(resume_from_checkpoint=str(start.path) if start else None)
    vars(base).pop("forward", None)  # TRL computes log-probabilities in its own one
    base.config.use_cache = use_cache
    vars(base.get_output_embeddings()).pop("bias", None)
    if "ref" in getattr(tuned.model, "peft_config", {}):  # the adapter as it was, TRL's copy
        tuned.model.delete_adapter("ref")
    if getattr(base, "quantization_method", None) is None:
        tuned.model.to("cpu")


def _make_trainer(
    config: Config, tuned: Tuned, job: Job, context: StageContext, start: Checkpoint | None
) -> StepTrainer:
    require("trl", extra="dpo", purpose="the stage dpo")
    datasets = require("datasets", extra="dpo", purpose="the stage dpo")
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    class PairTrainer(StepTrainer, DPOTrainer):
        """Ours around TRL's; its rows are token ids already."""

        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:  # noqa: ANN401
            return dataset

    steps, first = job.total_steps(), next_row(job, start)
    rows = job.rows
    assert isinstance(rows, PairRows)
    # As long as the run, so that the Trainer counts it as one epoch from any step on.
    numbers = rows.numbers(first, first + steps * job.schedule.rows_per_step)
    pairs = datasets.Dataset.from_list([vars(pair) for pair in rows.pairs]).select(numbers)
    reference = None
    if config.method == "full":
        precision = precision_of(config.schedule)
        reference, _ = load_for("full", config.model, precision=precision)
    arguments = arguments_of(
        job, context, steps, kind=DPOConfig, beta=config.beta, loss_type=[config.loss],
        max_length=None, gradient_checkpointing=False,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]), _adapter_kept(tuned.model):
        trainer = PairTrainer(
            model=tuned.model, ref_model=reference, args=arguments, train_dataset=pairs,
            processing_class=tuned.tokenizer.hf,
        )  # fmt: skip
    equip(trainer, job, context, steps)
    return trainer


@contextmanager
def _adapter_kept(model: Any) -> Iterator[None]:  # noqa: ANN401
    """Let TRL make its copy "ref" of an adapter while the block runs; then mend both.

    TRL 1.16 rounds adapters of quantized models to bfloat16; it copies parameters with ".default."
    in their names, and those of grown rows end with it; and it asks lm_head for a bias, which
    peft's wrapper around trained rows does not hand on.
    """
    if not hasattr(model, "peft_config"):
        yield
        return
    before = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
    yield
    for name, value in before.items():
        for own in (name, DEFAULT.sub(".ref", name)):
            parameter = model.get_parameter(own)
            parameter.data = value.to(parameter.device, copy=True)
    head = model.get_output_embeddings()
    if hasattr(head, "token_adapter"):
        vars(head)["bias"] = getattr(head.original_module, "bias", None)
