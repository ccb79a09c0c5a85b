"""How is an exam asked: a folder of CSV files, one for each subject, with a dev split of examples?

The benchmarks C-Eval, CMMLU and MMLU differ in a sentence and in the name of a folder only.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hanlin.core.errors import ConfigError, InputError
from hanlin.core.records import Question
from hanlin.data.readers import BadRows, read_questions
from hanlin.evaluation.benchmark import BenchmarkConfig, BenchmarkResult, Subject
from hanlin.evaluation.multiple_choice import run_questions
from hanlin.evaluation.protocol import Protocol

Run = Callable[[BenchmarkConfig, Subject, int], BenchmarkResult]
DEV = "dev"


def exam(*, split: str, intro: str, shots: int = 5) -> Run:
    """Return the `run` of an exam.

    Args:
        split: the folder with the questions.
        intro: a sentence before the examples; "{subject}" is replaced.
        shots: examples before each question, unless the config says otherwise.
    """

    def run(config: BenchmarkConfig, subject: Subject, seed: int) -> BenchmarkResult:
        folder = Path(config.data)
        count = shots if config.shots is None else config.shots
        bad = BadRows(config.max_bad_rows)
        questions = list(read_questions(_split_folder(folder, config.split or split), bad=bad))
        return run_questions(
            questions,
            examples=dev_examples(folder, shots=count) if count else {},
            protocol=Protocol(
                format=subject.format if config.protocol == "chat" else None,
                scorer=config.scorer or "letter",
                intro=intro,
            ),
            config=config,
            subject=subject,
            seed=seed,
        )

    return run


def dev_examples(folder: Path, *, shots: int) -> dict[str, list[Question]]:
    """Return the first answered questions of each subject in the dev split.

    Raises:
        ConfigError: there is no dev split.
    """
    if not (folder / DEV).is_dir():
        raise ConfigError(
            f"shots is {shots}, but {folder} has no folder {DEV!r} to take examples from",
            fix=f"add {folder / DEV}, or ask without examples: shots: 0",
        )
    examples: dict[str, list[Question]] = {}
    for question in read_questions(folder / DEV):
        held = examples.setdefault(question.subject, [])
        if question.answer is not None and len(held) < shots:
            held.append(question)
    return examples


def _split_folder(folder: Path, split: str) -> Path:
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
