"""Stage `base`: make a small base model: a tokenizer, a new LLaMA, pretraining on texts.

hanlin model base --config base.yaml --out base
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from hanlin.core.config import InputPath
from hanlin.core.stage import Estimate, Stage, StageContext
from hanlin.models.info import describe
from hanlin.models.tiny import Architecture
from hanlin.training.estimates import estimate_training
from hanlin.training.settings import TrainingConfig

DEFAULT_VOCAB_SIZE = 2000
LLAMA_VOCAB_SIZE = 32_000  # the estimate's guess where a tokenizer is given but not read yet


class Config(TrainingConfig):
    """Config of the stage `base`."""

    corpus: list[InputPath] = Field(min_length=1)
    """Texts: JSON lines, JSON or plain text."""
    tokenizer: InputPath | None = None
    """A tokenizer to use. None: one is trained on the corpus."""
    vocab_size: Annotated[int, Field(ge=300)] | None = None
    """Entries of the trained tokenizer. None: 2000."""
    architecture: Architecture = Architecture()
    """The shape of the model."""
    max_bad_rows: float = Field(default=0.01, ge=0, le=1)
    """Largest share of unusable rows of a file; more of them stop the stage."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.tokenizer is not None and self.vocab_size is not None:
            raise ValueError(
                "tokenizer and vocab_size are both set: a given tokenizer has its own size; "
                "delete one of them"
            )
        return self


def run(config: Config, context: StageContext) -> None:
    """Train and write `model`; after a kill, go on from the last checkpoint."""
    from hanlin.core import ranks
    from hanlin.models.save import save_model
    from hanlin.models.tiny import new_llama
    from hanlin.tokenization.load import load
    from hanlin.training.fit import fit
    from hanlin.training.outcome import finish, is_finished

    if is_finished(context.out, "model"):
        return
    made = context.out / "tokenizer"
    with ranks.together(config.processes):
        if ranks.is_first() and not (context.out / "store" / "store.json").exists():
            _prepare(config, context, made)
        ranks.barrier()
        tokenizer = load(config.tokenizer or made)
        model = new_llama(config.architecture, tokenizer.vocab_size, context.stream("weights"))
        fit(model, tokenizer, store=context.out / "store", config=config, context=context)
        if ranks.is_first():
            finish(context.out, "model", partial(save_model, model, tokenizer))


def _prepare(config: Config, context: StageContext, made: Path) -> None:
    """Train the tokenizer, unless one is given, and write the token store below `context.out`."""
    from hanlin.data import prepare_corpus
    from hanlin.tokenization.train import train_sentencepiece

    if config.tokenizer is None:
        train_sentencepiece(
            _texts(config),
            vocab_size=config.vocab_size or DEFAULT_VOCAB_SIZE,
            out=made,
            seed=context.stream("tokenizer"),
        )
    sources = [
        {"path": path, "name": f"corpus-{number}"} for number, path in enumerate(config.corpus)
    ]
    tokenizer = str(config.tokenizer or made)
    values = {"sources": sources, "tokenizer": tokenizer, "max_bad_rows": config.max_bad_rows}
    quiet = replace(context, progress=lambda _done, _total, _text: None)  # the bar counts steps
    prepare_corpus.run(prepare_corpus.Config.model_validate(values), quiet)


def _texts(config: Config) -> Iterator[str]:
    from hanlin.data.readers import BadRows, read_documents

    for path in config.corpus:
        for document in read_documents(path, bad=BadRows(config.max_bad_rows)):
            yield document.text


def estimate(config: Config) -> Estimate:
    """Estimate from the architecture."""
    given = LLAMA_VOCAB_SIZE if config.tokenizer else DEFAULT_VOCAB_SIZE
    shape = config.architecture
    info = describe(
        {
            "model_type": "llama",
            "num_hidden_layers": shape.layers,
            "hidden_size": shape.hidden_size,
            "intermediate_size": shape.feed_forward_size,
            "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.kv_heads,
            "vocab_size": config.vocab_size or given,
            "tie_word_embeddings": shape.tie_embeddings,
            "max_position_embeddings": shape.max_length,
        },
        name="architecture",
    )
    return estimate_training(info, config)


STAGE = Stage(
    summary="Make a small base model: tokenizer, new LLaMA, pretraining.",
    config=Config,
    run=run,
    outputs=lambda config: config.outputs("model"),
    estimate=estimate,
    is_cacheable=True,
)
