"""How well does a model choose among options? Shared by all benchmarks of questions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hanlin.core.errors import InputError
from hanlin.core.records import Question
from hanlin.evaluation import scoring
from hanlin.evaluation.benchmark import (
    Benchmark,
    BenchmarkConfig,
    BenchmarkResult,
    Measure,
    Subject,
    language_of,
    spread,
)
from hanlin.evaluation.breakdown import Outcome, averaged, breakdown
from hanlin.evaluation.generated import Answered, generate_answers
from hanlin.evaluation.protocol import GENERATED, Prompted, Protocol, choices_of, prompted
from hanlin.evaluation.statistics import bootstrap_mean, wilson
from hanlin.inference.engine import ScoreRequest

log = logging.getLogger(__name__)
HITS_AT = (5, 1, 3, 10)
FEW_OPTIONS = 10  # beyond that accuracy says little, and the mean reciprocal rank is reported


@dataclass(frozen=True)
class Paper:
    """Questions of a benchmark, and what is known about them.

    Attributes:
        questions: those without an answer are left out, with a warning.
        examples: a question's id or subject -> questions that are asked and answered first.
        categories: subject -> its category.
        groups: name -> subjects that are reported once more by themselves.
        notes: goes into the result's details, for example missing subjects.
    """

    questions: Sequence[Question]
    examples: Mapping[str, Sequence[Question]] = field(default_factory=dict)
    categories: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, frozenset[str]] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)

    def shots(self, question: Question) -> Sequence[Question]:
        """Return the examples before a question."""
        return self.examples.get(question.id, self.examples.get(question.subject, ()))


MakePaper = Callable[[BenchmarkConfig, Subject, int], tuple[Paper, Protocol]]


def question_benchmark(paper: MakePaper, *, summary: str, data: str) -> Benchmark:
    """Return the benchmark that asks a paper's questions."""

    def run(config: BenchmarkConfig, subject: Subject, seed: int) -> BenchmarkResult:
        made, protocol = paper(config, subject, seed)
        return run_questions(made, protocol=protocol, config=config, subject=subject, seed=seed)

    return Benchmark(summary=summary, data=data, run=run, paper=paper)


def run_questions(
    paper: Paper,
    *,
    protocol: Protocol,
    config: BenchmarkConfig,
    subject: Subject,
    seed: int,
) -> BenchmarkResult:
    """Ask every question, by the likelihood of each option or by a generated answer.

    Args:
        paper: the questions.
        protocol: how questions are asked.
        config: limit and language are taken from it.
        subject: the model.
        seed: of the bootstrap intervals.

    Raises:
        InputError: no question has an answer, or one does not fit into the model's context.
    """
    answered = _answered(paper.questions, config)
    asked = spread(answered, config.limit)
    outcomes = ask(asked, paper, protocol=protocol, config=config, subject=subject)
    most = max((len(shots) for shots in paper.examples.values()), default=0)
    wanted = most if config.shots is None else config.shots
    details = {
        "protocol": config.protocol or "default",
        "scorer": protocol.scorer,
        "average": protocol.average,
        "shots": wanted,
        "questions": len(asked),
        "hidden_answers": len(paper.questions) - len(answered),
        **paper.notes,
        **breakdown(outcomes, categories=paper.categories, wanted_shots=wanted),
    }
    _warn(details, name=f"{config.id}, {subject.name}")
    return BenchmarkResult(
        measures=_measures(outcomes, paper, protocol, seed),
        records=tuple(outcome.record for outcome in outcomes),
        language=language_of(config, [question.language for question in asked]),
        details=details,
    )


def ask(
    questions: Sequence[Question],
    paper: Paper,
    *,
    protocol: Protocol,
    config: BenchmarkConfig,
    subject: Subject,
) -> list[Outcome]:
    """Return what a model does with each question; those without options are generated."""
    is_generated = [protocol.scorer in GENERATED or not q.options for q in questions]
    pairs = list(zip(questions, is_generated, strict=True))
    written = [question for question, is_written in pairs if is_written]
    scored = [question for question, is_written in pairs if not is_written]
    answers = generate_answers(
        written,
        [paper.shots(question) for question in written],
        protocol=protocol,
        engine=subject.engine,
        max_new_tokens=config.max_new_tokens,
    ) if written else []  # fmt: skip
    made = iter([_generated(q, a, protocol) for q, a in zip(written, answers, strict=True)])
    chosen = iter(_score(scored, paper, protocol=protocol, subject=subject))
    return [next(made) if is_written else next(chosen) for is_written in is_generated]


def _score(
    questions: Sequence[Question],
    paper: Paper,
    *,
    protocol: Protocol,
    subject: Subject,
) -> list[Outcome]:
    engine = subject.engine

    def prompt(question: Question, shots: Sequence[Question]) -> Prompted:
        return prompted(
            question, shots, protocol=protocol, tokenizer=engine.tokenizer,
            max_length=engine.max_length,
        )  # fmt: skip

    prompts = [prompt(question, paper.shots(question)) for question in questions]
    without: list[Prompted] = []
    if protocol.scorer == "pmi":
        without = [prompt(replace(question, question=""), ()) for question in questions]
    requests: list[ScoreRequest] = [r for p in (*prompts, *without) for r in p.requests]
    values = iter(engine.score(requests) if requests else [])
    likelihoods = [[next(values) for _ in p.requests] for p in prompts]
    priors = [[next(values) for _ in p.requests] for p in without]
    return [
        _chosen(question, p, row, protocol, priors[number] if priors else None)
        for number, (question, p, row) in enumerate(
            zip(questions, prompts, likelihoods, strict=True)
        )
    ]


