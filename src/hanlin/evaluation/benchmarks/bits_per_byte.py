"""Bits that a model needs for one byte of text: comparable across tokenizers; lower is better."""

from __future__ import annotations

import math
from collections.abc import Iterator

from hanlin.evaluation.benchmark import (
    Benchmark,
    BenchmarkConfig,
    BenchmarkResult,
    Measure,
    Subject,
    language_of,
)
from hanlin.evaluation.statistics import bootstrap_ratio
from hanlin.evaluation.texts import read_texts
from hanlin.inference.engine import ScoreRequest
from hanlin.tokenization.load import Tokenizer


def run(config: BenchmarkConfig, subject: Subject, seed: int) -> BenchmarkResult:
    """Sum the log-likelihood of every token of every document; the interval is over documents."""
    documents = read_texts(config)
    engine = subject.engine
    windows: list[ScoreRequest] = []
    owners: list[int] = []
    for number, document in enumerate(documents):
        for window in text_windows(document.text, engine.tokenizer, max_length=engine.max_length):
            windows.append(window)
            owners.append(number)
    bits = [0.0] * len(documents)
    for number, log_likelihood in zip(owners, engine.score(windows), strict=True):
        bits[number] -= log_likelihood / math.log(2)
    sizes = [len(document.text.encode()) for document in documents]
    records = tuple(
        {"source_line": document.line, "bits": round(bits[number], 4), "bytes": sizes[number]}
        for number, document in enumerate(documents)
    )
    measure = Measure(
        "bits_per_byte", bootstrap_ratio(bits, sizes, seed=seed), higher_is_better=False
    )
    return BenchmarkResult(
        (measure,), records, language_of(config, [d.language for d in documents])
    )


def text_windows(text: str, tokenizer: Tokenizer, *, max_length: int) -> Iterator[ScoreRequest]:
    """Yield (context, new tokens) so that every token of a text is scored exactly once.

    The first token follows the begin token (the end token where there is none: it ends the document
    before). In a text longer than the model's context, each further window has the half of it
    before as context.
    """
    begin = tokenizer.eos_id if tokenizer.bos_id is None else tokenizer.bos_id
    ids = [begin, *tokenizer.encode(text, at_start=True)]
    half = max_length // 2
    yield ids[:1], ids[1 : max_length + 1]
    for start in range(max_length + 1, len(ids), half):
        yield ids[start - (max_length - half) : start], ids[start : start + half]


BENCHMARK = Benchmark(
    summary="Bits per byte of texts that were not trained on.",
    data="a corpus file or folder (text, JSON lines)",
    run=run,
)
