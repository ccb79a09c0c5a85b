"""How sure is a measured value? 95 % intervals: Wilson for shares, bootstrap for the rest.

Bootstrap: resample the items with replacement and take the middle 95 % of the values (Efron 1979,
percentile method). Wilson (1927): https://doi.org/10.1080/01621459.1927.10502953, right also near 0
and 1, where the bootstrap of a share has no width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Z_95 = 1.959964  # two-sided 95 % quantile of the normal distribution
RESAMPLES = 2_000  # the interval's ends then move by about 2 % of its width from seed to seed


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval `[low, high]` and the number of items behind it."""

    value: float
    low: float
    high: float
    n: int


def wilson_mean(groups: Sequence[tuple[float, float, int]]) -> Estimate:
    """Return the weighted mean of shares, for example an accuracy over subjects.

    The interval is Wilson's for the effective number of items, 1 / sum(weight^2 / items) (Kish
    1965): one wide subject with few questions widens it as it should.

    Args:
        groups: (weight, number right, number of items) of each group; the weights sum to 1.

    Raises:
        ValueError: there are no groups.
    """
    if not groups:
        raise ValueError("no groups")
    value = min(1.0, sum(weight * right / n for weight, right, n in groups))
    effective = 1 / sum(weight**2 / n for weight, _, n in groups)
    low, high = _wilson_bounds(value, effective)
    return Estimate(value, low, high, sum(n for _, _, n in groups))


def wilson(num_right: float, n: int) -> Estimate:
    """Return the share of right items.

    Args:
        num_right: how many are right; ties may count as fractions.
        n: how many there are.

    Raises:
        ValueError: n is 0, or more items are right than there are.
    """
    if n < 1 or not 0 <= num_right <= n:
        raise ValueError(f"{num_right} of {n} items cannot be right")
    low, high = _wilson_bounds(num_right / n, n)
    return Estimate(num_right / n, low, high, n)


def _wilson_bounds(share: float, n: float) -> tuple[float, float]:
    z2 = Z_95**2
    center = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n**2))
    low, high = min(share, center - half), max(share, center + half)
    return max(0.0, low), min(1.0, high)


def bootstrap_mean(values: Sequence[float], *, seed: int) -> Estimate:
    """Return the mean of values that were measured on independent items.

    Raises:
        ValueError: there are no values.
    """
    return bootstrap_ratio(values, [1.0] * len(values), seed=seed)


def bootstrap_ratio(
    numerators: Sequence[float], denominators: Sequence[float], *, seed: int
) -> Estimate:
    """Return sum(numerators) / sum(denominators), for example nats per byte over documents.

    Raises:
        ValueError: there are no items, or the denominators sum to 0.
    """
    top, bottom = np.asarray(numerators, dtype=float), np.asarray(denominators, dtype=float)
    if len(top) == 0 or len(top) != len(bottom) or bottom.sum() == 0:
        raise ValueError(f"no ratio of {len(top)} and {len(bottom)} items")
    random = np.random.default_rng(seed)
    counts = random.multinomial(len(top), [1 / len(top)] * len(top), size=RESAMPLES)
    totals = counts @ bottom
    ratios = (counts @ top)[totals != 0] / totals[totals != 0]
    low, high = np.quantile(ratios, [0.025, 0.975])
    value = float(top.sum() / bottom.sum())
    return Estimate(value, min(float(low), value), max(float(high), value), len(top))


def paired_difference(a: Sequence[float], b: Sequence[float], *, seed: int) -> Estimate:
    """Return the mean of b - a over the same items, with its paired bootstrap interval.

    Raises:
        ValueError: there are no items, or not as many of one as of the other.
    """
    if len(a) != len(b):
        raise ValueError(f"{len(a)} and {len(b)} items are no pairs")
    return bootstrap_mean([after - before for before, after in zip(a, b, strict=True)], seed=seed)


def mcnemar(a: Sequence[bool], b: Sequence[bool]) -> float:
    """Return the p-value that two models are equally often right on the same items.

    The exact two-sided test (McNemar 1947; binomial form) of the items on which they differ.
    """
    only_a = sum(x and not y for x, y in zip(a, b, strict=True))
    only_b = sum(y and not x for x, y in zip(a, b, strict=True))
    n, k = only_a + only_b, min(only_a, only_b)
    # Sum of binomial probabilities in logarithms: 2**n of many questions is no float.
    logs = (math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) for i in range(k + 1))
    return min(1.0, 2 * sum(math.exp(value - n * math.log(2)) for value in logs))
