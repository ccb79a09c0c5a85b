"""Shape, order and mixture of packed rows."""

from collections import Counter

import numpy as np
import pytest

from hanlin.core.errors import ConfigError, InputError
from hanlin.data.mix import token_shares
from hanlin.data.pack import IGNORED, PackedRows


def epoch_of(rows, epoch):
    first = epoch * rows.rows_per_epoch
    return [rows.pieces(first + i) for i in range(rows.rows_per_epoch)]


def test_pieces_of_a_long_document_end_where_the_next_begins(make_store):
    rows = PackedRows(make_store({"a": (None, [10])}), seq_len=4, seed=0)
    found = sorted((p.start, p.length) for row in epoch_of(rows, 0) for p in row)
    assert found == [(0, 4), (4, 4), (8, 2)]


def test_the_mask_and_every_first_token_are_not_learned(make_store):
    rows = PackedRows(make_store({"a": (None, [4, 3])}, has_mask=True), seq_len=8, seed=0)
    row = rows.row(0)
    assert sorted(row.lengths) == [3, 4]
    assert row.ids.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert row.labels.tolist() == [IGNORED, 1, IGNORED, 3, IGNORED, 5, IGNORED]
    assert row.ids.dtype == row.labels.dtype == "int64"


def test_documents_of_a_natural_spread_fill_the_rows(make_store):
    lengths = np.random.default_rng(0).lognormal(4, 1, 2000).astype(int) + 3
    rows = PackedRows(make_store({"a": (None, lengths)}), seq_len=256, seed=0)
    assert rows.tokens_per_epoch == lengths.sum()
    assert rows.fill > 0.99


def test_epochs_differ_and_seeds_differ_but_nothing_else_does(make_store):
    store = make_store({"a": (None, [5, 5, 5, 3, 3, 7, 2, 2, 2, 6] * 5)})
    rows = PackedRows(store, seq_len=12, seed=0)
    same = PackedRows(store, seq_len=12, seed=0)
    other = PackedRows(store, seq_len=12, seed=1)
    assert epoch_of(rows, 0) == epoch_of(same, 0)
    assert epoch_of(rows, 1) == epoch_of(same, 1)
    assert epoch_of(rows, 0) != epoch_of(rows, 1)
    assert epoch_of(rows, 0) != epoch_of(other, 0)
    neighbors = [frozenset(p.start for p in row) for row in epoch_of(rows, 0)]
    assert set(neighbors) != {frozenset(p.start for p in row) for row in epoch_of(rows, 1)}


@pytest.mark.parametrize("weights", [{"a": 1, "b": 1}, {"a": 3, "b": 1}, {"a": 0.02, "b": 0.98}])
def test_weights_are_shares_of_tokens(make_store, weights):
    many, few = [5 + i % 40 for i in range(400)], [8 + i % 9 for i in range(300)]
    store = make_store({"a": (None, many), "b": (None, few)})
    rows = PackedRows(store, seq_len=64, seed=0, weights=weights)
    shares = token_shares(store, weights)
    for epoch in range(3):
        tokens = Counter()
        for row in epoch_of(rows, epoch):
            for piece in row:
                tokens[store.sources[piece.source].name] += piece.length
        assert tokens.total() == pytest.approx(store.tokens, rel=0.02)
        for name, share in shares.items():
            assert tokens[name] / tokens.total() == pytest.approx(share, abs=0.01)


def test_a_source_that_is_drawn_sparsely_is_seen_completely_in_time(make_store):
    store = make_store({"a": (1, [4] * 10), "b": (9, [4] * 10)})
    rows = PackedRows(store, seq_len=8, seed=0)
    seen = [
        {p.start for row in epoch_of(rows, epoch) for p in row if p.source == 0}
        for epoch in range(5)
    ]
    assert [len(starts) for starts in seen] == [2] * 5
    assert len(set().union(*seen)) == 10


def test_a_weight_of_zero_leaves_a_source_out(make_store):
    store = make_store({"a": (1, [4] * 4), "b": (0, [4] * 4)})
    rows = PackedRows(store, seq_len=8, seed=0)
    assert {p.source for row in epoch_of(rows, 0) for p in row} == {0}
    assert rows.tokens_per_epoch == 32


def test_wrong_weights_are_explained(make_store):
    store = make_store({"en": (None, [4]), "news": (None, [4])})
    with pytest.raises(ConfigError) as caught:
        token_shares(store, {"en": 1, "nwes": 1})
    assert "has no source 'nwes'" in str(caught.value)
    assert caught.value.fix == "did you mean 'news'?"
    with pytest.raises(ConfigError, match="no weight for source 'news'"):
        token_shares(store, {"en": 1})
    with pytest.raises(ConfigError, match="gives no source with text a positive share"):
        token_shares(store, {"en": 0, "news": 0})
    assert token_shares(store, None) is None
    assert token_shares(store, {"en": 1, "news": 3}) == {"en": 0.25, "news": 0.75}


def test_a_conversation_is_never_cut(make_store):
    store = make_store({"chat": (None, [9])}, has_mask=True)
    with pytest.raises(ConfigError) as caught:
        PackedRows(store, seq_len=8, seed=0)
    assert "seq_len is 8, but a conversation of 'chat' has 9 tokens" in str(caught.value)
    assert "prepare the conversations with seq_len 8" in caught.value.fix


def test_nothing_to_pack_is_an_error(make_store):
    with pytest.raises(InputError, match="has no tokens"):
        PackedRows(make_store({"a": (None, [])}), seq_len=8, seed=0)
    with pytest.raises(ConfigError, match="seq_len is 1"):
        PackedRows(make_store({"a": (None, [3])}), seq_len=1, seed=0)
