"""Questions with options from JSON lines (or CSV), such as those of the sample world."""

from __future__ import annotations

from hanlin.core.errors import ConfigError
from hanlin.data.readers import BadRows, read_questions
from hanlin.evaluation.benchmark import (
    Benchmark,
    BenchmarkConfig,
    BenchmarkResult,
    Subject,
    chosen_items,
)
from hanlin.evaluation.multiple_choice import run_questions
from hanlin.evaluation.protocol import Protocol


def run(config: BenchmarkConfig, subject: Subject, seed: int) -> BenchmarkResult:
    """Ask each question in the model's chat format and score the options' texts."""
    if config.shots:
        raise ConfigError(
            f"benchmark {config.id!r}: shots is {config.shots}, but a file of questions has no "
            "separate examples",
            fix="leave shots out",
        )
    questions = list(read_questions(config.data, bad=BadRows(config.max_bad_rows)))
    return run_questions(
        chosen_items(questions, config, languages=[q.language for q in questions]),
        examples={},
        protocol=Protocol(
            format=None if config.protocol == "plain" else subject.format,
            scorer=config.scorer or "text",
        ),
        config=config,
        subject=subject,
        seed=seed,
    )


BENCHMARK = Benchmark(
    summary="Questions with options: accuracy, or mean reciprocal rank for many options.",
    data="a file with question, options and answer in each row",
    run=run,
)
