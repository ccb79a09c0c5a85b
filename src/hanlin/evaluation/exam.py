"""How is an exam asked: a folder of files, one for each subject, with a dev split of examples?

C-Eval, CMMLU and MMLU differ in their prompts, subjects and the name of a folder only.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hanlin.core.errors import ConfigError, InputError
from hanlin.core.records import Question
from hanlin.data.readers import BadRows, read_questions
from hanlin.evaluation.benchmark import BenchmarkConfig, Subject
from hanlin.evaluation.data_sets import data_folder
from hanlin.evaluation.multiple_choice import MakePaper, Paper
from hanlin.evaluation.option_pool import fill_up
from hanlin.evaluation.protocol import LETTER_SCORERS, Protocol
from hanlin.evaluation.protocols import MRR_OPTIONS, protocol_for
from hanlin.evaluation.shots import choose_examples
from hanlin.evaluation.subjects import missing_subjects, subjects_of

log = logging.getLogger(__name__)
DEV = "dev"
SHOWN_BAD_ROWS = 20


def exam(
    *, split: str, shots: int = 5, groups: Mapping[str, frozenset[str]] | None = None
) -> MakePaper:
    """Return what makes the paper of an exam.

    Args:
        split: the folder with the questions.
        shots: examples before each question, unless the config says otherwise.
        groups: name -> subjects that are reported by themselves, as accuracy_NAME.
    """

    def paper(config: BenchmarkConfig, subject: Subject, seed: int) -> tuple[Paper, Protocol]:
        folder = data_folder(config)
        count = shots if config.shots is None else config.shots
        bad = BadRows(config.max_bad_rows)
        questions = [
            question
            for path in split_paths(folder, config.split or split)
            for question in read_questions(path, bad=bad)
        ]
        examples: list[Question] = []
        if count:
            examples = dev_questions(folder, shots=count)
        asked = with_options(questions, config, seed=seed)
        notes = notes_of(config, questions, bad, asked=asked, split=config.split or split)
        return Paper(
            questions=asked,
            examples=choose_examples(
                asked, examples, shots=count, how=config.shot_choice, seed=seed
            ),
            categories=categories_of(config.benchmark),
            groups=groups or {},
            notes=notes,
        ), protocol_for(config, subject, default="official", questions=questions)

    return paper


def with_options(
    questions: Sequence[Question], config: BenchmarkConfig, *, seed: int
) -> list[Question]:
    """Return the questions, filled up to the config's number of options."""
    count = config.options or (MRR_OPTIONS if config.protocol == "cutegpt-mrr" else None)
    if count is None:
        return list(questions)
    return fill_up(questions, count=count, seed=seed, shuffle=config.shuffle, pool=questions)


def choosable(
    questions: Sequence[Question], protocol: Protocol, config: BenchmarkConfig
) -> tuple[list[Question], dict[str, Any]]:
    """Return the questions that a protocol can ask, and a note of those that it cannot.

    Several right answers are a set of letters: where the texts of options are scored, there is
    nothing to compare with such a set.
    """
    if protocol.scorer in LETTER_SCORERS:
        return list(questions), {}
    kept = [question for question in questions if not question.answers]
    left_out = len(questions) - len(kept)
    if left_out:
        log.warning("%s: %d questions have several right answers, which the scorer %s cannot "
                    "choose; they are left out", config.id, left_out, protocol.scorer)  # fmt: skip
    return kept, {"several_answers": left_out}


def categories_of(name: str) -> dict[str, str]:
    """Return subject -> category of an exam."""
    return {key: known.category for key, known in subjects_of(name).items()}


def notes_of(
    config: BenchmarkConfig,
    questions: Sequence[Question],
    bad: BadRows,
    *,
    asked: Sequence[Question] = (),
    split: str = "",
) -> dict[str, Any]:
    """Return what is known about the questions; log what was missing or unusable in the data.

    Args:
        config: the benchmark.
        questions: as they were read.
        bad: the rows that could not be used.
        asked: as they are asked, where options were filled up.
        split: the part of the data.
    """
    found = {question.subject for question in questions}
    missing = missing_subjects(config.benchmark, found)
    if missing:
        total = len(subjects_of(config.benchmark))
        log.warning("%s: %d of %d subjects are not in %s, the first: %s",
                    config.id, len(missing), total, config.data, missing[0])  # fmt: skip
    if bad.bad:
        row = bad.rows[0]
        log.warning("%s: %d rows cannot be used and are left out, the first: %s:%d: %s",
                    config.id, bad.bad, row.source, row.line, row.reason)  # fmt: skip
    sizes = {len(question.options) for question in asked or questions}
    return {
        "benchmark": config.benchmark,
        "split": split,
        "options_each": sizes.pop() if len(sizes) == 1 else None,
        "num_subjects": len(found),
        "missing_subjects": missing,
        "bad_rows": {"count": bad.bad, "rows": bad.as_records()[:SHOWN_BAD_ROWS]},
    }


def dev_questions(folder: Path, *, shots: int) -> list[Question]:
    """Return the answered questions of the dev split.

    Raises:
        ConfigError: there is no dev split.
    """
    found = _in_split(folder, DEV)
    if not found:
        raise ConfigError(
            f"shots is {shots}, but {folder} has no folder {DEV!r} to take examples from",
            fix=f"add {folder / DEV}, or ask without examples: shots: 0",
        )
    return [q for path in found for q in read_questions(path) if q.answer is not None]


def split_paths(folder: Path, split: str) -> list[Path]:
    """Return where a split is: a folder of that name, or the path itself where it is one split.

    A data set of the hub has a folder for each subject, with a file for each split.

    Raises:
        InputError: there are other splits only.
    """
    if found := _in_split(folder, split):
        return found
    others = (
        sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    )
    if others:
        raise InputError(
            f"{folder} has no folder {split!r}",
            why=f"it has: {', '.join(others)}",
            fix="name one of them as the split, for example split: val",
        )
    return [folder]


def _in_split(folder: Path, split: str) -> list[Path]:
    if (folder / split).is_dir():
        return [folder / split]
    names = (split, "validation") if split == "val" else (split,)
    return sorted(path for name in names for path in folder.glob(f"*/{name}-*-of-*.parquet"))
