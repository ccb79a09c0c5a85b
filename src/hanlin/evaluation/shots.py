"""Which examples stand before a question?"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence

from hanlin.core.records import Question
from hanlin.evaluation.benchmark import ShotChoice


def choose_examples(
    questions: Sequence[Question],
    pool: Sequence[Question],
    *,
    shots: int,
    how: ShotChoice,
    seed: int,
) -> Mapping[str, Sequence[Question]]:
    """Return the examples of each subject (or, by label, of each question).

    Args:
        questions: what is asked.
        pool: answered questions to choose from.
        shots: at most so many.
        how: first: of the subject, in order; fixed: the pool's first for all; label: those of the
            question's longest disciplines; seeded: drawn from the subject.
        seed: of `seeded`.
    """
    if not shots or not pool:
        return {}
    if how == "label":
        return {q.id: _by_label(q, pool)[:shots] for q in questions}
    by_subject: dict[str, list[Question]] = defaultdict(list)
    for example in pool:
        by_subject[example.subject].append(example)
    subjects = sorted({question.subject for question in questions})
    if how == "fixed":
        return dict.fromkeys(subjects, pool[:shots])
    if how == "seeded":
        return {s: _drawn(by_subject[s], s, shots=shots, seed=seed) for s in subjects}
    return {subject: by_subject[subject][:shots] for subject in subjects}


def leave_one_out(questions: Sequence[Question], *, shots: int) -> dict[str, list[Question]]:
    """Return for each question's id the first other answered questions of its subject."""
    by_subject: dict[str, list[Question]] = defaultdict(list)
    for question in questions:
        if question.answer is not None or question.answers or question.gold:
            by_subject[question.subject].append(question)
    return {
        question.id: [q for q in by_subject[question.subject] if q.id != question.id][:shots]
        for question in questions
    } if shots else {}  # fmt: skip


def _drawn(pool: list[Question], subject: str, *, shots: int, seed: int) -> list[Question]:
    draw = random.Random(f"{seed}\n{subject}")  # noqa: S311 - no secret
    return draw.sample(pool, min(shots, len(pool)))


def _by_label(question: Question, pool: Sequence[Question]) -> list[Question]:
    """Return examples that share a discipline; those of the longest, most special name first."""
    labels = sorted(set(question.labels or (question.subject,)), key=lambda x: (-len(x), x))
    found: dict[str, Question] = {}
    for label in labels:
        for example in pool:
            if label in (example.labels or (example.subject,)):
                found.setdefault(example.id, example)
    found.pop(question.id, None)
    return list(found.values())
