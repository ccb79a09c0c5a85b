"""Does a text hold part of a benchmark's question?

A text is contaminated when it shares 13 words in a row with a question (Brown et al. 2020,
https://arxiv.org/abs/2005.14165, appendix C), or 20 characters in a row where the question's script
sets no spaces between words. Width, case and punctuation do not count.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from hanlin.core.records import Question
from hanlin.data.corpus.shingles import Hashes, Words, shingles, split_words
from hanlin.data.readers import BadRows, read_questions

WORDS, CHARACTERS = 13, 20


@dataclass(frozen=True)
class QuestionGrams:
    """N-grams of questions, sorted, by their length; and how many questions have none."""

    grams: dict[int, Hashes]
    questions: int = 0
    too_short: int = 0


def question_grams(paths: Iterable[str]) -> QuestionGrams:
    """Read questions and return their n-grams; a question shorter than an n-gram has none.

    Raises:
        InputError: a path is no file or folder of questions.
    """
    found: dict[int, list[Hashes]] = {WORDS: [], CHARACTERS: []}
    total = too_short = 0
    for path in paths:
        for question in read_questions(path, bad=BadRows(1.0)):
            words = split_words([_text(question)])
            size = CHARACTERS if words.is_single.mean() > 0.5 else WORDS
            total += 1
            if len(words.hashes) < size:
                too_short += 1
            else:
                found[size].append(shingles(words, size)[0])
    grams = {size: np.unique(np.concatenate(parts)) for size, parts in found.items() if parts}
    return QuestionGrams(grams, total, too_short)


def holds_question(text: str, questions: QuestionGrams) -> bool:
    """Tell whether a text holds an n-gram of a question."""
    words: Words = split_words([text])
    for size, known in questions.grams.items():
        if len(words.hashes) >= size:
            hashes, _ = shingles(words, size)
            at = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
            if (known[at] == hashes).any():
                return True
    return False


def _text(question: Question) -> str:
    """Return the question with its options: short questions are told apart by these."""
    return "\n".join([question.question, *question.options])
