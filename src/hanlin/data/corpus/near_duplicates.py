"""Has a text almost like this one come before? MinHash and locality-sensitive hashing.

    near = NearDuplicates(threshold=0.8)
    kept = [text for text in texts if near.is_new(text)]

Two texts are compared by the Jaccard similarity of their sets of three words in a row (three
characters of Chinese), estimated from 128 minima (Broder 1997). The minima come from the sketch of
Dahlgaard, Knudsen and Thorup (2017, https://arxiv.org/abs/1704.04370): one hash of each n-gram
fills all of them at once for a long text, and short texts are sketched as sharply as long ones.
We give the bins that stay empty a round of their own after 8 rounds instead of 128.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from hanlin.data.corpus.shingles import (
    GOLDEN,
    Hashes,
    Indices,
    Words,
    in_batches,
    mix,
    shingles,
    split_words,
)

SHINGLE_WORDS = 3
MINIMA = 128  # standard error of the similarity at 0.8: 0.035
VALUES = 256  # a byte of each minimum is kept; two different ones agree in 1 of 256 cases
WIDEST_BAND = 8  # bytes that are compared as one number
SURE = 0.95  # how surely a pair that is just as similar as the threshold becomes a candidate
BUCKET = 32  # texts remembered with the same band; more of them are a phrase that many texts share
RANDOM_ROUNDS = 8  # then each bin that is still empty gets a round of its own
EMPTY, LOW = np.uint64(0xFFFFFFFFFFFFFFFF), np.uint64(0xFFFFFFFF)
NONE = -1  # no more entries in this slot
LEFT_OUT = -2  # the bucket was full
Signatures = npt.NDArray[np.uint8]
Item = TypeVar("Item")
Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True)
class Neighbor:
    """An earlier text: its 0-based number among all texts asked about, and its similarity."""

    index: int
    similarity: float


class NearDuplicates:
    """Remembers the texts that are new, and finds the nearest of them to another.

    A text is a near duplicate of an earlier new one when their estimated similarity reaches the
    threshold. The answers depend on the texts and their order alone, not on how they are handed
    in. About 330 bytes are held for each new text: 3.3 GB for ten million (half as much again
    while the tables grow).

    Args:
        threshold: least similarity of a near duplicate, above 0 and at most 1.
    """

    def __init__(self, threshold: float = 0.8) -> None:
        if not 0 < threshold <= 1:
            raise ValueError(f"the threshold {threshold} is not above 0 and at most 1")
        self.threshold = threshold
        self.band_width = _band_width(threshold)
        self.bands = MINIMA // self.band_width
        self.nearest: Neighbor | None = None
        self.seen = 0
        self._kept = 0
        self._index = np.zeros(1024, np.int64)  # number of each kept text among all
        self._packed = np.zeros((1024, self.bands), np.uint64)
        # An entry is a band of a kept text: text * bands + band. Entries with the same slot are
        # chained, the latest first.
        self._next = np.zeros(self._packed.size, np.int32)
        self._heads = np.full(1 << 15, NONE, np.int32)

    def __len__(self) -> int:
        """Return how many texts were new."""
        return self._kept

    def is_new(self, text: str) -> bool:
        """Tell whether no near duplicate came before; remember the text if so.

        `nearest` is then None, otherwise the most similar earlier text. For many texts `ask` and
        `find` give the same answers some 15 times as fast.
        """
        self.nearest = self.find([text])[0]
        return self.nearest is None

    def find(self, texts: Iterable[str]) -> list[Neighbor | None]:
        """Return for each text the most similar earlier one, None for a new text; in order."""
        return [neighbor for _, neighbor in self.ask(texts, text=str)]

    def ask(
        self, items: Iterable[Item], *, text: Callable[[Item], str]
    ) -> Iterator[tuple[Item, Neighbor | None]]:
        """Pass items on in order, each with the most similar earlier one; some are held at a time.

        Args:
            items: documents, rows, ...
            text: gives the text of an item.
        """
        for batch in in_batches(items, text=text):
            neighbors = self.find_signatures(signatures([text(item) for item in batch]))
            yield from zip(batch, neighbors, strict=True)

    def find_signatures(self, values: Signatures) -> list[Neighbor | None]:
        """Do what `find` does for signatures, which other processes may have computed."""
        packed = self._pack(values)
        keys = _band_keys(packed)
        index = self.seen + np.arange(len(values))
        self.seen += len(values)
        found, counts = self._find_kept(packed, keys)
        self._find_within(packed, keys, found, counts)
        is_new = np.array([neighbor is None for neighbor in found], np.bool_)
        self._remember(packed[is_new], counts[is_new], index[is_new])
        return found

    def _pack(self, values: Signatures) -> Hashes:
        """Return each band of each signature as one number, (T, bands)."""
        used = values[:, : self.bands * self.band_width]
        padded = np.zeros((len(values), self.bands, WIDEST_BAND), np.uint8)
        padded[:, :, : self.band_width] = used.reshape(len(values), self.bands, self.band_width)
        return padded.view("<u8").reshape(len(values), self.bands).astype(np.uint64, copy=False)

    def _find_kept(self, packed: Hashes, keys: Hashes) -> tuple[list[Neighbor | None], Indices]:
        """Compare texts with the kept ones; count the kept ones with each band, (T, bands)."""
        pairs, counts = self._candidates(packed, keys)
        found: list[Neighbor | None] = [None] * len(packed)
        asked, kept = pairs // max(self._kept, 1), pairs % max(self._kept, 1)
        similarity = self._similarity(packed[asked], self._packed[kept])
        order = np.lexsort((-self._index[kept], similarity))
        for pair in order[similarity[order] >= self.threshold].tolist():  # the best comes last
            found[int(asked[pair])] = Neighbor(
                int(self._index[kept[pair]]), round(float(similarity[pair]), 4)
            )
        return found, counts

    def _find_within(
        self, packed: Hashes, keys: Hashes, found: list[Neighbor | None], counts: Indices
    ) -> None:
        """Compare texts with the new ones before them in the same batch; mend `found`, `counts`."""
        first = self.seen - len(packed)
        is_shared = _is_doubled(keys)
        members: dict[int, list[int]] = {}
        for row in np.flatnonzero(is_shared.any(axis=1)).tolist():
            bands = np.flatnonzero(is_shared[row]).tolist()
            with_band = [members.setdefault(int(keys[row, band]), []) for band in bands]
            earlier = sorted(set().union(*with_band))
            if earlier:
                others = packed[earlier]
                similarity = self._similarity(np.broadcast_to(packed[row], others.shape), others)
                best = int(similarity.argmax())
                value, known = round(float(similarity[best]), 4), found[row]
                if similarity[best] >= self.threshold and (
                    known is None or value > known.similarity
                ):
                    found[row] = Neighbor(first + earlier[best], value)
            if found[row] is None:
                for band, texts in zip(bands, with_band, strict=True):
                    counts[row, band] += len(texts)
                    if counts[row, band] < BUCKET:
                        texts.append(row)

    def _candidates(self, packed: Hashes, keys: Hashes) -> tuple[Indices, Indices]:
        """Find the kept texts that share a band: pairs `asked * kept texts + kept`, and how many.

        The counts are (T, bands).
        """
        wanted = packed.reshape(-1)
        known = self._packed.reshape(-1)
        counts = np.zeros(len(wanted), np.int64)
        entries = self._heads[keys.reshape(-1) & np.uint64(len(self._heads) - 1)]
        places = np.flatnonzero(entries != NONE)
        entries = entries[places]
        pairs = [np.zeros(0, np.int64)]
        while len(places):
            is_same = known[entries] == wanted[places]
            counts[places[is_same]] += 1
            asked = places[is_same] // self.bands
            pairs.append(asked * self._kept + entries[is_same] // self.bands)
            entries = self._next[entries]
            has_more = entries != NONE
            places, entries = places[has_more], entries[has_more]
        return np.unique(np.concatenate(pairs)), counts.reshape(packed.shape)

    def _similarity(self, left: Hashes, right: Hashes) -> npt.NDArray[np.float64]:
        """Estimate the Jaccard similarity of pairs of packed signatures."""
        equal = (left ^ right).view(np.uint8).reshape(len(left), self.bands, WIDEST_BAND) == 0
        padding = self.bands * (WIDEST_BAND - self.band_width)
        share = (equal.sum((1, 2)) - padding) / (self.bands * self.band_width)
        return np.maximum(0.0, (share - 1 / VALUES) / (1 - 1 / VALUES))

    def _remember(self, packed: Hashes, counts: Indices, index: Indices) -> None:
        start, end = self._kept, self._kept + len(packed)
        while end > len(self._index):
            self._index = _doubled(self._index)
            self._packed = _doubled(self._packed)
            self._next = _doubled(self._next)
        self._kept = end
        self._index[start:end] = index
        self._packed[start:end] = packed
        links = self._next[start * self.bands : end * self.bands]
        links[:] = np.where(counts.reshape(-1) < BUCKET, NONE, LEFT_OUT)
        if end * self.bands > len(self._heads):
            self._heads = np.full(1 << (end * self.bands).bit_length(), NONE, np.int32)
            for block in range(0, end, 1 << 16):
                self._chain(block, min(end, block + (1 << 16)))
        else:
            self._chain(start, end)

    def _chain(self, start: int, end: int) -> None:
        """Put the entries of the kept texts [start, end) into their slots."""
        first = start * self.bands
        entries = first + np.flatnonzero(self._next[first : end * self.bands] != LEFT_OUT)
        keys = _band_keys(self._packed[start:end]).reshape(-1)[entries - first]
        slots = (keys & np.uint64(len(self._heads) - 1)).astype(np.int64)
        order = np.argsort(slots, kind="stable")
        entries, slots = entries[order], slots[order]
        follows = np.zeros(len(slots), np.bool_)
        follows[1:] = slots[1:] == slots[:-1]
        links = self._heads[slots]
        links[1:][follows[1:]] = entries[:-1][follows[1:]]
        self._next[entries] = links
        self._heads[slots] = entries  # the last of a slot's entries stays


def signatures(texts: Sequence[str]) -> Signatures:
    """Return the low byte of the 128 minima of each text, (T, 128)."""
    return sign(split_words(texts))


def sign(words: Words) -> Signatures:
    """Return the signatures of texts of which the words are known.

    A bin keeps the least number of the first round in which an n-gram fell into it.
    """
    hashes, where = shingles(words, SHINGLE_WORDS)
    minima = np.full((len(words.counts), MINIMA), EMPTY, np.uint64)
    for number in range(RANDOM_ROUNDS):
        balls = mix(hashes + np.uint64(number * GOLDEN % (1 << 64)))
        bins = (balls >> np.uint64(64 - MINIMA.bit_length() + 1)).astype(np.int64)
        thrown = np.full(minima.size, EMPTY, np.uint64)
        np.minimum.at(thrown, where * MINIMA + bins, balls & LOW)
        np.copyto(minima, thrown.reshape(minima.shape), where=minima == EMPTY)
        is_open = (minima == EMPTY).any(axis=1)[where]
        hashes, where = hashes[is_open], where[is_open]
    _fill(minima, hashes, where)
    return minima.astype(np.uint8)


def _fill(minima: Hashes, hashes: Hashes, where: Indices) -> None:
    """Give each bin that is still empty a round of its own, in which every n-gram falls into it."""
    counts = np.bincount(where, minlength=len(minima))
    starts = np.cumsum(counts) - counts
    texts, bins = np.nonzero(minima == EMPTY)
    sizes = counts[texts]
    ends = np.cumsum(sizes)
    order = np.argsort(where, kind="stable")
    within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - sizes, sizes)
    chosen = hashes[order][np.repeat(starts[texts], sizes) + within]
    salts = (bins + RANDOM_ROUNDS).astype(np.uint64) * np.uint64(GOLDEN)
    balls = mix(chosen + np.repeat(salts, sizes)) & LOW
    if len(balls):
        minima[texts, bins] = np.minimum.reduceat(balls, ends - sizes)


def _band_width(threshold: float) -> int:
    """Return how many minima make a band: as many as still find a pair at the threshold surely."""
    for width in range(WIDEST_BAND, 1, -1):
        if 1 - (1 - threshold**width) ** (MINIMA // width) >= SURE:
            return width
    return 1


def _band_keys(packed: Hashes) -> Hashes:
    numbers = np.arange(1, packed.shape[1] + 1, dtype=np.uint64) * np.uint64(GOLDEN)
    return mix(packed + numbers)


def _is_doubled(keys: Hashes) -> npt.NDArray[np.bool_]:
    """Tell which bands another text of the same batch has too, (T, bands)."""
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    return (counts[inverse] > 1).reshape(keys.shape)


def _doubled(array: npt.NDArray[Number]) -> npt.NDArray[Number]:
    larger = np.zeros((2 * len(array), *array.shape[1:]), array.dtype)  # takes no memory yet
    larger[: len(array)] = array
    return larger
