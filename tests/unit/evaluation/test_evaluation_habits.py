"""A model that always chooses the same letter is told apart from one that answers."""

import pytest

from hanlin.evaluation.breakdown import problems


def details(chosen, right):
    pairs = zip("ABCD", chosen, right, strict=True)
    return {"questions": sum(chosen), "bias": {n: {"chosen": c, "right": r} for n, c, r in pairs}}


def test_a_habit_is_told():
    (line,) = problems(details((688, 0, 0, 0), (165, 171, 168, 184)))
    assert line == (
        "option A was chosen in 688 of 688 questions and is right in 165: a habit more than an "
        "answer"
    )


@pytest.mark.parametrize(
    ("chosen", "right"),
    [
        ((180, 160, 170, 178), (165, 171, 168, 184)),
        ((300, 130, 130, 128), (165, 171, 168, 184)),  # a liking, but answers too
        ((600, 30, 30, 28), (600, 30, 30, 28)),  # the data has it so
        ((8, 0, 0, 0), (2, 2, 2, 2)),  # too few to tell
    ],
)
def test_what_is_no_habit_is_not(chosen, right):
    assert problems(details(chosen, right)) == []


def test_without_counts_nothing_is_told():
    assert problems({}) == []
