"""Ranks, chance levels, and fairness to options that are equally likely."""

import random

import pytest

from hanlin.evaluation.scoring import best, chance_accuracy, chance_hit, chance_mrr, rank


def test_rank_of_the_right_option():
    found = rank([-3.0, -1.0, -2.0], 2)
    assert (found.rank, found.accuracy, found.reciprocal_rank) == (2, 0, 0.5)
    assert (found.hit(1), found.hit(2)) == (0, 1)
    assert rank([-3.0, -1.0], 1).accuracy == 1


def test_equal_options_share_their_places():
    found = rank([-1.0, -1.0, -2.0, -1.0], 0)
    assert found.rank == 2
    assert found.accuracy == pytest.approx(1 / 3)
    assert found.reciprocal_rank == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert found.hit(2) == pytest.approx(2 / 3)


@pytest.mark.parametrize("num_options", [2, 4, 50])
def test_a_model_that_prefers_nothing_scores_at_chance(num_options):
    found = rank([0.0] * num_options, num_options - 1)
    assert found.accuracy == pytest.approx(chance_accuracy([num_options]))
    assert found.reciprocal_rank == pytest.approx(chance_mrr([num_options]))
    assert found.hit(5) == pytest.approx(chance_hit([num_options], 5))


def test_chance_levels_are_those_of_random_numbers():
    draw = random.Random(0)
    sizes = [draw.choice([4, 50]) for _ in range(20_000)]
    found = [rank([draw.random() for _ in range(n)], draw.randrange(n)) for n in sizes]
    assert sum(one.accuracy for one in found) / 20_000 == pytest.approx(
        chance_accuracy(sizes), abs=0.01
    )
    assert sum(one.reciprocal_rank for one in found) / 20_000 == pytest.approx(
        chance_mrr(sizes), abs=0.01
    )


def test_chance_of_fifty_options():
    assert chance_mrr([50]) == pytest.approx(0.09, abs=0.001)


def test_best_and_wrong_answers():
    assert best([-2.0, -1.0, -1.0]) == 1
    with pytest.raises(ValueError, match="no option 3 among 3"):
        rank([0.0, 0.0, 0.0], 3)
