"""How are the texts of a stage written to a store, by several processes, and after a kill?

The documents are cut to shards; processes clean and encode them, this one leaves out what came
before and writes, in order. After each shard a journal says how far the files go. Whoever finds a
journal reads the sources again, passes over the finished shards and goes on behind them: what is
written depends on the documents and their order alone.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hanlin import __version__
from hanlin.core.files import list_files, read_json, write_jsonl
from hanlin.core.records import Document
from hanlin.core.stage import StageContext
from hanlin.data.corpus.boilerplate import repeated_lines
from hanlin.data.corpus.clean import Dropped, readable, tidy
from hanlin.data.corpus.decontaminate import question_grams
from hanlin.data.corpus.duplicates import SeenDigests
from hanlin.data.corpus.encode import SAMPLES, DocumentEncoder, Encoded, Settings, Shard
from hanlin.data.corpus.near_duplicates import MINIMA, NearDuplicates, Signatures
from hanlin.data.corpus.segment import starts_inside
from hanlin.data.prepare_corpus import Config, CorpusSource, check_not_empty, read_source
from hanlin.data.readers import BadRows
from hanlin.data.runners import Runner, start_workers
from hanlin.data.sources import write_account
from hanlin.data.store import StoreWriter, TokenStore
from hanlin.tokenization.load import load

JOURNAL = "journal.json"
THREADS = 2  # one cleans while the tokenizer works in the other
ASKED_BYTES = MINIMA + 8  # a signature and a digest


@dataclass
class Progress:
    """How far the current source is, and what was left out of it.

    Attributes:
        source: its number.
        shards: how many are written.
        asked: texts of which it was asked whether they are near duplicates.
        dropped: documents left out so far, but for those of other languages, by reason.
        masked: pieces of personal data that were replaced.
        samples: documents that were left out.
        shown: samples of the current source, by reason.
        accounts: what became of the sources before.
    """

    source: int = 0
    shards: int = 0
    asked: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    masked: Counter[str] = field(default_factory=Counter)
    samples: list[dict[str, Any]] = field(default_factory=list)
    shown: Counter[str] = field(default_factory=Counter)
    accounts: list[dict[str, Any]] = field(default_factory=list)


def write_store(config: Config, context: StageContext) -> None:
    """Write the store of a stage's sources below `context.out`."""
    tokenizer = load(config.tokenizer)
    folder = context.out / "store"
    journal = _Journal(context.out / JOURNAL, _key(config, tokenizer.sha256))
    questions = question_grams(config.cleaning.benchmarks)
    settings = Settings(
        str(config.tokenizer), config.min_characters, config.cleaning, questions,
        config.seq_len, config.overlap,
    )  # fmt: skip
    collected: list[BadRows] = []
    with (
        StoreWriter(
            folder,
            tokenizer_sha256=tokenizer.sha256,
            vocab_size=tokenizer.vocab_size,
            seq_len=config.seq_len,
            starts_inside=starts_inside(tokenizer),
        ) as writer,
        start_workers(
            config.engine,
            count=config.workers,
            make=DocumentEncoder,
            settings=settings,
            threads=THREADS,
        ) as workers,
    ):
        progress = journal.restore(writer)
        if progress is None:
            progress = Progress()
            if config.append_to is not None:
                writer.take_over(TokenStore.open(config.append_to))
        for number, source in enumerate(config.sources):
            collected.append(BadRows(config.max_bad_rows))
            job = _Source(config, context, source, journal, collected[-1])
            if number == progress.source:
                job.write(writer, workers, progress)
            else:
                job.read_again()
    accounts = progress.accounts
    for account in accounts:
        if config.cleaning.benchmarks:
            account["benchmark_questions"] = questions.questions
            account["too_short_questions"] = questions.too_short
    write_account(folder, accounts, collected)
    names = [source.name for source in config.sources]
    samples = sorted(progress.samples, key=lambda row: (names.index(row["name"]), row["reason"]))
    write_jsonl(folder / "dropped.jsonl", samples)
    journal.remove()
    context.progress(len(config.sources), len(config.sources), "done")


