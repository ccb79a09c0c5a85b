"""AGIEval (Zhong et al. 2023, https://arxiv.org/abs/2304.06364): exams, passages, clozes."""

from __future__ import annotations

from pathlib import Path

from hanlin.data.readers import BadRows
from hanlin.data.readers.questions_gaokao import read_agieval
from hanlin.evaluation.benchmark import BenchmarkConfig, Subject
from hanlin.evaluation.exam import notes_of
from hanlin.evaluation.multiple_choice import Paper, question_benchmark
from hanlin.evaluation.protocol import Protocol
from hanlin.evaluation.protocols import protocol_for
from hanlin.evaluation.shots import leave_one_out


def paper(config: BenchmarkConfig, subject: Subject, _seed: int) -> tuple[Paper, Protocol]:
    """Return the questions; examples are others of the same exam."""
    bad = BadRows(config.max_bad_rows)
    questions = list(read_agieval(Path(config.data), bad=bad))
    return Paper(
        questions=questions,
        examples=leave_one_out(questions, shots=config.shots or 0),
        notes=notes_of(config, questions, bad),
    ), protocol_for(config, subject, default="official", questions=questions)


BENCHMARK = question_benchmark(
    paper,
    summary="AGIEval: exam questions with passages, several answers, or without options (cloze).",
    data="its folder of JSON-lines files, or one of them",
)
