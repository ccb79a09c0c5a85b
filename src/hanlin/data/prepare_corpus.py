"""Stage `prepare-corpus`: turn texts into a token store for pretraining.

hanlin data prepare corpus --config corpus.yaml --out store
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from hanlin.core.config import InputPath
from hanlin.core.errors import InputError
from hanlin.core.records import Document
from hanlin.core.stage import Estimate, Stage, StageConfig, StageContext
from hanlin.data.clean import Dropped, clean
from hanlin.data.readers import BadRows, read_documents
from hanlin.data.sources import Source, check_sources, estimate_store, write_account
from hanlin.data.store import StoreWriter

if TYPE_CHECKING:
    from hanlin.tokenization.load import Tokenizer

PROGRESS_EVERY = 200  # documents


class CorpusSource(Source):
    """One source of texts: plain text, JSON or JSON lines."""

    language: str | None = None
    """Language of the texts ("zh", "en", ...); rows that name another one are left out."""


class Config(StageConfig):
    """What goes into the store."""

    sources: list[CorpusSource] = Field(min_length=1)
    """The texts."""

    tokenizer: InputPath
    """Folder of the tokenizer, or of the model that it lies in."""

    min_characters: int = Field(1, ge=1)
    """Shorter documents are left out and counted."""

    drop_duplicates: bool = True
    """Leave out documents that came before in the same source, exactly the same."""

    max_bad_rows: float = Field(0.01, ge=0, le=1)
    """Largest share of unusable rows of a source; more of them stop the stage."""

    @field_validator("sources")
    @classmethod
    def _check_sources(cls, sources: list[CorpusSource]) -> list[CorpusSource]:
        check_sources(sources)
        return sources


def run(config: Config, context: StageContext) -> None:
    """Write the store, and in it what became of the rows."""
    from hanlin.tokenization.load import load

    tokenizer = load(config.tokenizer)
    folder = context.out / "store"
    account: list[dict[str, object]] = []
    collected: list[BadRows] = []
    with StoreWriter(
        folder, tokenizer_sha256=tokenizer.sha256, vocab_size=tokenizer.vocab_size
    ) as writer:
        for number, source in enumerate(config.sources):
            bad, dropped = BadRows(config.max_bad_rows), Dropped()
            writer.begin(source.name, language=source.language, weight=source.weight)
            for done, document in enumerate(_documents(source, config, bad, dropped)):
                ids = document_ids(document.text, tokenizer)
                writer.add(ids, text_bytes=len(document.text.encode("utf-8", "replace")))
                if done % PROGRESS_EVERY == 0:
                    context.progress(number, len(config.sources), f"{source.name}: row {done}")
            written = writer.finish(bad_rows=bad.bad)
            check_not_empty(source, written.documents, dropped)
            account.append({**asdict(written), "dropped": asdict(dropped)})
            collected.append(bad)
            context.events.emit("prepared", stage=context.name, **account[-1])
    write_account(folder, account, collected)
    context.progress(len(config.sources), len(config.sources), "done")


def document_ids(text: str, tokenizer: Tokenizer) -> list[int]:
    """Return the ids of a document: bos (where the tokenizer has one), the text, eos."""
    start = [] if tokenizer.bos_id is None else [tokenizer.bos_id]
    return [*start, *tokenizer.encode(text, at_start=True), tokenizer.eos_id]


def _documents(
    source: CorpusSource, config: Config, bad: BadRows, dropped: Dropped
) -> Iterator[Document]:
    documents = read_documents(source.path, bad=bad)
    return clean(
        in_language(documents, source.language, dropped),
        dropped=dropped,
        min_characters=config.min_characters,
        drop_duplicates=config.drop_duplicates,
    )


def in_language(
    documents: Iterator[Document], language: str | None, dropped: Dropped
) -> Iterator[Document]:
    """Pass on the documents of one language, or of none in particular; count the others."""
    for document in documents:
        if language is None or document.language in (None, language):
            yield document
        else:
            dropped.other_language += 1


def check_not_empty(source: CorpusSource, documents: int, dropped: Dropped) -> None:
    """Raise InputError, with the counts of what was left out, when no document is left."""
    if documents:
        return
    counts = asdict(dropped)
    raise InputError(
        f"{source.path} is empty: no document of source {source.name!r} is left",
        why="left out: " + ", ".join(f"{name} {count}" for name, count in counts.items()),
        fix=f"hanlin data inspect {source.path}; then check language and min_characters",
    )


def _estimate(config: Config) -> Estimate:
    return estimate_store(config.sources)


STAGE = Stage(
    summary="Turn texts into a token store for pretraining.",
    config=Config,
    run=run,
    outputs={"store": ("token-store", "store")},
    estimate=_estimate,
)
