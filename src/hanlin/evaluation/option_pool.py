"""How are the options of a question filled up to 50, the same in every process?

Xiezhi's authors draw the rest from the options of all questions (Gu et al. 2023). Theirs depends on
the order of a set and leaves the right answer among the first four; ours draws from a sorted pool
with a stream for each question, and shuffles unless the published layout is asked for.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from hanlin.core.errors import InputError
from hanlin.core.records import Question


def fill_up(
    questions: Sequence[Question], *, count: int, seed: int, shuffle: bool, pool: Sequence[Question]
) -> list[Question]:
    """Return the questions with `count` options each; none twice, the right one among them.

    Args:
        questions: each with at most `count` different options.
        count: options of each question afterwards.
        seed: with the question's id and text it decides what is drawn.
        shuffle: False leaves the question's own options first.
        pool: questions whose options are drawn from.

    Raises:
        InputError: the pool is too small.
    """
    texts = sorted({option.strip() for question in pool for option in question.options})
    if len(texts) < count:
        raise InputError(
            f"there are {len(texts)} different options, not {count}",
            why="the options of all questions together are too few",
            fix=f"use more data, or ask for fewer: --options {len(texts)}",
        )
    return [_filled(q, texts, count=count, seed=seed, shuffle=shuffle) for q in questions]


def _filled(
    question: Question, texts: Sequence[str], *, count: int, seed: int, shuffle: bool
) -> Question:
    draw = random.Random(f"{seed}\n{question.id}\n{question.question}")  # noqa: S311 - no secret
    right = None if question.answer is None else question.options[question.answer].strip()
    options = list(dict.fromkeys(option.strip() for option in question.options))[:count]
    if right is not None and right not in options:
        options[-1] = right
    known = set(options)
    for text in draw.sample(texts, min(len(texts), count + len(options))):
        if len(options) == count:
            break
        if text not in known:
            options.append(text)
    if shuffle:
        draw.shuffle(options)
    answer = None if right is None else options.index(right)
    return replace(question, options=tuple(options), answer=answer)