@dataclass
class _Source:
    """What is needed to write one source."""

    config: Config
    context: StageContext
    source: CorpusSource
    journal: _Journal
    bad: BadRows

    def read_again(self) -> None:
        """Count the bad rows of a source that was written before a kill."""
        for _ in read_source(self.source, self.bad, Dropped()):
            pass

    def write(self, writer: StoreWriter, workers: Runner, progress: Progress) -> None:
        """Write what is not written yet of this source; then the next one is at work."""
        config, source, name = self.config, self.source, self.source.name
        other = Dropped()
        writer.begin(name, language=source.language, weight=source.weight)
        exact, near = SeenDigests(), None
        if config.cleaning.near_duplicates is not None:
            near = NearDuplicates(config.cleaning.near_duplicates)
        if config.drop_duplicates:
            exact.add(writer.digests())
        if near is not None:
            signatures, digests = self.journal.asked(progress.asked)
            near.find_signatures(signatures)
            exact.add(digests)
        shards = self._shards(read_source(source, self.bad, other), self._boilerplate())
        for encoded in workers.map(islice(shards, progress.shards, None)):
            keep = self._keep(encoded, exact, near, progress)
            writer.add_documents(encoded.kept.only(keep))
            progress.shards += 1
            self.journal.save(writer, progress)
            done, total = progress.source, len(config.sources)
            self.context.progress(done, total, f"{name}: {writer.sources[-1]['documents']} texts")
        dropped = Dropped(**progress.dropped, other_language=other.other_language)
        written = writer.finish(bad_rows=self.bad.bad)
        check_not_empty(source, written.documents, dropped)
        account: dict[str, Any] = {**asdict(written), "dropped": asdict(dropped)}
        if config.cleaning.mask:
            account["masked"] = {kind: progress.masked[kind] for kind in config.cleaning.mask}
        progress.accounts.append(account)
        self.context.events.emit("prepared", stage=self.context.name, **account)
        progress.source, progress.shards, progress.asked = progress.source + 1, 0, 0
        progress.dropped, progress.masked, progress.shown = Counter(), Counter(), Counter()
        self.journal.save(writer, progress)

    def _boilerplate(self) -> frozenset[int]:
        """Return the lines that stand in many documents; for that the source is read once more."""
        least = self.config.cleaning.boilerplate_documents
        if least is None:
            return frozenset()
        documents = read_source(self.source, BadRows(1.0), Dropped())
        form = self.config.cleaning.normalize
        texts = (tidy(readable(document.text, form=form)[0]) for document in documents)
        return repeated_lines(texts, documents=least)

    def _shards(
        self, documents: Iterator[Document], boilerplate: frozenset[int]
    ) -> Iterator[Shard]:
        held: list[Document] = []
        size = 0
        for document in documents:
            held.append(document)
            size += len(document.text)
            if size >= self.config.shard_characters:
                yield Shard(held, self.source.language, boilerplate)
                held, size = [], 0
        if held:
            yield Shard(held, self.source.language, boilerplate)

    def _keep(
        self, encoded: Encoded, exact: SeenDigests, near: NearDuplicates | None, progress: Progress
    ) -> npt.NDArray[np.bool_]:
        """Return which texts of a shard are new, and count all that is left out."""
        keep = np.ones(len(encoded.heads), np.bool_)
        if self.config.drop_duplicates:
            keep = exact.add(encoded.kept.digests)
        found = [(index, "duplicate", "") for index in np.flatnonzero(~keep).tolist()]
        if near is not None:
            indices = np.flatnonzero(keep)
            asked = encoded.near[indices]
            digests = encoded.kept.digests[indices]
            progress.asked = self.journal.remember(asked, digests, behind=progress.asked)
            for index, neighbor in zip(indices.tolist(), near.find_signatures(asked), strict=True):
                if neighbor is not None:
                    keep[index] = False
                    detail = f"similarity {neighbor.similarity:.2f}"
                    found.append((index, "near_duplicate", detail))
        later = [
            replace(encoded.heads[index], reason=reason, detail=detail)
            for index, reason, detail in sorted(found)
        ]
        for sample in [*encoded.samples, *later]:
            if progress.shown[sample.reason] < SAMPLES:
                progress.shown[sample.reason] += 1
                place = {"name": self.source.name, "source": Path(sample.source).name}
                progress.samples.append({**asdict(sample), **place})
        progress.masked.update(encoded.masked)
        progress.dropped.update(encoded.dropped)
        progress.dropped.update(reason for _, reason, _ in found)
        return keep


