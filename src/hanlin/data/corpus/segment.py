"""Where may a document that is longer than a row be cut? Between sentences.

The store keeps where sentences end, counted in tokens, and inside of long sentences where clauses
end. What may be cut is settled by that and by the length of a row alone: between sentences; in a
sentence longer than a row between its clauses; in a clause longer than a row between characters.
Going as far as possible each time then gives the fewest segments that can be, all of them full
but for less than one sentence. Every token is in one segment exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hanlin.data.encoded import EncodedDocuments
from hanlin.data.store import TokenStore
from hanlin.text.sentences import find_borders

if TYPE_CHECKING:
    from hanlin.tokenization.load import Tokenizer

LONG_SENTENCE = 128  # tokens; the clauses of shorter ones are not stored
ENDLESS = 1 << 40  # tokens: no border is known
Ints = npt.NDArray[np.int64]


class Utf8(NamedTuple):
    """A text and its UTF-8 bytes."""

    text: str
    data: bytes


@dataclass(frozen=True)
class TokenBorders:
    """Where parts of documents end, in tokens from the start of the first document.

    Attributes:
        sentences: [S], ends of sentences; the end of every document is among them.
        clauses: [C], ends of clauses inside of sentences longer than 128 tokens.
    """

    sentences: Ints
    clauses: Ints


class BorderFinder:
    """Finds the sentences of texts among their tokens; keeps what it knows of the tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        pieces = [tokenizer.bytes_of(index) for index in range(tokenizer.vocab_size)]
        self.sizes = np.array([len(piece) for piece in pieces], np.int64)
        self.starts_inside = starts_inside(tokenizer)
        self.is_inside = np.zeros(len(pieces), np.bool_)
        self.is_inside[self.starts_inside] = True

    def find(self, texts: Sequence[Utf8], ids: npt.NDArray[Any], lengths: Ints) -> TokenBorders:
        """Return where sentences and clauses end.

        Args:
            texts: documents, none of them empty.
            ids: their tokens, special ones included; the last of each stands for no text.
            lengths: tokens of each.
        """
        sizes = self.sizes[ids]
        tokens = np.cumsum(lengths)
        firsts = tokens - lengths
        own = np.add.reduceat(sizes, firsts)
        for number, size in enumerate(own.tolist()):
            if not self._fits(texts[number], ids[firsts[number] :][:8], size):
                decoded = self.tokenizer.decode(ids[firsts[number] : tokens[number]].tolist())
                texts = [*texts[:number], as_utf8(decoded or " "), *texts[number + 1 :]]
        lead = own - [len(text.data) for text in texts]  # dummy spaces
        # The end token of a document takes the line breaks behind it, less the next dummy space.
        sizes[firsts[1:] - 1] += 2 - lead[1:]
        token_bytes = np.cumsum(sizes) - lead[0]
        joined = b"\n\n".join([text.data for text in texts])  # where a sentence ends in any case
        character_bytes = _byte_starts(joined)
        borders = find_borders("\n\n".join([text.text for text in texts]))
        last = len(ids) - 1
        sentences = np.searchsorted(token_bytes, character_bytes[borders.sentences]) + 1
        sentences = np.minimum(sentences, last + 1)
        document = np.searchsorted(tokens, sentences)
        starts = np.cumsum([len(text.text) + 2 for text in texts])
        is_inner = ~np.isin(borders.sentences, starts) & (sentences < tokens[document] - 1)
        is_inner &= ~self.is_inside[ids[np.minimum(sentences, last)]]
        is_end = np.zeros(tokens[-1] + 1, np.bool_)
        is_end[sentences[is_inner]] = True
        is_end[tokens] = True
        is_long = np.diff(sentences, prepend=0) > LONG_SENTENCE
        clauses = borders.clauses[is_long[np.searchsorted(borders.sentences, borders.clauses)]]
        clauses = np.unique(np.searchsorted(token_bytes, character_bytes[clauses]) + 1)
        clauses = clauses[clauses < last]
        clauses = clauses[~is_end[clauses] & ~self.is_inside[ids[clauses]]]
        return TokenBorders(np.flatnonzero(is_end), clauses)

    def segments(self, text: str, ids: Sequence[int], *, seq_len: int) -> list[list[int]]:
        """Return the tokens of one document in segments of at most seq_len, see `cut`."""
        array = np.array(ids, np.int64)
        found = self.find([as_utf8(text)], array, np.array([len(ids)]))
        document = Cuttable(
            np.array([0, len(ids)]),
            found.sentences.astype(np.uint64),
            found.clauses.astype(np.uint64),
            lambda start, end: array[start:end],
            self.starts_inside,
        )
        starts, lengths, _ = cut(document, seq_len=seq_len)
        return [list(ids[s : s + n]) for s, n in zip(starts, lengths, strict=True)]

    def _fits(self, text: Utf8, start: npt.NDArray[Any], size: int) -> bool:
        """Tell whether tokens of so many bytes are the text, but for a dummy space before it.

        They are not where a tokenizer changes texts.
        """
        lead = size - len(text.data)
        return lead == 0 or (
            lead == 1 and self.tokenizer.decode(start.tolist())[:1] == text.text[:1]
        )