def _chosen(
    question: Question,
    prompt: Prompted,
    log_likelihoods: list[float],
    protocol: Protocol,
    priors: list[float] | None,
) -> Outcome:
    """Return the outcome of likelihoods; hidden answers count as the first option's."""
    norms = [
        value / max(1, len(choice))
        for value, choice in zip(log_likelihoods, prompt.choices, strict=True)
    ]
    scores = norms if protocol.scorer == "text-norm" else log_likelihoods
    if priors is not None:
        scores = [value - prior for value, prior in zip(log_likelihoods, priors, strict=True)]
    answer = prompt.answer or 0
    ranking, choice = scoring.rank(scores, answer), scoring.best(scores)
    record = {
        **_asked(question),
        "answer": prompt.answer,
        "choice": choice,
        "correct": ranking.accuracy,
        "rank": ranking.rank,
        "log_likelihoods": [round(value, 6) for value in log_likelihoods],
    }
    if scores is not log_likelihoods:
        record["scores"] = [round(value, 6) for value in scores]
    return Outcome(
        question, ranking.accuracy, prompt.choices, prompt.answer, choice,
        prompt.num_shots, prompt.num_cut, ranking, scoring.rank(norms, answer).accuracy, record,
    )  # fmt: skip


def _generated(question: Question, answered: Answered, protocol: Protocol) -> Outcome:
    choices: Sequence[str] = ()
    answer = None
    if question.options:
        choices, answer = choices_of(question, protocol)
    choice = list(choices).index(answered.choice) if answered.choice in choices else None
    correct = float(answered.is_right)
    record = {
        **_asked(question),
        "answer": question.gold or answer,
        "choice": answered.choice if choice is None else choice,
        "correct": correct,
        "text": answered.text,
    }
    return Outcome(
        question, correct, tuple(choices), answer, choice,
        answered.num_shots, answered.num_cut, None, None, record,
    )  # fmt: skip


def _asked(question: Question) -> dict[str, Any]:
    return {
        "id": question.id,
        "subject": question.subject,
        **({"passage": question.passage} if question.passage else {}),
        "question": question.question,
        "options": list(question.options),
    }


def _answered(questions: Sequence[Question], config: BenchmarkConfig) -> list[Question]:
    answered = [q for q in questions if q.answer is not None or q.answers or q.gold]
    if not answered:
        raise InputError(
            f"{config.data}: none of the {len(questions)} questions has an answer",
            why="the answers of this split are hidden",
            fix="use a split with answers, for example split: val, "
            "or write the answers for the authors: hanlin eval submit",
        )
    if len(answered) < len(questions):
        hidden = len(questions) - len(answered)
        log.warning("%s: %d of %d questions have no answer and are left out",
                    config.id, hidden, len(questions))  # fmt: skip
    return answered


def _warn(details: Mapping[str, Any], *, name: str) -> None:
    total = details["questions"]
    if details["fewer_shots"]:
        log.warning("%s: %d of %d questions had room for fewer than %d examples",
                    name, details["fewer_shots"], total, details["shots"])  # fmt: skip
    if details["truncated"]:
        log.warning("%s: the beginning of %d of %d questions was cut off to fit the context",
                    name, details["truncated"], total)  # fmt: skip
    if details["unparsed"]:
        log.warning("%s: %d of %d generated answers name no option; they count as wrong",
                    name, details["unparsed"], total)  # fmt: skip


def _measures(
    outcomes: Sequence[Outcome], paper: Paper, protocol: Protocol, seed: int
) -> tuple[Measure, ...]:
    """Return accuracy, mean reciprocal rank and hits; the one that says more comes first."""
    sizes = [max(1, len(outcome.choices)) for outcome in outcomes]
    guess = sum(1 / len(o.choices) for o in outcomes if o.choices) / len(outcomes)

    def accuracy(name: str, rows: Sequence[Outcome], how: str) -> Measure:
        estimate = averaged(rows, how, categories=paper.categories)
        return Measure(name, estimate, higher_is_better=True, chance=guess)

    measures = [accuracy("accuracy", outcomes, protocol.average)]
    rankings = [outcome.ranking for outcome in outcomes if outcome.ranking]
    if len(rankings) == len(outcomes):
        measures += _ranked(rankings, sizes, seed)
        norm = sum(outcome.correct_norm or 0.0 for outcome in outcomes)
        measures.append(
            Measure("accuracy_norm", wilson(norm, len(outcomes)), higher_is_better=True,
                    chance=guess)
        )  # fmt: skip
    if len({outcome.question.subject for outcome in outcomes}) > 1:
        ways = ("micro", "macro", "category") if paper.categories else ("micro", "macro")
        measures += [accuracy(f"accuracy_{how}", outcomes, how) for how in ways]
    for name, subjects in paper.groups.items():
        group = [outcome for outcome in outcomes if outcome.question.subject in subjects]
        if group:
            measures.append(accuracy(f"accuracy_{name}", group, "macro"))
    if sum(sizes) / len(sizes) > FEW_OPTIONS and rankings:
        measures[:2] = measures[1::-1]
    return tuple(measures)


def _ranked(rankings: list[scoring.Ranking], sizes: list[int], seed: int) -> list[Measure]:
    mrr = Measure(
        "mrr",
        bootstrap_mean([ranking.reciprocal_rank for ranking in rankings], seed=seed),
        higher_is_better=True,
        chance=scoring.chance_mrr(sizes),
    )
    return [mrr] + [
        Measure(
            f"hit@{k}",
            wilson(sum(ranking.hit(k) for ranking in rankings), len(rankings)),
            higher_is_better=True,
            chance=scoring.chance_hit(sizes, k),
        )
        for k in HITS_AT
    ]
