"""Stage `prepare-corpus`: turn texts into a token store for pretraining.

hanlin data prepare corpus --config corpus.yaml --out store
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Self

from pydantic import Field, field_validator, model_validator

from hanlin.core.config import InputPath, ModelPath
from hanlin.core.errors import InputError
from hanlin.core.records import Document
from hanlin.core.stage import Estimate, Stage, StageConfig, StageContext
from hanlin.data.corpus.clean import Cleaning, Dropped
from hanlin.data.readers import BadRows, read_documents
from hanlin.data.runners import Engine
from hanlin.data.sources import Source, check_sources, estimate_store

if TYPE_CHECKING:
    from hanlin.tokenization.load import Tokenizer


class CorpusSource(Source):
    """One source of texts: plain text, JSON or JSON lines."""

    language: str | None = None
    """Language of the texts ("zh", "en", ...); rows that name another one are left out."""


class Config(StageConfig):
    """What goes into the store."""

    sources: list[CorpusSource] = Field(min_length=1)
    """The texts."""

    tokenizer: ModelPath
    """Folder of the tokenizer, or of the model that it lies in; or a hub id."""

    min_characters: int = Field(1, ge=1)
    """Shorter documents are left out and counted."""

    drop_duplicates: bool = True
    """Leave out documents that came before in the same source, exactly the same."""

    cleaning: Cleaning = Cleaning()
    """What else is done to the texts, and which of them are left out."""

    append_to: InputPath | None = None
    """A token store that the new one begins with; texts go behind those of the same source, but
    for those that it has already."""

    seq_len: int | None = Field(None, ge=8)
    """Cut documents to segments of at most so many tokens now. None: they stay whole, and training
    cuts them to its own rows; both cut between sentences."""

    overlap: bool = False
    """Fill each segment with sentences of the one before, as KnowLM does: 9 to 20 % of the tokens
    are trained on twice. Needs seq_len."""

    workers: int = Field(1, ge=1, le=256)
    """Processes that clean and encode; 1 works in this one. The bytes are the same."""

    engine: Engine = "local"
    """Who cleans and encodes: processes of this machine ("local"), or the processors of a Ray
    cluster ("ray"; RAY_ADDRESS names it). The bytes are the same."""

    shard_characters: int = Field(1_000_000, ge=1000)
    """Characters that a process gets at a time, and that are done again after a kill at most. The
    bytes are the same."""

    max_bad_rows: float = Field(0.01, ge=0, le=1)
    """Largest share of unusable rows of a source; more of them stop the stage."""

    @field_validator("sources")
    @classmethod
    def _check_sources(cls, sources: list[CorpusSource]) -> list[CorpusSource]:
        check_sources(sources)
        return sources

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.overlap and self.seq_len is None:
            raise ValueError("overlap needs seq_len: only segments overlap; set seq_len: 1024")
        if self.cleaning.min_language_share is not None:
            for source in self.sources:
                if source.language is None:
                    raise ValueError(
                        f"min_language_share needs the language of source {source.name!r}; "
                        "give it, or take min_language_share away"
                    )
        return self


def run(config: Config, context: StageContext) -> None:
    """Write the store, and in it what became of the rows; after a kill, go on where it stopped."""
    from hanlin.data.corpus.write import write_store

    write_store(config, context)


def document_ids(text: str, tokenizer: Tokenizer) -> list[int]:
    """Return the ids of a document: bos (where the tokenizer has one), the text, eos."""
    start = [] if tokenizer.bos_id is None else [tokenizer.bos_id]
    return [*start, *tokenizer.encode(text, at_start=True), tokenizer.eos_id]


def in_language(
    documents: Iterator[Document], language: str | None, dropped: Dropped
) -> Iterator[Document]:
    """Pass on the documents of one language, or of none in particular; count the others."""
    for document in documents:
        if language is None or document.language in (None, language):
            yield document
        else:
            dropped.other_language += 1


def read_source(source: CorpusSource, bad: BadRows, dropped: Dropped) -> Iterator[Document]:
    """Yield the documents of a source that are of its language."""
    return in_language(read_documents(source.path, bad=bad), source.language, dropped)


def check_not_empty(source: CorpusSource, documents: int, dropped: Dropped) -> None:
    """Raise InputError, with the counts of what was left out, when no document is left."""
    if documents:
        return
    counts = {name: count for name, count in asdict(dropped).items() if count}
    raise InputError(
        f"{source.path} is empty: no document of source {source.name!r} is left",
        why="left out: " + ", ".join(f"{name} {count}" for name, count in counts.items()),
        fix=f"hanlin data inspect {source.path}; then check language, min_characters and cleaning",
    )


def _estimate(config: Config) -> Estimate:
    return estimate_store(config.sources)


STAGE = Stage(
    summary="Turn texts into a token store for pretraining.",
    config=Config,
    run=run,
    outputs={"store": ("token-store", "store")},
    estimate=_estimate,
    revision=2,
)
