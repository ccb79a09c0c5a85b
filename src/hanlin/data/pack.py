"""Which documents share a row? Best-fit packing: the same shape each epoch, other documents in it.

Documents longer than a row are cut into pieces, between sentences (`segment`). Where rows would
have gaps, the ends of some of these documents are cut to sentences, which fill the gaps. What is
packed are *slots* (lengths), not pieces: slots never change, so every epoch has the same number of
rows and row `i` is found at once. Each epoch fills the slots anew: pieces of equal length change
places and the rows change their order.

Without weights an epoch holds every token once. With weights an epoch is as long as the store, and
a source gets its share of it: as many whole passes as fit, and for the rest one piece from each
group of neighbors in the order of length. The piece that is taken moves on by one with every
epoch, so a source that is drawn sparsely is seen completely in time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hanlin.core.errors import ConfigError, InputError
from hanlin.core.stage import derive_seed
from hanlin.data.corpus.segment import loosen_ends, segments
from hanlin.data.mix import token_shares
from hanlin.data.store import TokenIds, TokenStore

IGNORED = -100  # the label that a loss passes over, as in torch's cross_entropy
GAPS = 0.01  # of the tokens; fewer are left as they are
LOOSE = 1.5  # tokens in single sentences for each one of a gap: novels, laws 0.961 -> 0.998 full
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Row:
    """One packed row of L tokens, L at most seq_len.

    Attributes:
        ids: int64 [L], documents one behind another, not padded.
        labels: int64 [L], the ids, or -100 where nothing is to be learned: what the mask excludes
            and each document's first token, which nothing in its own document predicts.
        lengths: tokens of each document; they sum to L.
    """

    ids: TokenIds
    labels: TokenIds
    lengths: tuple[int, ...]


@dataclass(frozen=True)
class Piece:
    """Tokens [start, start + length) of one source of the store."""

    source: int
    start: int
    length: int


class PackedRows:
    """Packed rows of a store, by index, for as many epochs as one likes.

    Row `i` is a pure function of the store, seq_len, weights, seed and `i`. An epoch's arrangement
    is made when its first row is asked for; for a million documents this takes about a second.

    Args:
        store: the token store.
        seq_len: the most tokens in a row.
        seed: decides what stands where; the shape of the rows does not depend on it.
        weights: source name -> weight; None takes the store's own, see `mix.token_shares`.

    Raises:
        InputError: the store has no tokens.
        ConfigError: seq_len below 2, a bad weight, or a conversation longer than seq_len.
    """

    def __init__(
        self,
        store: TokenStore,
        *,
        seq_len: int,
        seed: int,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        if seq_len < 2:
            raise ConfigError(f"seq_len is {seq_len}", why="a token needs one that it follows")
        if not store.tokens:
            raise InputError(f"the token store {store.path} has no tokens", fix="prepare it again")
        self.store, self.seq_len, self.seed = store, seq_len, seed
        pieces = [_cut(store, source, seq_len) for source in range(len(store.sources))]
        self._pieces = [_sorted(*own) for own in _without_gaps(store, pieces, seq_len)]
        self._slots = _slots(store, self._pieces, token_shares(store, weights))
        self._packing = _best_fit(self._slots.capacities, seq_len)
        self._arrangements: dict[int, _Arrangement] = {}

    @property
    def rows_per_epoch(self) -> int:
        """Return how many rows an epoch has; the same for every epoch."""
        return len(self._packing.offsets) - 1

    @property
    def tokens_per_epoch(self) -> int:
        """Return the tokens of an epoch; with weights, the mean over epochs."""
        return round(float(self._slots.mean_lengths.sum()))

    @property
    def fill(self) -> float:
        """Return which part of the rows is tokens and not padding."""
        return self.tokens_per_epoch / (self.rows_per_epoch * self.seq_len)

    def row(self, index: int) -> Row:
        """Return row `index`; epochs follow one another, `rows_per_epoch` rows each."""
        pieces = self.pieces(index)
        parts = [self._read(piece) for piece in pieces]
        return Row(
            np.concatenate([ids for ids, _ in parts]),
            np.concatenate([labels for _, labels in parts]),
            tuple(piece.length for piece in pieces),
        )

    def pieces(self, index: int) -> list[Piece]:
        """Return where the documents of a row come from, without reading them."""
        epoch, at = divmod(index, self.rows_per_epoch)
        if epoch not in self._arrangements:  # keep the two last: a batch may reach over an epoch
            self._arrangements = dict(list(self._arrangements.items())[-1:])
            self._arrangements[epoch] = self._arrange(epoch)
        arrangement = self._arrangements[epoch]
        row = arrangement.order[at]
        first, end = self._packing.offsets[row], self._packing.offsets[row + 1]
        found = []
        for slot in self._packing.slots[first:end]:
            source, piece = int(arrangement.sources[slot]), int(arrangement.pieces[slot])
            starts, lengths = self._pieces[source]
            found.append(Piece(source, int(starts[piece]), int(lengths[piece])))
        return found

    def _read(self, piece: Piece) -> tuple[TokenIds, TokenIds]:
        start, end = piece.start, piece.start + piece.length
        ids = self.store.ids(piece.source, start, end)
        labels = np.where(self.store.mask(piece.source, start, end), ids, IGNORED)
        labels[0] = IGNORED
        return ids, labels

    def _arrange(self, epoch: int) -> _Arrangement:
        slots, random = self._slots, np.random.default_rng
        first = random(derive_seed(self.seed, "pack/first")).integers(slots.sizes)
        pieces = slots.starts + (first + epoch) % slots.sizes
        draw = random(derive_seed(self.seed, f"pack/{epoch}"))
        same_length = np.lexsort((draw.random(len(pieces)), -slots.capacities))
        return _Arrangement(
            sources=slots.sources[same_length],
            pieces=pieces[same_length],
            order=draw.permutation(self.rows_per_epoch),
        )


@dataclass(frozen=True)
class _Slots:
    """S slots, longest first; each is filled from a group of neighboring pieces of a source.

    Attributes:
        capacities: [S], tokens of the longest piece of the group.
        sources: [S], index of the source.
        starts: [S], first piece of the group; pieces are numbered longest first.
        sizes: [S], pieces in the group; 1 where the slot always gets the same piece.
        mean_lengths: [S], tokens of a piece of the group on average.
    """

    capacities: Ints
    sources: Ints
    starts: Ints
    sizes: Ints
    mean_lengths: npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Packing:
    """Row r holds slots[offsets[r] : offsets[r + 1]]."""

    slots: Ints
    offsets: Ints


@dataclass(frozen=True)
class _Arrangement:
    """What one epoch puts into slot i (`pieces[i]` of `sources[i]`), and its order of rows."""

    sources: Ints
    pieces: Ints
    order: Ints


def _cut(store: TokenStore, source: int, seq_len: int) -> tuple[Ints, Ints]:
    """Return first token and length of each piece of a source."""
    lengths = store.lengths(source)
    if store.has_mask and len(lengths) and lengths.max() > seq_len:
        name = store.sources[source].name
        raise ConfigError(
            f"seq_len is {seq_len}, but a conversation of {name!r} has {lengths.max()} tokens",
            why="an answer must not be cut in the middle",
            fix=f"prepare the conversations with seq_len {seq_len}, or train with a longer one",
        )
    return segments(store, source, seq_len=seq_len)


def _without_gaps(
    store: TokenStore, pieces: list[tuple[Ints, Ints]], seq_len: int
) -> list[tuple[Ints, Ints]]:
    """Return the pieces, some of them cut to sentences if rows would stay emptier than 99 %."""
    lengths = np.sort(np.concatenate([sizes for _, sizes in pieces]))[::-1]
    gaps = (len(_best_fit(lengths, seq_len).offsets) - 1) * seq_len - int(lengths.sum())
    if gaps < GAPS * lengths.sum():
        return pieces
    return loosen_ends(store, pieces, tokens=round(gaps * LOOSE))


def _sorted(starts: Ints, sizes: Ints) -> tuple[Ints, Ints]:
    order = np.argsort(-sizes, kind="stable")
    return starts[order], sizes[order]


def _slots(
    store: TokenStore, pieces: list[tuple[Ints, Ints]], shares: Mapping[str, float] | None
) -> _Slots:
    """Decide what an epoch is made of."""
    parts: list[tuple[Ints, Ints, Ints]] = []  # source, first piece, pieces in the group
    for index, (source, (_, lengths)) in enumerate(zip(store.sources, pieces, strict=True)):
        passes = 1.0
        if shares is not None:
            passes = shares[source.name] * store.tokens / max(source.tokens, 1)
        edges = [np.arange(len(lengths) + 1)] * int(passes)
        some = round((passes - int(passes)) * len(lengths))
        if some or (passes > 0 and not edges and len(lengths)):
            edges.append(np.linspace(0, len(lengths), max(some, 1) + 1).astype(np.int64))
        for edge in edges:
            parts.append((np.full(len(edge) - 1, index), edge[:-1], np.diff(edge)))
    sources, starts, sizes = (np.concatenate(column) for column in zip(*parts, strict=True))
    ends = [np.concatenate([[0], np.cumsum(lengths)]) for _, lengths in pieces]
    capacities, means = np.zeros(len(sources), np.int64), np.zeros(len(sources))
    for index, (_, lengths) in enumerate(pieces):
        mine = sources == index
        start, size = starts[mine], sizes[mine]
        capacities[mine] = lengths[start]
        means[mine] = (ends[index][start + size] - ends[index][start]) / size
    order = np.argsort(-capacities, kind="stable")
    return _Slots(capacities[order], sources[order], starts[order], sizes[order], means[order])


def _best_fit(capacities: Ints, seq_len: int) -> _Packing:
    """Pack slots into rows: longest first, each into the fullest row with room for it.

    Best-fit decreasing (Johnson, 1973, needs at most 11/9 of the best number of rows). The open
    rows stand in one list for each amount of room; a Python integer, one bit for each list that is
    not empty, finds the tightest room at the price of one shift.
    """
    row_of = np.zeros(len(capacities), np.int64)
    rows, room_bits = 0, 0
    open_rows: dict[int, list[int]] = {}
    lengths, first = np.unique(-capacities, return_index=True)
    ends = [*first[1:].tolist(), len(capacities)]
    for length, slot, end in zip((-lengths).tolist(), first.tolist(), ends, strict=True):
        while slot < end:
            if fitting := room_bits >> length:
                room = length + (fitting & -fitting).bit_length() - 1
                row = open_rows[room].pop()
                room_bits ^= (not open_rows[room]) << room
            else:
                room, row, rows = seq_len, rows, rows + 1
            count = min(room // length, end - slot)
            row_of[slot : slot + count] = row
            slot, room = slot + count, room - count * length
            open_rows.setdefault(room, []).append(row)
            room_bits |= (room > 0) << room
    offsets = np.concatenate([[0], np.cumsum(np.bincount(row_of, minlength=rows))])
    return _Packing(np.argsort(row_of, kind="stable"), offsets)
