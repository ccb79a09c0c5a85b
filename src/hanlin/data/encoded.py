"""What are texts that became tokens, on their way from a process to the store?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

TokenIds = npt.NDArray[np.int64]


@dataclass(frozen=True)
class EncodedDocuments:
    """Texts that became tokens, one behind another; each is one document, or several when cut.

    Attributes:
        ids: tokens of all of them.
        lengths: [D], tokens of each document.
        sentences: where sentences end, in tokens from the first document's start.
        clauses: where clauses of long sentences end.
        parts: [T], documents that each text became.
        digests: [T], uint64, of the texts.
        text_bytes: [T], UTF-8 bytes of the texts.
    """

    ids: npt.NDArray[Any]
    lengths: TokenIds
    sentences: TokenIds
    clauses: TokenIds
    parts: TokenIds
    digests: npt.NDArray[np.uint64]
    text_bytes: TokenIds

    def only(self, keep: npt.NDArray[np.bool_]) -> EncodedDocuments:
        """Return some of the texts, as if they alone had been encoded."""
        if keep.all():
            return self
        is_kept = np.repeat(keep, self.parts)
        ends = np.cumsum(self.lengths)
        left_out = ends - np.cumsum(np.where(is_kept, self.lengths, 0))  # up to each document's end

        def rebased(borders: TokenIds) -> TokenIds:
            document = np.searchsorted(ends, borders)
            return (borders - left_out[document])[is_kept[document]]

        return EncodedDocuments(
            self.ids[np.repeat(is_kept, self.lengths)],
            self.lengths[is_kept],
            rebased(self.sentences),
            rebased(self.clauses),
            self.parts[keep],
            self.digests[keep],
            self.text_bytes[keep],
        )

    @staticmethod
    def joined(batches: Sequence[EncodedDocuments]) -> EncodedDocuments:
        """Return the texts of several batches as one; there must be at least one batch."""
        starts = np.cumsum([0, *(len(batch.ids) for batch in batches)])
        moved = [
            (batch.sentences + start, batch.clauses + start)
            for batch, start in zip(batches, starts.tolist(), strict=False)
        ]
        return EncodedDocuments(
            np.concatenate([batch.ids for batch in batches]),
            np.concatenate([batch.lengths for batch in batches]),
            np.concatenate([sentences for sentences, _ in moved]),
            np.concatenate([clauses for _, clauses in moved]),
            np.concatenate([batch.parts for batch in batches]),
            np.concatenate([batch.digests for batch in batches]),
            np.concatenate([batch.text_bytes for batch in batches]),
        )
