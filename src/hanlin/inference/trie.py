"""Which tokens do many sequences have in common, and in which order is each computed only once?

Sequences are folded into a trie of segments: runs of tokens without a branch. Walked depth first,
what a token follows is always on the path to it: any stretch of the walk can be computed as one
row, when the path to its first token is known.

    trie = build(requests)
    for row in cut(pieces(trie), max_tokens=2048): ...
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hanlin.inference.engine import ScoreRequest


class Segment(NamedTuple):
    """A run of tokens that the sequences `low` to `high` of the sorted ones have in common.

    Attributes:
        low: first of its sequences.
        high: one past the last.
        start: depth of its first token: its position in each of its sequences.
        end: one past the depth of its last token.
    """

    low: int
    high: int
    start: int
    end: int


@dataclass(frozen=True)
class Trie:
    """Sorted sequences and their segments, depth first.

    Attributes:
        sequences: each request with a continuation, in ascending order.
        requests: whose sequence it is.
        scored_from: depth of the first token whose successor is scored.
        segments: all segments; some may be a part of a longer run.
    """

    sequences: list[np.ndarray]
    requests: np.ndarray
    scored_from: np.ndarray
    segments: list[Segment]

    @property
    def num_tokens(self) -> int:
        """Return how many distinct tokens there are to compute."""
        return sum(segment.end - segment.start for segment in self.segments)

    def ids(self, segment: Segment) -> np.ndarray:
        """Return the segment's tokens."""
        return self.sequences[segment.low][segment.start : segment.end]

    def targets(self, segment: Segment) -> np.ndarray:
        """Return rows (depth, next token, request) of what is scored after the segment's tokens."""
        found = [np.empty((0, 3), dtype=np.int64)]
        first = self.scored_from[segment.low : segment.high]
        for number in np.flatnonzero(first < segment.end) + segment.low:
            sequence = self.sequences[number]
            # Where a continuation begins inside the segment; its end is at or after the segment's.
            depths = np.arange(max(segment.start, self.scored_from[number]), segment.end)
            owner = np.full(len(depths), self.requests[number])
            found.append(np.stack([depths, sequence[depths + 1], owner], axis=1))
        return np.concatenate(found)


def build(requests: Sequence[ScoreRequest]) -> Trie:
    """Fold requests (prefix, continuation) into a trie, without those of no continuation."""
    kept = [index for index, (_, continuation) in enumerate(requests) if len(continuation)]
    sequences = [np.array([*requests[i][0], *requests[i][1]], dtype=np.int64) for i in kept]
    # Big-endian bytes are in the order of the numbers. The last token is a target, no input.
    order = sorted(range(len(kept)), key=lambda i: sequences[i][:-1].astype(">u4").tobytes())
    sequences = [sequences[i] for i in order]
    numbers = np.array([kept[i] for i in order], dtype=np.int64)
    scored_from = np.array([len(requests[i][0]) - 1 for i in numbers], dtype=np.int64)
    segments = list(_segments([len(s) - 1 for s in sequences], _shared(sequences)))
    return Trie(sequences, numbers, scored_from, segments)


def _shared(sequences: Sequence[np.ndarray]) -> np.ndarray:
    """Return how many inputs each sequence shares with the one before it; 0 for the first."""
    shared = np.zeros(len(sequences), dtype=np.int64)
    for i in range(1, len(sequences)):
        length = min(len(sequences[i - 1]), len(sequences[i])) - 1
        differs = np.flatnonzero(sequences[i - 1][:length] != sequences[i][:length])
        shared[i] = differs[0] if len(differs) else length
    return shared


def _segments(lengths: Sequence[int], shared: np.ndarray) -> Iterator[Segment]:
    todo = [(low, high, 0) for low, high in reversed(_groups(0, len(lengths), shared, 0))]
    while todo:
        low, high, start = todo.pop()
        end = int(shared[low + 1 : high].min()) if high - low > 1 else lengths[low]
        yield Segment(low, high, start, end)
        while low < high and lengths[low] == end:  # those that end here sort before the others
            low += 1
        todo += [(*group, end) for group in reversed(_groups(low, high, shared, end))]


def _groups(low: int, high: int, shared: np.ndarray, depth: int) -> list[tuple[int, int]]:
    """Return the ranges of sequences whose tokens at a depth are equal."""
    if low == high:
        return []
    cuts = (np.flatnonzero(shared[low + 1 : high] <= depth) + low + 1).tolist()
    return list(zip([low, *cuts], [*cuts, high], strict=True))


def cut(segments: Sequence[Segment], *, max_tokens: int) -> Iterator[list[Segment]]:
    """Yield the walk in stretches of `max_tokens`, the last one shorter; segments are cut, too."""
    stretch, room = [], max_tokens
    for segment in segments:
        rest = segment
        while rest.end - rest.start > room:
            stretch.append(rest._replace(end=rest.start + room))
            yield stretch
            rest = rest._replace(start=rest.start + room)
            stretch, room = [], max_tokens
        stretch.append(rest)
        room -= rest.end - rest.start
        if not room:
            yield stretch
            stretch, room = [], max_tokens
    if stretch:
        yield stretch


def above(stretch: Sequence[Segment]) -> Iterator[np.ndarray]:
    """Yield for each segment of a stretch the columns of the tokens above it, from the root down.

    Columns 0, 1, ... are the path to the stretch's first token; the stretch's tokens follow.
    """
    column = stretch[0].start
    columns = np.arange(column)
    for segment in stretch:
        columns = columns[: segment.start]
        yield columns
        end = column + segment.end - segment.start
        columns, column = np.concatenate([columns, np.arange(column, end)]), end
