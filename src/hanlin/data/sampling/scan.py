"""What is there to choose from? All rows are read once; near duplicates of earlier ones are out."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hanlin.data.corpus.near_duplicates import NearDuplicates, Signatures, sign
from hanlin.data.corpus.shingles import Indices, in_batches, split_words
from hanlin.data.in_order import Workers
from hanlin.data.sampling.features import FeatureFile, FeatureIds, features
from hanlin.data.sampling.rows import Row

Seen = tuple[Signatures, FeatureIds, Indices, Indices]


@dataclass(frozen=True)
class Pool:
    """All rows, and of the different ones what the choice needs. R rows, D different ones.

    Attributes:
        input_of, file_of, line_of, place_of: (R,) where each row stands, as in `rows.Row`.
        different: (D,) numbers of the different rows.
        lengths: (D,) their words.
        features: what each of them holds.
        duplicate_of: (R,) number of the earlier row that it is a near duplicate of, or -1.
        similarity: (R,) how similar to it.
    """

    input_of: Indices
    file_of: Indices
    line_of: Indices
    place_of: Indices
    different: Indices
    lengths: Indices
    features: FeatureFile
    duplicate_of: Indices
    similarity: npt.NDArray[np.float32]


def scan(
    rows: Iterable[Row],
    *,
    threshold: float,
    folder: Path,
    workers: int = 1,
    tick: Callable[[int], None] = lambda _rows: None,
) -> Pool:
    """Read all rows and return what is known of them.

    Args:
        rows: what is to be read.
        threshold: similarity from which on a row counts as a near duplicate.
        folder: where a temporary file may lie.
        workers: processes that look at the words of texts; the result is the same.
        tick: called now and then with the number of rows read.
    """
    near, file = NearDuplicates(threshold), FeatureFile(folder)
    places = array("q")
    lengths, duplicates = array("q"), array("q")
    similarity = array("f")

    def texts() -> Iterator[list[str]]:
        for batch in in_batches(rows, text=lambda row: row.text):
            for row in batch:
                places.extend((row.input, row.file, row.line, row.place))
            yield [row.text for row in batch]

    with Workers(workers, make=_looker, settings=None) as processes:
        for signatures, ids, counts, words in processes.map(texts()):
            neighbors = near.find_signatures(signatures)
            is_new = np.array([neighbor is None for neighbor in neighbors])
            file.add(ids[np.repeat(is_new, counts)], counts[is_new])
            lengths.extend(words[is_new].tolist())
            duplicates.extend(-1 if found is None else found.index for found in neighbors)
            similarity.extend(0.0 if found is None else found.similarity for found in neighbors)
            tick(near.seen)
    file.finish()
    where = np.array(places, np.int64).reshape(-1, 4)
    duplicate_of = np.array(duplicates, np.int64)
    return Pool(
        input_of=where[:, 0], file_of=where[:, 1], line_of=where[:, 2], place_of=where[:, 3],
        different=np.flatnonzero(duplicate_of < 0), lengths=np.array(lengths, np.int64),
        features=file, duplicate_of=duplicate_of, similarity=np.array(similarity, np.float32),
    )  # fmt: skip


def _looker(_settings: None) -> Callable[[list[str]], Seen]:
    return _look


def _look(texts: list[str]) -> Seen:
    """Return signatures, features, how many features and how many words texts have."""
    words = split_words(texts)
    return sign(words), *features(words), words.counts
