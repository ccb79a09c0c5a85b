"""What becomes of some documents, in whichever process: clean texts, then tokens and borders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from hanlin.core.records import Document
from hanlin.data.corpus.boilerplate import without_lines
from hanlin.data.corpus.clean import Cleaning, readable, tidy
from hanlin.data.corpus.decontaminate import QuestionGrams, holds_question
from hanlin.data.corpus.duplicates import digest
from hanlin.data.corpus.near_duplicates import MINIMA, Signatures, signatures
from hanlin.data.corpus.personal_data import mask
from hanlin.data.corpus.quality import repetition
from hanlin.data.corpus.segment import BorderFinder, as_utf8, to_segments
from hanlin.data.encoded import EncodedDocuments
from hanlin.text.script import language_share
from hanlin.tokenization.fertility import batches
from hanlin.tokenization.load import load

Ints = npt.NDArray[np.int64]
BATCH_CHARACTERS = 100_000  # encoded together: lists of Python integers are large
SAMPLES = 20  # documents of each reason that are shown
SHOWN = 200  # characters of each


@dataclass(frozen=True)
class Settings:
    """What every process must know.

    Attributes:
        tokenizer: where it lies.
        min_characters: shorter documents are left out.
        cleaning: the other rules.
        questions: n-grams of benchmarks.
        seq_len: cut documents to segments of at most so many tokens; None: they stay whole.
        overlap: fill segments with sentences of the one before, as KnowLM does.
    """

    tokenizer: str
    min_characters: int = 1
    cleaning: Cleaning = field(default_factory=Cleaning)
    questions: QuestionGrams = field(default_factory=lambda: QuestionGrams({}))
    seq_len: int | None = None
    overlap: bool = False


@dataclass(frozen=True)
class Shard:
    """Documents of one source, and the lines that are boilerplate in it."""

    documents: Sequence[Document]
    language: str | None
    boilerplate: frozenset[int]


@dataclass(frozen=True)
class Sample:
    """A document that was left out: why, where it came from, how it begins."""

    reason: str
    detail: str
    source: str
    line: int
    text: str


@dataclass
class Encoded:
    """What became of a shard.

    Attributes:
        kept: texts as tokens.
        near: [T, 128], their signatures; [0, 128] where near duplicates are not looked for.
        samples: the first documents of each reason for which some were left out.
        heads: of each kept text, what a sample would show.
        dropped: how many were left out, by reason.
        masked: pieces of personal data that were replaced, by kind.
    """

    kept: EncodedDocuments
    near: Signatures
    samples: list[Sample]
    heads: list[Sample]
    dropped: Counter[str]
    masked: Counter[str]


class DocumentEncoder:
    """Cleans and encodes shards; the result depends on nothing but the shard and the settings."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.tokenizer = load(settings.tokenizer)
        self.borders = BorderFinder(self.tokenizer)

    def __call__(self, shard: Shard) -> Encoded:
        """Return what became of the documents of a shard."""
        dropped: Counter[str] = Counter()
        masked: Counter[str] = Counter()
        samples: list[Sample] = []
        heads: list[Sample] = []
        texts: list[str] = []
        for document in shard.documents:
            text, garbled, found = self._cleaned(document.text, shard.boilerplate)
            reason, detail = self._why_not(text, garbled, shard.language)
            sample = Sample(reason, detail, document.source, document.line, text[:SHOWN])
            if reason:
                dropped[reason] += 1
                if dropped[reason] <= SAMPLES:
                    samples.append(sample)
                continue
            masked.update(found)
            heads.append(sample)
            texts.append(text)
        near = np.zeros((0, MINIMA), np.uint8)
        if self.settings.cleaning.near_duplicates is not None and texts:
            near = signatures(texts)
        return Encoded(self._encode(texts), near, samples, heads, dropped, masked)

    def _cleaned(self, text: str, boilerplate: frozenset[int]) -> tuple[str, float, Counter[str]]:
        """Return a clean text, the share of it that was garbled, and what was masked in it."""
        cleaning = self.settings.cleaning
        text, garbled = readable(text, form=cleaning.normalize)
        text = tidy(text)
        if boilerplate:
            text = tidy(without_lines(text, boilerplate))
        masked: Counter[str] = Counter()
        if cleaning.mask:
            text, masked = mask(text, cleaning.mask)
        return text, garbled, masked

    def _why_not(self, text: str, garbled: float, language: str | None) -> tuple[str, str]:
        """Return reason and detail for which a document is left out; "" where it is kept."""
        cleaning, size = self.settings.cleaning, len(text)
        if not text:
            return "empty", ""
        if size < self.settings.min_characters:
            return "short", f"{size} characters"
        if cleaning.max_characters is not None and size > cleaning.max_characters:
            return "long", f"{size} characters"
        if garbled > cleaning.max_garbled:
            return "garbled", f"{garbled:.0%} of the characters cannot be read"
        if cleaning.min_language_share is not None and language is not None:
            share = language_share(text, language)
            if share < cleaning.min_language_share:
                return "other_script", f"{share:.0%} of the letters are of the script of {language}"
        how = repetition(text) if cleaning.drop_repetitive else None
        if how is not None:
            return "repetitive", how
        if self.settings.questions.grams and holds_question(text, self.settings.questions):
            return "contaminated", "words in a row that a benchmark's question has"
        return "", ""

    def _encode(self, texts: Sequence[str]) -> EncodedDocuments:
        settings, encoded = self.settings, [NOTHING]
        for batch in batches(texts, characters=len, limit=BATCH_CHARACTERS):
            ids, lengths = self._tokens(batch)
            utf8 = [as_utf8(text) for text in batch]
            borders = self.borders.find(utf8, ids, lengths)
            documents = EncodedDocuments(
                ids=ids,
                lengths=lengths,
                sentences=borders.sentences,
                clauses=borders.clauses,
                parts=np.ones(len(batch), np.int64),
                digests=np.array([digest(text.data) for text in utf8], np.uint64),
                text_bytes=np.array([len(text.data) for text in utf8], np.int64),
            )
            if settings.seq_len is not None:
                documents = to_segments(
                    documents,
                    seq_len=settings.seq_len,
                    overlap=settings.overlap,
                    starts_inside=self.borders.starts_inside,
                )
            encoded.append(documents)
        return EncodedDocuments.joined(encoded)

    def _tokens(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.int32], Ints]:
        """Return bos (where the tokenizer has one), tokens and eos of each text; and how many."""
        bos = [] if self.tokenizer.bos_id is None else [self.tokenizer.bos_id]
        start, end = np.array(bos, np.int32), np.array([self.tokenizer.eos_id], np.int32)
        encoded = self.tokenizer.encode_arrays(texts, at_start=True)
        parts = [part for own in encoded for part in (start, own, end)]
        lengths = [len(start) + len(own) + 1 for own in encoded]
        return np.concatenate(parts), np.array(lengths, np.int64)


_NONE = np.zeros(0, np.int64)
NOTHING = EncodedDocuments(
    _NONE.astype(np.int32), _NONE, _NONE, _NONE, _NONE, _NONE.astype(np.uint64), _NONE
)