def as_utf8(text: str) -> Utf8:
    """Return a text with its bytes; half characters become question marks."""
    return Utf8(text, text.encode("utf-8", "replace"))


def _byte_starts(data: bytes) -> Ints:
    """Return for each character, and for the end, where its UTF-8 bytes start."""
    raw = np.frombuffer(data, np.int8)
    return np.append(np.flatnonzero(raw >= -64), len(raw))  # bytes 0x80 to 0xBF continue


def starts_inside(tokenizer: Tokenizer) -> list[int]:
    """Return the ids that begin in the middle of a character: before them nothing may be cut."""
    pieces = ((index, tokenizer.bytes_of(index)[:1]) for index in range(tokenizer.vocab_size))
    return [index for index, first in pieces if first and first[0] & 0xC0 == 0x80]


@dataclass(frozen=True)
class Cuttable:
    """Documents one behind another, and where they may be cut; all in tokens.

    Attributes:
        offsets: [D + 1], where each starts, and at last where the final one ends.
        sentences: where sentences end.
        clauses: where clauses of long sentences end.
        ids: the tokens [start, end).
        starts_inside: ids that begin in the middle of a character.
    """

    offsets: Ints
    sentences: npt.NDArray[np.uint64]
    clauses: npt.NDArray[np.uint64]
    ids: Callable[[int, int], Ints]
    starts_inside: Sequence[int]


def segments(store: TokenStore, source: int, *, seq_len: int) -> tuple[Ints, Ints]:
    """Return start and length of each segment of a source, in order; short documents are whole."""
    documents = Cuttable(
        store.offsets(source).astype(np.int64),
        store.sentence_ends(source),
        store.clause_ends(source),
        partial(store.ids, source),
        store.starts_inside,
    )
    starts, lengths, _ = cut(documents, seq_len=seq_len)
    return starts, lengths


def loosen_ends(
    store: TokenStore, pieces: Sequence[tuple[Ints, Ints]], *, tokens: int
) -> list[tuple[Ints, Ints]]:
    """Cut the ends of long documents to sentences, the shortest ends first, about `tokens` in all.

    Segments that are nearly as long as a row leave gaps that only sentences are short enough for.

    Args:
        store: the token store.
        pieces: starts and lengths of the pieces of each source.
        tokens: how many tokens are wanted in single sentences.
    """
    numbers, lengths = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for source, (starts, sizes) in enumerate(pieces):
        offsets = store.offsets(source).astype(np.int64)
        is_end = np.isin(starts + sizes, offsets) & ~np.isin(starts, offsets)
        is_end &= len(store.sentence_ends(source)) > 0
        numbers.append(np.where(is_end, source, -1))
        lengths.append(sizes)
    owner, size = np.concatenate(numbers), np.concatenate(lengths)
    shortest = np.argsort(np.where(owner < 0, ENDLESS, size), kind="stable")
    is_needed = (np.cumsum(size[shortest]) - size[shortest] < tokens) & (owner[shortest] >= 0)
    is_loose = np.zeros(len(size), np.bool_)
    is_loose[shortest[is_needed]] = True
    found, first = [], 0
    for source, (starts, sizes) in enumerate(pieces):
        loose = is_loose[first : first + len(starts)]
        first += len(starts)
        own, own_sizes = [starts[~loose]], [sizes[~loose]]
        for start, end in zip(starts[loose], (starts + sizes)[loose], strict=True):
            ends = store.sentence_ends(source)
            span = np.searchsorted(ends, np.array([start, end], np.uint64), side="right")
            cuts = np.append(start, ends[span[0] : span[1]].astype(np.int64))
            cuts = np.append(cuts[cuts < end], end)
            own, own_sizes = [*own, cuts[:-1]], [*own_sizes, np.diff(cuts)]
        found.append((np.concatenate(own), np.concatenate(own_sizes)))
    return found


def cut(documents: Cuttable, *, seq_len: int) -> tuple[Ints, Ints, Ints]:
    """Return start, length and document of each segment, in order.

    All documents are cut together, their n-th segments in one step.
    """
    at, ends = documents.offsets[:-1], documents.offsets[1:]
    number = np.flatnonzero(ends > at)  # the document that the next segment belongs to
    at, ends = at[number], ends[number]
    starts, stops, owners = [at[:0]], [at[:0]], [number[:0]]
    while len(at):
        stop = np.minimum(at + seq_len, ends)
        is_longer = stop < ends
        stop[is_longer] = _cuts(documents, at[is_longer], seq_len=seq_len)
        starts, stops, owners = [*starts, at], [*stops, stop], [*owners, number]
        at, ends, number = stop[is_longer], ends[is_longer], number[is_longer]
    owner = np.concatenate(owners)
    order = np.argsort(owner, kind="stable")
    first = np.concatenate(starts)[order]
    return first, np.concatenate(stops)[order] - first, owner[order]


