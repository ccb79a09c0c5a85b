"""Which of the chosen rows is the nearest to one that was not chosen?

Candidates are the chosen rows that share the rarest features; of them the one with the greatest
weight of such features is named, with the Jaccard similarity of all features.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hanlin.data.corpus.shingles import Indices
from hanlin.data.sampling.coverage import Weights
from hanlin.data.sampling.features import BITS, FeatureFile, FeatureIds

RAREST = 16  # features of a row that are looked up
HOLDERS = 16  # chosen rows that are looked at for each
BLOCK = 2048  # rows at a time
Similarities = npt.NDArray[np.float64]


class NearestChosen:
    """Knows which chosen rows hold each feature."""

    def __init__(self, file: FeatureFile, weights: Weights, chosen: Indices) -> None:
        self.file, self.weights, self.chosen = file, weights, chosen
        ids, counts = file.of(chosen)
        order = np.argsort(ids, kind="stable")
        self._holders = np.repeat(np.arange(len(chosen)), counts)[order]
        self._counts = np.bincount(ids, minlength=1 << BITS)
        self._starts = np.cumsum(self._counts) - self._counts

    def of(self, rows: Indices) -> tuple[Indices, Similarities]:
        """Return for each row the number of the nearest chosen one (-1: none), and how similar."""
        found = np.full(len(rows), -1, np.int64)
        similarity = np.zeros(len(rows))
        for start in range(0, len(rows), BLOCK):
            block = slice(start, start + BLOCK)
            found[block], similarity[block] = self._of_block(rows[block])
        return found, similarity

    def _of_block(self, rows: Indices) -> tuple[Indices, Similarities]:
        ids, counts = self.file.of(rows)
        where = np.repeat(np.arange(len(rows)), counts)
        pairs, weights = self._candidates(ids, where)
        asked, holders = pairs // len(self.chosen), pairs % len(self.chosen)
        best = np.lexsort((-holders, weights, asked))  # the last of each row
        is_last = np.ones(len(best), np.bool_)
        is_last[:-1] = asked[best[1:]] != asked[best[:-1]]
        best = best[is_last]
        found = np.full(len(rows), -1, np.int64)
        found[asked[best]] = self.chosen[holders[best]]
        return found, self._jaccard(rows, found)

    def _candidates(
        self, ids: FeatureIds, where: Indices
    ) -> tuple[Indices, npt.NDArray[np.float64]]:
        """Return pairs `row * chosen rows + chosen row`, and the weight of what each shares."""
        known = (self._counts[ids] > 0) & (self.weights[ids] > 0)
        ids, where = ids[known], where[known]
        order = np.lexsort((ids, self._counts[ids], where))
        ids, where = ids[order], where[order]
        per_row = np.bincount(where)
        rank = np.arange(len(ids)) - np.repeat(np.cumsum(per_row) - per_row, per_row)
        ids, where = ids[rank < RAREST], where[rank < RAREST]
        counts = np.minimum(self._counts[ids], HOLDERS)
        places = np.arange(counts.sum())
        places += np.repeat(self._starts[ids] - (np.cumsum(counts) - counts), counts)
        pairs = np.repeat(where, counts) * len(self.chosen) + self._holders[places]
        unique, inverse = np.unique(pairs, return_inverse=True)
        shared = np.bincount(inverse, np.repeat(self.weights[ids], counts), len(unique))
        return unique, shared.astype(np.float64)

    def _jaccard(self, rows: Indices, others: Indices) -> Similarities:
        has = others >= 0
        left, left_counts = self.file.of(rows[has])
        right, right_counts = self.file.of(others[has])
        numbers = np.arange(int(has.sum()), dtype=np.uint64)
        keys = np.concatenate([
            np.repeat(numbers, counts) << np.uint64(BITS) | ids
            for ids, counts in ((left, left_counts), (right, right_counts))
        ])  # fmt: skip
        keys = np.sort(keys)
        doubled = (keys[1:][keys[1:] == keys[:-1]] >> np.uint64(BITS)).astype(np.int64)
        shared = np.bincount(doubled, minlength=len(numbers))
        similarity = np.zeros(len(rows))
        similarity[has] = shared / np.maximum(left_counts + right_counts - shared, 1)
        return similarity
