"""Which words and character pairs does each row hold? Numbers in a file, one row after another.

A word of a script with spaces is a feature; of a script without, each two characters in a row are
one. They are hashed to 22 bits: 4 million places, of which a million rows of Chinese and English
fill about a third, so that hardly a frequent one shares its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import numpy as np
import numpy.typing as npt

from hanlin.core.files import os_error
from hanlin.data.corpus.shingles import GOLDEN, Hashes, Indices, Words, mix

BITS = 22
# Of a longer row the features with the lowest numbers stand for all. The numbers are random, and
# the same features of every row are left out, so rows can still be compared.
MOST = 512
FeatureIds = npt.NDArray[np.uint32]


class FeatureFile:
    """Holds the features of many rows in a file that vanishes with it; memory does not grow.

    Args:
        folder: on the disk that has room for it: about 400 bytes for each row.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file: IO[bytes] = TemporaryFile(dir=folder)  # noqa: SIM115 - lives as long as this
        self._ends: list[Indices] = [np.zeros(1, np.int64)]
        self.frequencies = np.zeros(1 << BITS, np.int64)  # rows that hold each feature
        self.offsets = np.zeros(1, np.int64)
        self.ids: FeatureIds = np.zeros(0, np.uint32)

    def add(self, ids: FeatureIds, counts: Indices) -> None:
        """Append rows: their features one after another, and how many each row has.

        Raises:
            ResourceError: the disk is full.
        """
        try:
            self._file.write(ids.tobytes())
        except OSError as error:
            raise os_error(error, self.folder) from error
        self._ends.append(self._ends[-1][-1:] + np.cumsum(counts))
        np.add.at(self.frequencies, ids, 1)

    def finish(self) -> None:
        """Make the features readable; nothing is added any more."""
        try:
            self._file.flush()
        except OSError as error:
            raise os_error(error, self.folder) from error
        self.offsets = np.concatenate(self._ends)
        self._ends = []
        if self.offsets[-1]:  # an empty file cannot be mapped
            self.ids = np.memmap(self._file, np.uint32, mode="r")

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.offsets) - 1

    def of(self, rows: Indices | Sequence[int]) -> tuple[FeatureIds, Indices]:
        """Return the features of rows one after another, and how many each has."""
        chosen = np.asarray(rows, np.int64)
        starts, counts = self.offsets[chosen], self.offsets[chosen + 1] - self.offsets[chosen]
        ends = np.cumsum(counts)
        places = np.arange(ends[-1] if len(ends) else 0)
        places += np.repeat(starts - (ends - counts), counts)
        return self.ids[places], counts


def features(words: Words) -> tuple[FeatureIds, Indices]:
    """Return the different features of each text, ascending, and how many each text has."""
    pair_with_next = np.zeros(len(words.hashes), np.bool_)
    pair_with_next[:-1] = (
        words.is_single[:-1] & words.is_single[1:] & (words.text[:-1] == words.text[1:])
    )
    is_second = np.zeros_like(pair_with_next)
    is_second[1:] = pair_with_next[:-1]
    second = np.append(words.hashes[1:], np.zeros(min(1, len(words.hashes)), np.uint64))
    hashes = words.hashes + np.where(pair_with_next, second * np.uint64(GOLDEN), 0)
    is_feature = pair_with_next | ~is_second  # a last character is in the pair before it
    return _distinct(mix(hashes[is_feature]), words.text[is_feature], len(words.counts))


def _distinct(hashes: Hashes, where: Indices, texts: int) -> tuple[FeatureIds, Indices]:
    keys = where.astype(np.uint64) << np.uint64(BITS) | hashes >> np.uint64(64 - BITS)
    keys.sort()  # several times as fast as np.unique
    keys = keys[np.diff(keys, prepend=~keys[:1]) != 0]
    where = (keys >> np.uint64(BITS)).astype(np.int64)
    counts = np.bincount(where, minlength=texts)
    rank = np.arange(len(keys)) - np.repeat(np.cumsum(counts) - counts, counts)
    ids = (keys & np.uint64((1 << BITS) - 1)).astype(np.uint32)
    return ids[rank < MOST], np.minimum(counts, MOST)
