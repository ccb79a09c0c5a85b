"""How does every batch hold the same number of rows of each source?

KnowLM's mixing (pretrain/preview/dataloader.py, `sampled_distribute`): of each batch so many rows
are Chinese, so many English, so many code. An epoch is as long as the source that lasts longest;
the others begin again, with other documents in their rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hanlin.core.errors import ConfigError
from hanlin.core.registry import did_you_mean
from hanlin.core.stage import derive_seed
from hanlin.data.pack import PackedRows, Piece, Row
from hanlin.data.store import TokenStore


class ProportionalRows(PackedRows):
    """Packed rows by index; each block of `batch_size` rows has the same share of every source.

    Row `i` is a pure function of the store, seq_len, rows_per_batch, seed and `i`. A row holds
    documents of one source.

    Args:
        store: the token store; its own weights are not used.
        seq_len: the most tokens in a row.
        seed: decides what stands where.
        rows_per_batch: source name -> rows in each batch; sources that are not named are left out.

    Raises:
        ConfigError: a name is unknown or has no text, a number is negative, or none is positive.
    """

    def __init__(
        self, store: TokenStore, *, seq_len: int, seed: int, rows_per_batch: Mapping[str, int]
    ) -> None:
        self.store, self.seq_len, self.seed = store, seq_len, seed
        names = [source.name for source in store.sources]
        for name, count in rows_per_batch.items():
            if name not in names or count < 0:
                raise ConfigError(
                    f"rows_per_batch: {name}: {count}",
                    why=f"the store {store.path} has the sources {', '.join(names)}, and a batch "
                    "has 0 rows of one or more",
                    fix=did_you_mean(name, names),
                )
        chosen = {name: count for name, count in rows_per_batch.items() if count}
        if not chosen or any(not store.sources[names.index(name)].tokens for name in chosen):
            raise ConfigError(
                f"rows_per_batch: {dict(rows_per_batch)} gives no batch",
                why="a source without text cannot fill rows" if chosen else "all numbers are 0",
                fix="name at least one source that has tokens",
            )
        self.batch_size = sum(chosen.values())
        self._sources = [names.index(name) for name in chosen]
        self._counts = list(chosen.values())
        self._rows = [
            PackedRows(store.only(name), seq_len=seq_len, seed=derive_seed(seed, f"source/{name}"))
            for name in chosen
        ]

    @property
    def batches_per_epoch(self) -> int:
        """Return the batches after which every source was seen at least once."""
        pairs = zip(self._rows, self._counts, strict=True)
        return max(-(-rows.rows_per_epoch // count) for rows, count in pairs)

    @property
    def rows_per_epoch(self) -> int:
        """Return how many rows an epoch has."""
        return self.batches_per_epoch * self.batch_size

    @property
    def tokens_per_epoch(self) -> int:
        """Return the tokens of an epoch, the mean over epochs."""
        pairs = zip(self._rows, self._counts, strict=True)
        batch = sum(rows.fill * self.seq_len * count for rows, count in pairs)
        return round(batch * self.batches_per_epoch)

    def row(self, index: int) -> Row:
        """Return row `index`."""
        source, own = self._own(index)
        return self._rows[source].row(own)

    def pieces(self, index: int) -> list[Piece]:
        """Return where the documents of a row come from, without reading them."""
        source, own = self._own(index)
        pieces = self._rows[source].pieces(own)
        return [replace(piece, source=self._sources[source]) for piece in pieces]

    def _own(self, index: int) -> tuple[int, int]:
        """Return the source of a row, and which of the source's rows it is."""
        batch, place = divmod(index, self.batch_size)
        for source, count in enumerate(self._counts):
            if place < count:
                return source, batch * count + place
            place -= count
        raise AssertionError("a place behind the last source")
