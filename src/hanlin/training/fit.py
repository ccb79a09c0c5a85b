"""How do a model, its tokenizer and a token store come together for training?"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from transformers import PreTrainedModel

from hanlin.core.stage import StageContext
from hanlin.data.pack import PackedRows
from hanlin.data.proportional import ProportionalRows
from hanlin.data.store import TokenStore
from hanlin.models.text_loss import measure
from hanlin.tokenization.load import Tokenizer
from hanlin.training.checks import check_data
from hanlin.training.probes import read_probe_texts
from hanlin.training.settings import TrainingConfig
from hanlin.training.trainer import Job, train


def fit(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    *,
    store: str | Path,
    config: TrainingConfig,
    context: StageContext,
    where: str,
) -> None:
    """Check the data, then train the model in place; every process of the stage calls it.

    Args:
        model: a causal language model, or one with an adapter.
        tokenizer: the model's tokenizer.
        store: the token store.
        config: the stage's config.
        context: where checkpoints and events go.
        where: the model's path, for messages.

    Raises:
        InputError: model and store do not belong together, or there is nothing to learn.
        ConfigError: the schedule does not fit the data, the model or the machine.
        StageFailedError: the training diverged.
    """
    schedule = config.schedule
    rows = _rows(TokenStore.open(store), config, seed=context.stream("order"))
    check_data(rows, model=model, tokenizer=tokenizer, where=where)
    probe = None
    if config.probe is not None:
        texts = read_probe_texts(config.probe)
        probe = partial(measure, texts=texts, tokenizer=tokenizer, seq_len=schedule.seq_len)
    job = Job(model, rows, tokenizer.pad_id, schedule, config.processes, probe, config.trainer)
    train(job, context)


def _rows(store: TokenStore, config: TrainingConfig, *, seed: int) -> PackedRows:
    seq_len = config.schedule.seq_len
    if config.source_rows is None:
        return PackedRows(store, seq_len=seq_len, seed=seed)
    return ProportionalRows(store, seq_len=seq_len, seed=seed, rows_per_batch=config.source_rows)