class _Journal:
    """Says which shards are written; for one command on one set of files."""

    def __init__(self, path: Path, key: str) -> None:
        self.path, self.key = path, key
        self.signatures = path.with_suffix(".near")

    def restore(self, writer: StoreWriter) -> Progress | None:
        """Put the writer where the last shard ended; None: there is nothing to go on with."""
        if not self.path.is_file():
            return None
        saved = read_json(self.path)
        if saved["key"] != self.key or not writer.restore(saved["writer"]):
            return None
        progress = Progress(**saved["progress"])
        kept = self.signatures.stat().st_size if self.signatures.is_file() else 0
        if kept < progress.asked * ASKED_BYTES:
            return None
        progress.dropped, progress.masked = Counter(progress.dropped), Counter(progress.masked)
        progress.shown = Counter(progress.shown)
        return progress

    def save(self, writer: StoreWriter, progress: Progress) -> None:
        """Note that everything up to here is written."""
        state = {"key": self.key, "writer": writer.checkpoint(), "progress": vars(progress)}
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(state), encoding="utf-8")
        part.replace(self.path)  # the files' checksums find what a power failure takes

    def remember(self, values: Signatures, digests: npt.NDArray[np.uint64], *, behind: int) -> int:
        """Keep what was asked, for a restart, behind so many others; return how many there are."""
        rows = np.concatenate([values, digests.astype("<u8").view(np.uint8).reshape(-1, 8)], axis=1)
        with self.signatures.open("r+b" if behind else "wb") as stream:
            stream.truncate(behind * ASKED_BYTES)
            stream.seek(behind * ASKED_BYTES)
            stream.write(rows.tobytes())
        return behind + len(values)

    def asked(self, count: int) -> tuple[Signatures, npt.NDArray[np.uint64]]:
        """Return the first signatures that were kept, and the digests of their texts."""
        rows = np.zeros((0, ASKED_BYTES), np.uint8)
        if count:
            rows = np.fromfile(self.signatures, np.uint8, count * ASKED_BYTES)
        rows = rows.reshape(count, ASKED_BYTES)
        digests = np.ascontiguousarray(rows[:, MINIMA:]).view("<u8").reshape(-1)
        return rows[:, :MINIMA], digests.astype(np.uint64)

    def remove(self) -> None:
        """Take the journal away: all is written."""
        self.path.unlink(missing_ok=True)
        self.signatures.unlink(missing_ok=True)


def _key(config: Config, tokenizer: str) -> str:
    """Return what the shards depend on: settings, tokenizer, and the files as they are."""
    values = config.model_dump(mode="json", exclude={"workers", "engine"})
    paths = [*(source.path for source in config.sources), *config.cleaning.benchmarks]
    paths += [config.append_to] if config.append_to is not None else []
    files = [
        (str(file), file.stat().st_size, file.stat().st_mtime_ns)
        for path in map(Path, paths)
        if path.exists()
        for file in list_files(path)
    ]
    return json.dumps([__version__, tokenizer, values, files])
