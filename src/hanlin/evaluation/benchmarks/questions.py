"""Questions with options from JSON lines (or CSV), such as those of the sample world."""

from __future__ import annotations

from hanlin.core.errors import ConfigError
from hanlin.data.readers import BadRows, read_questions
from hanlin.evaluation.benchmark import BenchmarkConfig, Subject, chosen_items
from hanlin.evaluation.exam import notes_of, with_options
from hanlin.evaluation.multiple_choice import Paper, question_benchmark
from hanlin.evaluation.protocol import Protocol
from hanlin.evaluation.protocols import protocol_for


def paper(config: BenchmarkConfig, subject: Subject, seed: int) -> tuple[Paper, Protocol]:
    """Ask each question in the model's chat format and score the options' texts."""
    if config.shots:
        raise ConfigError(
            f"benchmark {config.id!r}: shots is {config.shots}, but a file of questions has no "
            "separate examples",
            fix="leave shots out",
        )
    bad = BadRows(config.max_bad_rows)
    questions = list(read_questions(config.data, bad=bad))
    asked = with_options(questions, config, seed=seed)
    kept = chosen_items(
        asked,
        config.model_copy(update={"limit": None}),
        languages=[question.language for question in questions],
    )
    made = Paper(kept, notes=notes_of(config, questions, bad))
    return made, protocol_for(config, subject, default="chat", scorer="text", questions=questions)


BENCHMARK = question_benchmark(
    paper,
    summary="Questions with options: accuracy, or mean reciprocal rank for many options.",
    data="a file with question, options and answer in each row",
)
