"""Which tokens do many sequences have in common, and in which order is each computed only once?

Sequences are folded into a trie of segments: runs of tokens without a branch. `steps` walks it from
the root. A segment with much below it is computed by itself and its keys and values are kept; small
subtrees are packed into one row, in which each token sees its ancestors only.

    trie = build(requests, max_segment=512)
    for step in steps(trie, max_tokens=512): ...
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from hanlin.inference.engine import ScoreRequest


@dataclass
class Segment:
    """A run of tokens that the sequences `low` to `high` of the sorted ones have in common.

    Attributes:
        low: first of its sequences.
        high: one past the last.
        start: depth of its first token: its position in each of its sequences.
        end: one past the depth of its last token.
        parent: number of the segment above, -1 for none.
        children: numbers of the segments below.
        size: tokens in it and in everything below.
    """

    low: int
    high: int
    start: int
    end: int
    parent: int
    children: list[int] = field(default_factory=list)
    size: int = 0


@dataclass(frozen=True)
class Trie:
    """Sorted sequences and their segments, parents before children.

    Attributes:
        sequences: each request with a continuation, in ascending order.
        requests: whose sequence it is.
        scored_from: depth of the first token whose successor is scored.
        segments: all segments.
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


@dataclass(frozen=True)
class Step:
    """One row for the model.

    Attributes:
        past: how many tokens of the kept path are above all of its segments.
        segments: numbers, parents before children.
        keeps: whether the row continues the kept path.
    """

    past: int
    segments: list[int]
    keeps: bool


def build(requests: Sequence[ScoreRequest], *, max_segment: int) -> Trie:
    """Fold requests into a trie; those with an empty continuation are left out.

    Args:
        requests: (prefix, continuation) as token ids.
        max_segment: longer runs are cut into several segments.
    """
    kept = [index for index, (_, continuation) in enumerate(requests) if len(continuation)]
    sequences = [np.array([*requests[i][0], *requests[i][1]], dtype=np.int64) for i in kept]
    # Big-endian bytes are in the order of the numbers. The last token is a target, no input.
    order = sorted(range(len(kept)), key=lambda i: sequences[i][:-1].astype(">u4").tobytes())
    sequences = [sequences[i] for i in order]
    numbers = np.array([kept[i] for i in order], dtype=np.int64)
    scored_from = np.array([len(requests[i][0]) - 1 for i in numbers], dtype=np.int64)
    segments = _segments([len(s) - 1 for s in sequences], _shared(sequences), max_segment)
    return Trie(sequences, numbers, scored_from, segments)


def _shared(sequences: Sequence[np.ndarray]) -> np.ndarray:
    """Return how many inputs each sequence shares with the one before it; 0 for the first."""
    shared = np.zeros(len(sequences), dtype=np.int64)
    for i in range(1, len(sequences)):
        length = min(len(sequences[i - 1]), len(sequences[i])) - 1
        differs = np.flatnonzero(sequences[i - 1][:length] != sequences[i][:length])
        shared[i] = differs[0] if len(differs) else length
    return shared


def _segments(lengths: Sequence[int], shared: np.ndarray, max_segment: int) -> list[Segment]:
    segments: list[Segment] = []
    todo = [(low, high, 0, -1) for low, high in reversed(_groups(0, len(lengths), shared, 0))]
    while todo:
        low, high, start, parent = todo.pop()
        common = int(shared[low + 1 : high].min()) if high - low > 1 else lengths[low]
        end = min(common, start + max_segment)
        number = len(segments)
        segments.append(Segment(low, high, start, end, parent, size=end - start))
        if parent >= 0:
            segments[parent].children.append(number)
        while low < high and lengths[low] == end:  # those that end here sort before the others
            low += 1
        todo += [(*group, end, number) for group in reversed(_groups(low, high, shared, end))]
    for segment in reversed(segments):
        if segment.parent >= 0:
            segments[segment.parent].size += segment.size
    return segments


def _groups(low: int, high: int, shared: np.ndarray, depth: int) -> list[tuple[int, int]]:
    """Return the ranges of sequences whose tokens at a depth are equal."""
    if low == high:
        return []
    cuts = (np.flatnonzero(shared[low + 1 : high] <= depth) + low + 1).tolist()
    return list(zip([low, *cuts], [*cuts, high], strict=True))


def steps(trie: Trie, *, max_tokens: int) -> Iterator[Step]:
    """Yield rows that together hold each segment once, of at most `max_tokens` or one segment."""
    roots = [i for i, segment in enumerate(trie.segments) if segment.parent < 0]
    todo = _plan(trie, roots, max_tokens)
    while todo:
        step = todo.pop()
        yield step
        if step.keeps:
            todo += _plan(trie, trie.segments[step.segments[0]].children, max_tokens)


def _plan(trie: Trie, children: Sequence[int], max_tokens: int) -> list[Step]:
    """Return steps for the children of one segment, the first one last."""
    kept, packs, room = [], [], 0
    for child in children:
        segment = trie.segments[child]
        if segment.size > max_tokens:
            kept.append(Step(segment.start, [child], keeps=True))
            continue
        if segment.size > room:
            packs.append(Step(segment.start, [], keeps=False))
            room = max_tokens
        packs[-1].segments.extend(_subtree(trie, child))
        room -= segment.size
    return [*reversed(kept), *reversed(packs)]


def _subtree(trie: Trie, root: int) -> Iterator[int]:
    todo = [root]
    while todo:
        number = todo.pop()
        yield number
        todo += reversed(trie.segments[number].children)