def _cuts(documents: Cuttable, at: Ints, *, seq_len: int) -> Ints:
    """Return the last allowed cut at most seq_len tokens behind each position."""
    limits = at + seq_len
    start, end = _around(documents.sentences, limits, at)
    clause_start, clause_end = _around(documents.clauses, limits, start, end)
    cuts = np.where(end - start <= seq_len, start, clause_start)
    is_endless = (end - start > seq_len) & (clause_end - clause_start > seq_len)
    cuts[is_endless] = limits[is_endless]
    for index in np.flatnonzero(is_endless).tolist() if documents.starts_inside else ():
        cuts[index] = _between_characters(documents, int(at[index]), int(limits[index]))
    return cuts


def _around(
    borders: npt.NDArray[np.uint64], limits: Ints, start: Ints, end: Ints | None = None
) -> tuple[Ints, Ints]:
    """Return the border at or before each limit and the first one behind it, in [start, end]."""
    end = limits + ENDLESS if end is None else end
    if not len(borders):
        return start, end
    index = np.searchsorted(borders, limits.astype(np.uint64), side="right")
    before = borders[np.maximum(index - 1, 0)].astype(np.int64)
    behind = borders[np.minimum(index, len(borders) - 1)].astype(np.int64)
    before = np.where(index > 0, np.maximum(before, start), start)
    return before, np.where(index < len(borders), np.minimum(behind, end), end)


def _between_characters(documents: Cuttable, start: int, limit: int) -> int:
    """Return the last place at or before a limit where no character is cut."""
    is_safe = ~np.isin(documents.ids(start + 1, limit + 1), documents.starts_inside)
    return start + 1 + int(np.flatnonzero(is_safe)[-1]) if is_safe.any() else limit


def to_segments(
    texts: EncodedDocuments, *, seq_len: int, overlap: bool, starts_inside: Sequence[int]
) -> EncodedDocuments:
    """Return the same texts, cut to documents of at most seq_len tokens.

    Args:
        texts: each of them is one document.
        seq_len: most tokens of a segment.
        overlap: fill segments with sentences that came before, see `overlapping_segments`.
        starts_inside: ids that begin in the middle of a character.
    """
    offsets = np.append(0, np.cumsum(texts.lengths))
    documents = Cuttable(
        offsets,
        texts.sentences.astype(np.uint64),
        texts.clauses.astype(np.uint64),
        lambda start, end: texts.ids[start:end],
        starts_inside,
    )
    if not overlap:
        _, lengths, owners = cut(documents, seq_len=seq_len)
        parts = np.bincount(owners, minlength=len(texts.lengths))
        sentences = np.union1d(texts.sentences, np.cumsum(lengths))
        return replace(texts, lengths=lengths, parts=parts, sentences=sentences)
    atoms = replace(documents, offsets=np.append(0, texts.sentences))
    starts, lengths, _ = cut(atoms, seq_len=seq_len)
    owners = np.searchsorted(offsets, starts, side="right") - 1
    spans: list[Ints] = []
    first = 0
    for count in np.bincount(owners, minlength=len(texts.lengths)).tolist():
        own = overlapping_segments(lengths[first : first + count].tolist(), seq_len=seq_len)
        spans.append(np.array(own, np.int64).reshape(-1, 2) + first)
        first += count
    chosen = [np.arange(start, end) for span in spans for start, end in span.tolist()]
    pieces = np.concatenate([np.zeros(0, np.int64), *chosen])
    ends = np.cumsum(lengths[pieces])
    tokens = np.arange(ends[-1] if len(ends) else 0)
    tokens += np.repeat(starts[pieces] - ends + lengths[pieces], lengths[pieces])
    sizes = np.array([lengths[own].sum() for own in chosen], np.int64)
    return replace(
        texts,
        ids=texts.ids[tokens],
        lengths=sizes,
        sentences=ends,
        clauses=ends[:0],  # no segment is longer than a row
        parts=np.array([len(span) for span in spans], np.int64),
    )


def overlapping_segments(lengths: Sequence[int], *, seq_len: int) -> list[tuple[int, int]]:
    """Return `[first, end)` of the sentences of each segment as KnowLM makes them.

    Each segment goes on as far as it can; then sentences before it that still fit are put into it
    again, so that it is full (KnowLM, pretrain/preprocess.py). Those tokens are trained on twice.

    Args:
        lengths: tokens of each sentence, at most seq_len.
        seq_len: most tokens of a segment.
    """
    found: list[tuple[int, int]] = []
    end = 0
    while end < len(lengths):
        first, size = end, 0
        while end < len(lengths) and (size + lengths[end] <= seq_len or end == first):
            size, end = size + lengths[end], end + 1
        while first and size + lengths[first - 1] <= seq_len:
            first, size = first - 1, size + lengths[first - 1]
        found.append((first, end))
    return found
