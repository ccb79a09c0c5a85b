"""Packing loses and doubles nothing, and a row does not depend on how one came to it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanlin.data.pack import IGNORED, PackedRows
from hanlin.data.store import StoreWriter, TokenStore

lengths = st.lists(st.lists(st.integers(0, 40), max_size=30), min_size=1, max_size=3).filter(
    lambda sources: any(any(source) for source in sources)
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("stores")


def make_store(folder, sources, weights=None):
    """Every token of the store is a different number, so that each can be followed."""
    count = 0
    with StoreWriter(folder, tokenizer_sha256="t", vocab_size=1 << 20) as writer:
        for number, source in enumerate(sources):
            weight = weights[number] if weights else None
            writer.begin(f"s{number}", weight=weight)
            for length in source:
                writer.add(list(range(count, count + length)))
                count += length
    return TokenStore.open(folder)


@settings(max_examples=60, deadline=None)
@given(sources=lengths, seq_len=st.integers(2, 24), seed=st.integers(0, 5))
def test_an_epoch_holds_every_token_once_and_rows_fit(folder, sources, seq_len, seed):
    rows = PackedRows(make_store(folder, sources), seq_len=seq_len, seed=seed)
    for epoch in range(2):
        first = epoch * rows.rows_per_epoch
        epoch_rows = [rows.row(first + i) for i in range(rows.rows_per_epoch)]
        tokens = np.concatenate([row.ids for row in epoch_rows])
        assert sorted(tokens.tolist()) == list(range(sum(map(sum, sources))))
        for row in epoch_rows:
            assert 0 < sum(row.lengths) == len(row.ids) == len(row.labels) <= seq_len


@settings(max_examples=60, deadline=None)
@given(sources=lengths, seq_len=st.integers(2, 24))
def test_pieces_are_whole_and_only_their_first_token_is_not_learned(folder, sources, seq_len):
    rows = PackedRows(make_store(folder, sources), seq_len=seq_len, seed=0)
    for index in range(rows.rows_per_epoch):
        row, at = rows.row(index), 0
        for length in row.lengths:
            piece, labels = row.ids[at : at + length], row.labels[at : at + length]
            assert (np.diff(piece) == 1).all()
            assert labels[0] == IGNORED
            assert (labels[1:] == piece[1:]).all()
            at += length


@settings(max_examples=40, deadline=None)
@given(
    sources=lengths,
    seq_len=st.integers(2, 24),
    weighted=st.booleans(),
    at=st.lists(st.integers(0, 300), max_size=6),
)
def test_a_row_is_the_same_whether_sought_or_reached(folder, sources, seq_len, weighted, at):
    weights = [1.0, 2.5, 0.5][: len(sources)] if weighted else None
    store = make_store(folder, sources, weights)
    reached = PackedRows(store, seq_len=seq_len, seed=3)
    walked = [reached.row(index).ids.tolist() for index in range(max(at, default=0) + 1)]
    for index in at:
        sought = PackedRows(TokenStore.open(folder), seq_len=seq_len, seed=3)
        assert sought.row(index).ids.tolist() == walked[index]


@settings(max_examples=40, deadline=None)
@given(sources=lengths, seq_len=st.integers(2, 24))
def test_packing_needs_few_rows(folder, sources, seq_len):
    rows = PackedRows(make_store(folder, sources), seq_len=seq_len, seed=0)
    best = -(-sum(map(sum, sources)) // seq_len)
    assert rows.rows_per_epoch <= 2 * best  # no two rows of any fitting algorithm are half empty
