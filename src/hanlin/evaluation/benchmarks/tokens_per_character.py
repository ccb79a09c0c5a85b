"""Tokens for one character: fewer of them make longer contexts and faster answers."""

from __future__ import annotations

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
from hanlin.tokenization.fertility import measure


def run(config: BenchmarkConfig, subject: Subject, seed: int) -> BenchmarkResult:
    """Count tokens and characters of every document; the interval is over documents."""
    documents = read_texts(config)
    counts = [measure(subject.engine.tokenizer, [document.text]) for document in documents]
    tokens, characters = [c.tokens for c in counts], [c.characters for c in counts]
    records = tuple(
        {
            "source_line": document.line,
            "tokens": count.tokens,
            "characters": count.characters,
            "byte_fallback_tokens": count.byte_fallback_tokens,
        }
        for document, count in zip(documents, counts, strict=True)
    )
    found = Measure(
        "tokens_per_character",
        bootstrap_ratio(tokens, characters, seed=seed),
        higher_is_better=False,
    )
    return BenchmarkResult((found,), records, language_of(config, [d.language for d in documents]))


BENCHMARK = Benchmark(
    summary="Tokens per character of the model's tokenizer.",
    data="a corpus file or folder (text, JSON lines)",
    run=run,
)
