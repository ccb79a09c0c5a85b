"""How good are log-likelihoods of options? Rank of the right one, and what chance would give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Ranking:
    """Where the right option stands among all options of its question.

    Options with equal log-likelihoods share their places, so it does not matter in which order the
    options are listed.

    Attributes:
        num_better: options with a higher log-likelihood than the right one.
        num_equal: options with the same one, the right one included.
        num_options: all options.
    """

    num_better: int
    num_equal: int
    num_options: int

    @property
    def rank(self) -> float:
        """Return its place, 1 for the best; the middle place among equals."""
        return self.num_better + (self.num_equal + 1) / 2

    @property
    def accuracy(self) -> float:
        """Return 1 if it is the best; among equal best ones, its chance to be picked."""
        return self.hit(1)

    @property
    def reciprocal_rank(self) -> float:
        """Return 1 / place; the mean of that over the places that equals share."""
        places = range(self.num_better + 1, self.num_better + self.num_equal + 1)
        return sum(1 / place for place in places) / self.num_equal

    def hit(self, k: int) -> float:
        """Return whether it is among the first k; a fraction when k cuts through equals."""
        return min(max(k - self.num_better, 0), self.num_equal) / self.num_equal


def rank(log_likelihoods: Sequence[float], answer: int) -> Ranking:
    """Return where option number `answer` stands.

    Raises:
        ValueError: there is no such option.
    """
    if not 0 <= answer < len(log_likelihoods):
        raise ValueError(f"no option {answer} among {len(log_likelihoods)}")
    right = log_likelihoods[answer]
    better = sum(value > right for value in log_likelihoods)
    equal = sum(value == right for value in log_likelihoods)
    return Ranking(better, equal, len(log_likelihoods))


def best(log_likelihoods: Sequence[float]) -> int:
    """Return the index of the most likely option, the first of equals."""
    return max(range(len(log_likelihoods)), key=lambda index: (log_likelihoods[index], -index))


def chance_accuracy(num_options: Sequence[int]) -> float:
    """Return the accuracy of a guess: the mean of 1 / n over the questions."""
    return sum(1 / n for n in num_options) / len(num_options)


def chance_mrr(num_options: Sequence[int]) -> float:
    """Return the mean reciprocal rank of a random order: the mean of H_n / n (0.09 for n = 50)."""
    totals = [sum(1 / place for place in range(1, n + 1)) / n for n in num_options]
    return sum(totals) / len(totals)


def chance_hit(num_options: Sequence[int], k: int) -> float:
    """Return how often a random order has the right option among the first k."""
    return sum(min(1.0, k / n) for n in num_options) / len(num_options)
