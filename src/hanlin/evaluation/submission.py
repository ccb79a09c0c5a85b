"""What would a model answer where the answers are hidden? As C-Eval's server takes it.

{"law": {"0": "A", "1": "C", ...}, ...}: subject -> the row's id (its line where it has none) ->
letter.
"""

from __future__ import annotations

from hanlin.core.errors import ConfigError, InputError
from hanlin.evaluation.benchmark import Benchmark, BenchmarkConfig, Subject, spread
from hanlin.evaluation.benchmarks import BENCHMARKS
from hanlin.evaluation.multiple_choice import Paper, ask
from hanlin.evaluation.protocol import LETTER_SCORERS, Protocol


def predict(config: BenchmarkConfig, subject: Subject, *, seed: int) -> dict[str, dict[str, str]]:
    """Return the letters of all questions without an answer, by subject and row.

    Raises:
        ConfigError: the benchmark has no letters to choose.
        InputError: every question has its answer.
    """
    benchmark: Benchmark = BENCHMARKS.get(config.benchmark)
    if benchmark.paper is None:
        raise ConfigError(
            f"{config.benchmark} asks no questions with hidden answers",
            fix="choose ceval or m3ke",
        )
    made: tuple[Paper, Protocol] = benchmark.paper(config, subject, seed)
    paper, protocol = made
    if protocol.scorer not in LETTER_SCORERS:
        raise ConfigError(
            f"the scorer {protocol.scorer} chooses no letters",
            why="a submission holds letters",
            fix="use --scorer letter, or a protocol that scores letters",
        )
    hidden = [q for q in paper.questions if q.answer is None and not q.answers and not q.gold]
    if not hidden:
        raise InputError(
            f"{config.data}: every question has its answer",
            why="a submission is for a split whose answers are hidden",
            fix="score it: hanlin eval run; or name the hidden split, for example --split test",
        )
    asked = spread(hidden, config.limit)
    outcomes = ask(asked, paper, protocol=protocol, config=config, subject=subject)
    found: dict[str, dict[str, str]] = {}
    for outcome in outcomes:
        row = outcome.question.id.rpartition("-")[2]
        letter = "" if outcome.choice is None else outcome.choices[outcome.choice]
        found.setdefault(outcome.question.subject, {})[row] = letter
    return found
