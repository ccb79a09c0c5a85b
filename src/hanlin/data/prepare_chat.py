"""Stage `prepare-chat`: turn conversations into a token store with a loss mask for finetuning.

hanlin data prepare chat --config chat.yaml --out store
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Self, cast

from pydantic import Field, field_validator, model_validator

from hanlin.core.config import ModelPath
from hanlin.core.errors import ConfigError, InputError
from hanlin.core.records import Conversation
from hanlin.core.stage import Estimate, Stage, StageConfig, StageContext
from hanlin.data.corpus.clean import Dropped, clean
from hanlin.data.corpus.segment import BorderFinder
from hanlin.data.prepare_corpus import CorpusSource, check_not_empty, document_ids, in_language
from hanlin.data.readers import BadRows, read_conversations, read_documents
from hanlin.data.runners import Engine, Runner, start_workers
from hanlin.data.sources import Source, check_sources, estimate_store, ticking, write_account
from hanlin.data.store import StoreWriter
from hanlin.prompts.encode import LossOn
from hanlin.prompts.fit import Truncate
from hanlin.prompts.formats import get_format
from hanlin.prompts.probe import prompt_record

if TYPE_CHECKING:
    from hanlin.tokenization.load import Tokenizer

log = logging.getLogger(__name__)
Tick = Callable[[int], None]
BATCH = 1000  # conversations that are encoded at once
THREADS = 2  # one prepares while the tokenizer works in the other


class Config(StageConfig):
    """What goes into the store."""

    sources: list[Source] = Field(min_length=1)
    """The conversations: instruction or chat files, JSON or JSON lines."""

    replay: list[CorpusSource] = []
    """Texts that are mixed in, every token of them trained: what the model knew is not forgotten
    while it learns to answer."""

    tokenizer: ModelPath
    """Folder of the tokenizer, or of the model that it lies in; or a hub id."""

    prompt: str = "plain"
    """Name of the prompt format."""

    seq_len: int = Field(1024, ge=8)
    """Most tokens of a conversation; what becomes of a longer one, `truncate` says."""

    loss_on: LossOn = "all"
    """Learn every answer ("all"), or only the last of each conversation ("last")."""

    truncate: Truncate = "oldest"
    """Which turns of a conversation longer than seq_len are dropped: the oldest ("oldest"); the
    oldest behind the first, which often holds the task ("keep-first"); none, the conversation is
    left out ("refuse"), or kept as long as it is ("never"; training then needs rows for it).
    Answers are never cut, the system text stays, everything is counted."""

    workers: int = Field(1, ge=1)
    """Processes that encode; the result does not depend on them."""

    engine: Engine = "local"
    """Who encodes: processes of this machine ("local"), or the processors of a Ray cluster ("ray";
    RAY_ADDRESS names it). The bytes are the same."""

    max_bad_rows: float = Field(0.01, ge=0, le=1)
    """Largest share of unusable rows of a source; more of them stop the stage."""

    @field_validator("prompt")
    @classmethod
    def _check_prompt(cls, name: str) -> str:
        try:
            get_format(name)
        except ConfigError as error:
            raise ValueError(f"{error.what}; {error.fix or error.why}") from None
        return name

    @model_validator(mode="after")
    def _check_sources(self) -> Self:
        check_sources([*self.sources, *self.replay])
        return self


@dataclass
class Fitted:
    """What became of the conversations of a source.

    Attributes:
        end_tokens: end tokens that the loss counts; without them a model never learns to stop.
        shortened: conversations that lost their oldest turns to fit.
        dropped_turns: how many turns these lost.
        too_long: conversations left out because their last turn alone is longer than seq_len.
    """

    end_tokens: int = 0
    shortened: int = 0
    dropped_turns: int = 0
    too_long: int = 0


def run(config: Config, context: StageContext) -> None:
    """Write the store, and in it what became of the rows."""
    from hanlin.data.encode_chats import ChatEncoder, Settings
    from hanlin.tokenization.load import load

    tokenizer, format = load(config.tokenizer), get_format(config.prompt)
    folder = context.out / "store"
    account: list[dict[str, object]] = []
    collected: list[BadRows] = []
    settings = Settings(
        str(config.tokenizer), config.prompt, config.seq_len, config.loss_on, config.truncate
    )
    is_alone = config.workers == 1 and config.engine == "local"
    make = partial(ChatEncoder, tokenizer=tokenizer) if is_alone else ChatEncoder
    with (
        StoreWriter(
            folder,
            tokenizer_sha256=tokenizer.sha256,
            vocab_size=tokenizer.vocab_size,
            has_mask=True,
            prompt=prompt_record(format, tokenizer),
            seq_len=config.seq_len,
        ) as writer,
        start_workers(
            config.engine, count=config.workers, make=make, settings=settings, threads=THREADS
        ) as workers,
    ):
        sources = [*config.sources, *config.replay]
        for number, source in enumerate(sources):
            bad = BadRows(config.max_bad_rows)
            tick = partial(_tell, context, number, len(sources), source.name)
            if isinstance(source, CorpusSource):
                found = _write_texts(source, config, writer, tokenizer, bad, tick)
            else:
                found = _write_conversations(source, config, writer, workers, bad, tick)
            account.append(found)
            collected.append(bad)
            context.events.emit("prepared", stage=context.name, **found)
    write_account(folder, account, collected)
    context.progress(len(sources), len(sources), "done")


def _tell(context: StageContext, done: int, total: int, name: str, row: int) -> None:
    context.progress(done, total, f"{name}: row {row}")


def _write_conversations(
    source: Source,
    config: Config,
    writer: StoreWriter,
    workers: Runner,
    bad: BadRows,
    tick: Tick,
) -> dict[str, object]:
    counts: Counter[str] = Counter()
    longest = 0
    writer.begin(source.name, weight=source.weight)
    rows = ticking(read_conversations(source.path, bad=bad), tick)
    for encoded in workers.map(_batches(rows)):
        for place, line, reason in encoded.refused:
            bad.add(place, line, reason)
            bad.good -= 1  # it was read, but cannot be used
        counts.update(encoded.counts)
        longest = max(longest, encoded.rows.lengths.max(initial=0))
        writer.add_conversations(encoded.rows, text_bytes=encoded.text_bytes)
    bad.check(Path(source.path))
    if config.truncate == "never":
        writer.header["seq_len"] = max(int(longest), cast(int, writer.header["seq_len"]))
    written, fitted = writer.finish(bad_rows=bad.bad), Fitted(**counts)
    _check_lengths(source, written.documents, fitted, config.seq_len)
    return {**asdict(written), **asdict(fitted)}


def _batches(conversations: Iterator[Conversation]) -> Iterator[list[Conversation]]:
    while batch := list(islice(conversations, BATCH)):
        yield batch


def _write_texts(
    source: Source,
    config: Config,
    writer: StoreWriter,
    tokenizer: Tokenizer,
    bad: BadRows,
    tick: Tick,
) -> dict[str, object]:
    """Write documents for replay, cut between sentences to at most seq_len tokens."""
    assert isinstance(source, CorpusSource)
    dropped, borders = Dropped(), BorderFinder(tokenizer)
    writer.begin(source.name, language=source.language, weight=source.weight)
    documents = ticking(read_documents(source.path, bad=bad), tick)
    for document in clean(in_language(documents, source.language, dropped), dropped=dropped):
        ids = document_ids(document.text, tokenizer)
        text_bytes = len(document.text.encode("utf-8", "replace"))
        segments = borders.segments(document.text, ids, seq_len=config.seq_len)
        for number, piece in enumerate(segments):
            writer.add(piece, trained=[True] * len(piece), text_bytes=0 if number else text_bytes)
    written = writer.finish(bad_rows=bad.bad)
    check_not_empty(source, written.documents, dropped)
    return {**asdict(written), "dropped": asdict(dropped)}


def _check_lengths(source: Source, written: int, fitted: Fitted, seq_len: int) -> None:
    """Refuse a source of which nothing fits; warn where much was lost."""
    if not written:
        raise InputError(
            f"{source.path}: no conversation ({fitted.too_long} read) fits into {seq_len} tokens",
            why="an answer is never cut, and the last turn of each is longer",
            fix=f"raise seq_len above {seq_len}, or take shorter conversations",
        )
    if fitted.too_long > written // 100:
        log.warning(
            "%s: %d of %d conversations are longer than %d tokens and were left out; raise seq_len "
            "to keep them",
            source.path,
            fitted.too_long,
            fitted.too_long + written,
            seq_len,
        )


def _estimate(config: Config) -> Estimate:
    return estimate_store([*config.sources, *config.replay])


STAGE = Stage(
    summary="Turn conversations into a token store with a loss mask for finetuning.",
    config=Config,
    run=run,
    outputs={"store": ("token-store", "store")},
    estimate=_estimate,
    revision=2,
)
