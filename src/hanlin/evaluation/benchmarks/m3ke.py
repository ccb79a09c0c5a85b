"""M3KE (Liu et al. 2023, https://arxiv.org/abs/2305.10263): Chinese questions in 71 tasks.

The authors hide the answers of the test split: what has an answer is scored, each question after
others of its own task, and the rest is counted; `hanlin eval submit` writes answers to it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hanlin.core.records import Question
from hanlin.data.readers import BadRows, read_questions
from hanlin.evaluation.benchmark import BenchmarkConfig, Subject
from hanlin.evaluation.data_sets import data_folder
from hanlin.evaluation.exam import categories_of, notes_of, with_options
from hanlin.evaluation.multiple_choice import Paper, question_benchmark
from hanlin.evaluation.protocol import Protocol
from hanlin.evaluation.protocols import protocol_for
from hanlin.evaluation.shots import leave_one_out


def paper(config: BenchmarkConfig, subject: Subject, seed: int) -> tuple[Paper, Protocol]:
    """Return the questions of all splits, or of the one that the config names."""
    folder = data_folder(config)
    bad = BadRows(config.max_bad_rows)
    questions = _numbered(folder / config.split if config.split else folder, bad)
    asked = with_options(questions, config, seed=seed)
    return Paper(
        questions=asked,
        examples=leave_one_out(questions, shots=config.shots or 0),
        categories=categories_of("m3ke"),
        notes=notes_of(config, questions, bad, asked=asked, split=config.split or ""),
    ), protocol_for(config, subject, default="official", questions=questions)


def _numbered(folder: Path, bad: BadRows) -> list[Question]:
    """Return the questions; ids tell the split, as a task's file has the same name in each."""
    splits = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if not splits:
        return list(read_questions(folder, bad=bad))
    return [
        replace(question, id=f"{split.name}/{question.id}")
        for split in splits
        for question in read_questions(split, bad=bad)
    ]


BENCHMARK = question_benchmark(
    paper,
    summary="M3KE: Chinese questions in 71 tasks; those that have an answer.",
    data="its folder, with dev/ (and test/) of JSON-lines files",
)
