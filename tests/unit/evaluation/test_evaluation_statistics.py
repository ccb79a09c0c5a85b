"""Intervals: known values, coverage, and errors."""

import math

import numpy as np
import pytest

from hanlin.evaluation.statistics import bootstrap_mean, bootstrap_ratio, wilson


@pytest.mark.parametrize(("num_right", "n"), [(15, 20), (83, 240), (0.5, 3), (239, 240)])
def test_ends_of_wilson_are_where_the_normal_test_stops_rejecting(num_right, n):
    found = wilson(num_right, n)
    assert found.value == num_right / n
    assert found.n == n
    for end in (found.low, found.high):
        deviation = abs(found.value - end) / math.sqrt(end * (1 - end) / n)
        assert deviation == pytest.approx(1.959964)
    assert found.low < found.value < found.high


def test_wilson_of_none_and_all():
    assert (wilson(0, 10).low, wilson(10, 10).high) == (0.0, 1.0)
    assert wilson(0, 10).high == pytest.approx(1 - wilson(10, 10).low)
    assert wilson(0, 10).high > 0.2


def test_wilson_covers_the_truth_about_95_times_of_100():
    draws = np.random.default_rng(0).binomial(120, 0.3, size=2000)
    covered = [wilson(int(right), 120) for right in draws]
    share = sum(one.low <= 0.3 <= one.high for one in covered) / len(covered)
    assert 0.93 < share < 0.97


@pytest.mark.parametrize(("num_right", "n"), [(0, 0), (3, 2), (-1, 4)])
def test_wilson_refuses_impossible_counts(num_right, n):
    with pytest.raises(ValueError, match=f"{num_right} of {n} items"):
        wilson(num_right, n)


def test_bootstrap_covers_the_mean_and_repeats_with_its_seed():
    random = np.random.default_rng(1)
    samples = [random.normal(2.0, 1.0, size=60) for _ in range(200)]
    found = [bootstrap_mean(sample, seed=7) for sample in samples]
    assert 0.9 < sum(one.low <= 2.0 <= one.high for one in found) / 200 < 0.99
    assert bootstrap_mean(samples[0], seed=7) == found[0]
    assert bootstrap_mean(samples[0], seed=8) != found[0]
    normal = 1.96 * samples[0].std() / np.sqrt(60)
    assert (found[0].high - found[0].low) / 2 == pytest.approx(normal, rel=0.15)


def test_ratio_is_of_sums_not_the_mean_of_ratios():
    found = bootstrap_ratio([1.0, 9.0], [1, 3], seed=0)
    assert found.value == 2.5
    assert (found.low, found.high) == (1.0, 3.0)
    assert bootstrap_ratio([4.0], [2], seed=0).low == 2.0


def test_ratio_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no ratio of 0 and 0 items"):
        bootstrap_mean([], seed=0)
    with pytest.raises(ValueError, match="no ratio"):
        bootstrap_ratio([1.0], [0], seed=0)
