"""How do a model, its tokenizer and a token store come together for training?"""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedModel

from hanlin.core import ranks
from hanlin.core.stage import StageContext
from hanlin.data.pack import PackedRows
from hanlin.data.proportional import ProportionalRows
from hanlin.data.store import TokenStore
from hanlin.models.manifest import write_manifest
from hanlin.tokenization.load import Tokenizer
from hanlin.training import resume
from hanlin.training.checks import check_data
from hanlin.training.first_rows import show_first_rows
from hanlin.training.probes import make_probe
from hanlin.training.settings import STATE, ContinuedConfig, TrainingConfig
from hanlin.training.state import State, keep, read_state, schedule_like
from hanlin.training.trainer import CHECKPOINTS, Job, train


def fit(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    *,
    store: str | Path,
    config: TrainingConfig,
    context: StageContext,
) -> None:
    """Check the data, then train the model in place; every process of the stage calls it.

    Args:
        model: a causal language model, or one with an adapter; with the weights of the run that is
            continued, if there is one.
        tokenizer: the model's tokenizer.
        store: the token store.
        config: the stage's config.
        context: where checkpoints and events go.

    Raises:
        InputError: model and store do not belong together, or there is nothing to learn.
        ConfigError: the schedule does not fit the data, the model or the machine.
        StageFailedError: the training diverged.
    """
    state = state_of(config)
    schedule = config.schedule if state is None else schedule_like(config.schedule, state)
    rows = _rows(TokenStore.open(store), config, seed=context.stream("order"))
    check_data(rows, model=model, tokenizer=tokenizer, where=getattr(config, "model", "the model"))
    if ranks.is_first():
        show_first_rows(rows, tokenizer, context)
    probe = None
    if config.probe is not None:
        probe = make_probe(config.probe, tokenizer, seq_len=schedule.seq_len)
    job = Job(
        model, rows, tokenizer.pad_id, schedule, config.processes, probe, config.trainer,
        state=state, compat=getattr(config, "compat", None), keeps_last=config.keep_state,
        decode=tokenizer.decode, sharding=config.sharding,
    )  # fmt: skip
    train(job, context)
    if config.keep_state and ranks.is_first():
        _keep_state(job, tokenizer, context)


def state_of(config: TrainingConfig) -> State | None:
    """Return what a run goes on from; None for one that begins.

    Raises:
        InputError: the config names something else than a state.
    """
    if not isinstance(config, ContinuedConfig) or config.continue_from is None:
        return None
    return read_state(Path(config.continue_from))


def _keep_state(job: Job, tokenizer: Tokenizer, context: StageContext) -> None:
    last, steps = resume.latest(context.out / CHECKPOINTS), job.total_steps()
    assert last is not None and last.step == steps
    schedule = job.schedule.model_copy(update={"warmup_steps": job.schedule.warmup(steps)})
    record = {
        "step": steps, "steps": steps, "tokens": last.tokens,
        "rows_per_step": schedule.rows_per_step, "schedule": schedule.model_dump(mode="json"),
    }  # fmt: skip
    keep(last.path, context.out / STATE, record)
    write_manifest(context.out / STATE, tokenizer_sha256=tokenizer.sha256)


def _rows(store: TokenStore, config: TrainingConfig, *, seed: int) -> PackedRows:
    seq_len = config.schedule.seq_len
    if config.source_rows is None:
        return PackedRows(store, seq_len=seq_len, seed=seed)
    return ProportionalRows(store, seq_len=seq_len, seed=seed, rows_per_batch=config.source_rows)
