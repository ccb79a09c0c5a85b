"""Which two neighboring tokens occur most often, while pairs are merged one after the other?

The counting of byte-pair encoding (Sennrich et al. 2016) over words that are tokens already, so
that it can go on from a base's merges. All words lie in one array of linked tokens; a merge touches
only the places of its pair, all of them at once (numpy), and the best pair comes from a heap.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np

BORDER, GONE = -1, -2  # in place of a token: between two words; merged into its left neighbor
_SHIFT = 32

Pair = tuple[int, int]


class PairCounts:
    """The tokens of all words, and how often each pair of neighbors occurs."""

    def __init__(self, words: Sequence[Sequence[int]], counts: Sequence[int]) -> None:
        """Lay out the words.

        Args:
            words: token ids of each word.
            counts: how often each word occurs.
        """
        lengths = np.fromiter(map(len, words), np.int64, len(words))
        size = int(lengths.sum()) + len(words) + 1
        self._ids = np.full(size, BORDER, np.int32)
        self._weights = np.zeros(size, np.int64)
        ends = np.cumsum(lengths + 1)
        tokens = np.ones(size, bool)
        tokens[0] = tokens[ends] = False
        self._ids[tokens] = np.fromiter((i for word in words for i in word), np.int32, tokens.sum())
        self._weights[tokens] = np.repeat(np.asarray(counts, np.int64), lengths)
        self._next = np.arange(1, size + 1, dtype=np.int32)
        self._previous = np.arange(-1, size - 1, dtype=np.int32)
        self._counts: dict[int, int] = {}
        self._places: dict[int, list[np.ndarray]] = {}
        self._heap: list[tuple[int, int]] = []
        self._add(self._pairs_at(np.flatnonzero(tokens)))

    def best(self, *, least: int) -> tuple[Pair, int] | None:
        """Return the most frequent pair and its count; of equals the one with the lowest ids.

        Args:
            least: pairs that occur less often are passed over; None is returned when all do.
        """
        while self._heap:
            negative, key = self._heap[0]
            count = self._counts.get(key, 0)
            if count == -negative and count >= least:
                return (key >> _SHIFT, key & 0xFFFFFFFF), count
            heapq.heappop(self._heap)
            if least <= count < -negative:  # rarer since; a more frequent one is in twice
                heapq.heappush(self._heap, (-count, key))
        return None

    def drop(self, pair: Pair) -> None:
        """Take a pair out of the competition for good."""
        key = _key(*pair)
        self._counts[key] = -(1 << 62)  # no number of new places lifts it again
        self._places.pop(key, None)

    def merge(self, pair: Pair, new_id: int) -> int:
        """Replace a pair by one token at all its places; return how many tokens that saves.

        In a run such as "aaa" the pair occurs twice and saves one token.
        """
        left_T = self._valid_places(pair)
        right_T = self._next[left_T]
        after_T = self._next[right_T]
        before = _unique(self._previous[left_T], left_T, right_T)
        self._subtract(self._pairs_at(before))
        self._ids[left_T], self._ids[right_T] = new_id, GONE
        self._next[left_T], self._previous[after_T] = after_T, left_T
        self._add(self._pairs_at(_unique(self._previous[left_T], left_T)))
        self._counts.pop(_key(*pair), None)
        return int(self._weights[left_T].sum())

    def tokens(self) -> np.ndarray:
        """Return how often each token id occurs now, by id."""
        is_token = self._ids >= 0
        return np.bincount(self._ids[is_token], self._weights[is_token])

    def _valid_places(self, pair: Pair) -> np.ndarray:
        """Return where a pair stands now, in order, no two places sharing a token."""
        left, right = pair
        places = _unique(*self._places.pop(_key(left, right)))
        is_left = self._ids[places] == left
        places = places[is_left]
        places = places[self._ids[self._next[places]] == right]
        if left != right or len(places) < 2:
            return places
        # In a run such as "aaaa" every second place counts, from the left.
        starts_run = np.ones(len(places), bool)
        starts_run[1:] = self._next[places[:-1]] != places[1:]
        numbers = np.arange(len(places))
        first = np.maximum.accumulate(np.where(starts_run, numbers, 0))
        return places[(numbers - first) % 2 == 0]

    def _pairs_at(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the places whose token has a right neighbor in its word, and their pairs."""
        places = places[self._ids[places] >= 0]
        right = self._ids[self._next[places]]
        inside = right >= 0
        places = places[inside]
        return places, (self._ids[places].astype(np.int64) << _SHIFT) | right[inside]

    def _subtract(self, found: tuple[np.ndarray, np.ndarray]) -> None:
        places, keys = found
        unique, inverse = np.unique(keys, return_inverse=True)
        sums = np.bincount(inverse, self._weights[places], len(unique)).astype(np.int64)
        for key, count in zip(unique.tolist(), sums.tolist(), strict=True):
            self._counts[key] -= count

    def _add(self, found: tuple[np.ndarray, np.ndarray]) -> None:
        places, keys = found
        if not len(keys):
            return
        order = np.argsort(keys)
        places, keys = places[order].astype(np.int32), keys[order]
        starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
        sums = np.add.reduceat(self._weights[places], starts)
        ends = [*starts[1:], len(keys)]
        for key, more, start, end in zip(
            keys[starts].tolist(), sums.tolist(), starts, ends, strict=True
        ):
            count = self._counts.get(key, 0) + more
            self._counts[key] = count
            if count > 0:
                self._places.setdefault(key, []).append(places[start:end])
                heapq.heappush(self._heap, (-count, key))


def _key(left: int, right: int) -> int:
    return (left << _SHIFT) | right


def _unique(*places: np.ndarray) -> np.ndarray:
    """Return places in order, each once; several times as fast as `np.unique`."""
    ordered = np.concatenate(places)
    ordered.sort()
    is_new = np.ones(len(ordered), bool)
    np.not_equal(ordered[1:], ordered[:-1], out=is_new[1:])
    return ordered[is_new]
