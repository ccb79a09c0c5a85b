"""How well does a model choose among options? Shared by all benchmarks of questions."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from hanlin.core.errors import InputError
from hanlin.core.records import Question
from hanlin.evaluation import scoring
from hanlin.evaluation.benchmark import (
    BenchmarkConfig,
    BenchmarkResult,
    Measure,
    Subject,
    language_of,
    spread,
)
from hanlin.evaluation.protocol import Prompted, Protocol, prompted
from hanlin.evaluation.statistics import bootstrap_mean, wilson

log = logging.getLogger(__name__)
HIT_AT = 5
FEW_OPTIONS = 10  # beyond that accuracy says little, and the mean reciprocal rank is reported


def run_questions(
    questions: Sequence[Question],
    *,
    examples: Mapping[str, Sequence[Question]],
    protocol: Protocol,
    config: BenchmarkConfig,
    subject: Subject,
    seed: int,
) -> BenchmarkResult:
    """Score every option of every question.

    Args:
        questions: those without an answer are left out, with a warning.
        examples: subject -> questions that are asked and answered first.
        protocol: how questions are asked.
        config: limit and language are taken from it.
        subject: the model.
        seed: of the bootstrap intervals.

    Raises:
        InputError: no question has an answer, or one does not fit into the model's context.
    """
    asked = spread(_answered(questions, config), config.limit)
    engine = subject.engine
    prompts = [
        prompted(
            question, examples.get(question.subject, ()), protocol=protocol,
            tokenizer=engine.tokenizer, max_length=engine.max_length,
        )
        for question in asked
    ]  # fmt: skip
    _warn(prompts, examples, name=f"{config.id}, {subject.name}")
    values = engine.score([request for prompt in prompts for request in prompt.requests])
    scores = iter(values)
    likelihoods = [[next(scores) for _ in prompt.requests] for prompt in prompts]
    rankings = [
        scoring.rank(row, question.answer or 0)
        for question, row in zip(asked, likelihoods, strict=True)
    ]
    return BenchmarkResult(
        measures=_measures(rankings, seed),
        records=tuple(map(_record, asked, likelihoods, rankings)),
        language=language_of(config, [question.language for question in asked]),
    )


def _answered(questions: Sequence[Question], config: BenchmarkConfig) -> list[Question]:
    answered = [question for question in questions if question.answer is not None]
    if not answered:
        raise InputError(
            f"{config.data}: none of the {len(questions)} questions has an answer",
            why="the answers of this split are hidden",
            fix="use a split with answers, for example split: val",
        )
    if len(answered) < len(questions):
        hidden = len(questions) - len(answered)
        log.warning("%s: %d of %d questions have no answer and are left out",
                    config.id, hidden, len(questions))  # fmt: skip
    return answered


def _warn(
    prompts: list[Prompted], examples: Mapping[str, Sequence[Question]], *, name: str
) -> None:
    wanted = max((len(shots) for shots in examples.values()), default=0)
    fewer = sum(prompt.num_shots < wanted for prompt in prompts)
    cut = sum(prompt.num_cut > 0 for prompt in prompts)
    if fewer:
        log.warning("%s: %d of %d questions had room for fewer than %d examples",
                    name, fewer, len(prompts), wanted)  # fmt: skip
    if cut:
        log.warning("%s: the beginning of %d of %d questions was cut off to fit the context",
                    name, cut, len(prompts))  # fmt: skip


def _measures(rankings: list[scoring.Ranking], seed: int) -> tuple[Measure, ...]:
    """Return accuracy, mean reciprocal rank and hits; the one that says more comes first."""
    sizes = [ranking.num_options for ranking in rankings]
    measures = [
        Measure(
            "accuracy",
            wilson(sum(ranking.accuracy for ranking in rankings), len(rankings)),
            higher_is_better=True,
            chance=scoring.chance_accuracy(sizes),
        ),
        Measure(
            "mrr",
            bootstrap_mean([ranking.reciprocal_rank for ranking in rankings], seed=seed),
            higher_is_better=True,
            chance=scoring.chance_mrr(sizes),
        ),
        Measure(
            f"hit@{HIT_AT}",
            wilson(sum(ranking.hit(HIT_AT) for ranking in rankings), len(rankings)),
            higher_is_better=True,
            chance=scoring.chance_hit(sizes, HIT_AT),
        ),
    ]
    if sum(sizes) / len(sizes) > FEW_OPTIONS:
        measures[:2] = measures[1::-1]
    return tuple(measures)


def _record(
    question: Question, log_likelihoods: list[float], ranking: scoring.Ranking
) -> dict[str, Any]:
    return {
        "id": question.id,
        "subject": question.subject,
        "question": question.question,
        "options": list(question.options),
        "answer": question.answer,
        "choice": scoring.best(log_likelihoods),
        "rank": ranking.rank,
        "log_likelihoods": [round(value, 6) for value in log_likelihoods],
    }
