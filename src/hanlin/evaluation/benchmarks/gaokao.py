"""GAOKAO-Bench (Zhang et al. 2023, https://arxiv.org/abs/2305.12474): objective questions."""

from __future__ import annotations

from hanlin.data.readers import BadRows
from hanlin.data.readers.questions_gaokao import read_gaokao_bench
from hanlin.evaluation.benchmark import BenchmarkConfig, Subject
from hanlin.evaluation.data_sets import data_folder
from hanlin.evaluation.exam import choosable, notes_of
from hanlin.evaluation.multiple_choice import Paper, question_benchmark
from hanlin.evaluation.protocol import Protocol
from hanlin.evaluation.protocols import protocol_for
from hanlin.evaluation.shots import leave_one_out

MAX_BAD_ROWS = 0.05  # in a few published questions the options cannot be told apart


def paper(config: BenchmarkConfig, subject: Subject, _seed: int) -> tuple[Paper, Protocol]:
    """Return the questions; examples are others of the same exam."""
    bad = BadRows(max(config.max_bad_rows, MAX_BAD_ROWS))
    questions = list(read_gaokao_bench(data_folder(config), bad=bad))
    protocol = protocol_for(config, subject, default="official", questions=questions)
    asked, left_out = choosable(questions, protocol, config)
    return Paper(
        questions=asked,
        examples=leave_one_out(questions, shots=config.shots or 0),
        notes={**notes_of(config, questions, bad), **left_out},
    ), protocol


BENCHMARK = question_benchmark(
    paper,
    summary="GAOKAO-Bench: objective questions of the university entrance exams, and clozes.",
    data="its folder of JSON files, or one of them",
)
