"""How many rows are taken of each source, and of each length in it?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hanlin.core.errors import ConfigError, InputError
from hanlin.data.corpus.shingles import Indices
from hanlin.data.sampling.coverage import Group

PerSource = Literal["proportional", "equal"] | Mapping[str, int]


@dataclass(frozen=True)
class Cell:
    """The different rows of one source and one range of lengths, and how many of them are taken.

    Attributes:
        source: number of the source.
        shortest, longest: words of the shortest and the longest row.
        rows: their numbers.
        quota: how many are taken.
    """

    source: int
    shortest: int
    longest: int
    rows: Indices
    quota: int

    def as_group(self) -> Group:
        """Return what the choice needs to know."""
        return Group(self.rows, self.quota)


def make_cells(
    source_of: Indices, lengths: Indices, *, quotas: Sequence[int], buckets: int
) -> list[Cell]:
    """Part the rows of each source by length, as many in each part; share its quota among them.

    The bounds are the same for all sources: each range holds as many of all rows.

    Args:
        source_of: (R,) number of the source of each row.
        lengths: (R,) words of each row.
        quotas: rows to take of each source.
        buckets: ranges of lengths.
    """
    ordered = np.sort(lengths)
    bounds = ordered[[len(ordered) * number // buckets for number in range(1, buckets)]]
    bucket_of = np.searchsorted(bounds, lengths, side="right")
    cells = []
    for source, quota in enumerate(quotas):
        members = [
            np.flatnonzero((source_of == source) & (bucket_of == bucket))
            for bucket in range(buckets)
        ]
        shares = share([len(rows) for rows in members], quota)
        cells += [
            Cell(source, int(lengths[rows].min()), int(lengths[rows].max()), rows, part)
            for rows, part in zip(members, shares, strict=True)
            if len(rows)
        ]
    return cells


def source_quotas(
    names: Sequence[str], counts: Sequence[int], n: int, per_source: PerSource
) -> list[int]:
    """Return how many rows are taken of each source.

    Args:
        names: names of the sources, for `per_source` and for messages.
        counts: different rows that each has.
        n: rows to take in all.
        per_source: "proportional" to the counts; "equal", or all rows where a source has fewer;
            or a number for each of some sources: the others share the rest by their counts.

    Raises:
        ConfigError: an unknown source, or numbers that do not add up to `n`.
        InputError: a source has fewer rows than it should give.
    """
    if per_source == "equal":
        return _equal(counts, n)
    fixed = {} if isinstance(per_source, str) else per_source
    _check(names, counts, n, fixed)
    rest = [0 if name in fixed else count for name, count in zip(names, counts, strict=True)]
    shares = share(rest, n - sum(fixed.values()))
    return [fixed.get(name, part) for name, part in zip(names, shares, strict=True)]


def share(counts: Sequence[int], n: int) -> list[int]:
    """Share `n` in proportion to counts, of which it is at most the sum (largest remainders)."""
    total = max(sum(counts), 1)
    parts = [n * count // total for count in counts]
    order = sorted(range(len(counts)), key=lambda i: (-(n * counts[i] % total), i))
    for number in order[: n - sum(parts)]:
        parts[number] += 1
    return parts


def _equal(counts: Sequence[int], n: int) -> list[int]:
    parts = [0] * len(counts)
    left = n
    by_size = sorted(range(len(counts)), key=lambda i: (counts[i], i))
    for place, number in enumerate(by_size):
        parts[number] = min(counts[number], left // (len(by_size) - place))
        left -= parts[number]
    return parts


def _check(names: Sequence[str], counts: Sequence[int], n: int, fixed: Mapping[str, int]) -> None:
    for name, quota in fixed.items():
        if name not in names:
            raise ConfigError(
                f"--per-source {name}={quota}: there is no source {name!r}",
                why=f"the sources are {', '.join(names)}",
                fix="name one of them",
            )
        count = counts[list(names).index(name)]
        if quota > count:
            raise InputError(
                f"--per-source {name}={quota}: {name} has only {count:,} different rows",
                fix=f"--per-source {name}={count}, or a higher --threshold",
            )
    rest = sum(c for name, c in zip(names, counts, strict=True) if name not in fixed)
    if not 0 <= n - sum(fixed.values()) <= rest:
        raise ConfigError(
            f"the numbers for --per-source add up to {sum(fixed.values()):,}, and --n is {n:,}",
            why=f"the other sources have {rest:,} different rows",
            fix="make the numbers and --n agree",
        )
