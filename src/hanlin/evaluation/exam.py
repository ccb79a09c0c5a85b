"""How is an exam asked: a folder of files, one for each subject, with a dev split of examples?

C-Eval, CMMLU and MMLU differ in their prompts, subjects and the name of a folder only.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hanlin.core.errors import ConfigError, InputError
from hanlin.core.records import Question
from hanlin.data.readers import BadRows, read_questions
from hanlin.evaluation.benchmark import BenchmarkConfig, Subject
from hanlin.evaluation.multiple_choice import MakePaper, Paper
from hanlin.evaluation.option_pool import fill_up
from hanlin.evaluation.protocol import Protocol
from hanlin.evaluation.protocols import MRR_OPTIONS, protocol_for
from hanlin.evaluation.shots import choose_examples
from hanlin.evaluation.subjects import missing_subjects, subjects_of

log = logging.getLogger(__name__)
DEV = "dev"
SHOWN_BAD_ROWS = 20


def exam(*, split: str, shots: int = 5, hard: frozenset[str] = frozenset()) -> MakePaper:
    """Return what makes the paper of an exam.

    Args:
        split: the folder with the questions.
        shots: examples before each question, unless the config says otherwise.
        hard: subjects that are reported by themselves.
    """

    def paper(config: BenchmarkConfig, subject: Subject, seed: int) -> tuple[Paper, Protocol]:
        folder = Path(config.data)
        count = shots if config.shots is None else config.shots
        bad = BadRows(config.max_bad_rows)
        questions = list(read_questions(split_folder(folder, config.split or split), bad=bad))
        examples: list[Question] = []
        if count:
            examples = dev_questions(folder, shots=count)
        asked = with_options(questions, config, seed=seed)
        return Paper(
            questions=asked,
            examples=choose_examples(
                asked, examples, shots=count, how=config.shot_choice, seed=seed
            ),
            categories=categories_of(config.benchmark),
            hard=hard,
            notes=notes_of(config, questions, bad),
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


def categories_of(name: str) -> dict[str, str]:
    """Return subject -> category of an exam."""
    return {key: known.category for key, known in subjects_of(name).items()}


def notes_of(
    config: BenchmarkConfig, questions: Sequence[Question], bad: BadRows
) -> dict[str, Any]:
    """Return, and log, what was missing or unusable in the data."""
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
    return {
        "num_subjects": len(found),
        "missing_subjects": missing,
        "bad_rows": {"count": bad.bad, "rows": bad.as_records()[:SHOWN_BAD_ROWS]},
    }


def dev_questions(folder: Path, *, shots: int) -> list[Question]:
    """Return the answered questions of the dev split.

    Raises:
        ConfigError: there is no dev split.
    """
    if not (folder / DEV).is_dir():
        raise ConfigError(
            f"shots is {shots}, but {folder} has no folder {DEV!r} to take examples from",
            fix=f"add {folder / DEV}, or ask without examples: shots: 0",
        )
    return [q for q in read_questions(folder / DEV) if q.answer is not None]


def split_folder(folder: Path, split: str) -> Path:
    """Return the folder of a split, or the path itself where it is one split (or one file)."""
    if (folder / split).is_dir():
        return folder / split
    splits = (
        sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    )
    if splits:
        raise InputError(
            f"{folder} has no folder {split!r}",
            why=f"it has: {', '.join(splits)}",
            fix="name one of them as the split, for example split: val",
        )
    return folder
