"""Segments are a partition, end where sentences end, and no partition has fewer."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanlin.core.records import Document
from hanlin.data.corpus.clean import tidy
from hanlin.data.corpus.encode import DocumentEncoder, Settings, Shard
from hanlin.data.corpus.segment import Cuttable, as_utf8, cut, overlapping_segments
from hanlin.data.encoded import EncodedDocuments
from hanlin.data.pack import PackedRows
from hanlin.data.store import StoreWriter, TokenStore
from hanlin.models.tiny import make_tiny

texts = st.lists(
    st.text(st.sampled_from("这本书是老师写的。，！？“”（）Ab c.;,\n1🙂"), min_size=1, max_size=60)
    .map(tidy)
    .filter(bool),
    min_size=1,
    max_size=5,
)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return DocumentEncoder(Settings(str(make_tiny(tmp_path_factory.mktemp("tiny")))))


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    return tmp_path_factory.mktemp("stores")


def cuttable(encoded, starts_inside=()):
    return Cuttable(
        np.append(0, np.cumsum(encoded.lengths)), encoded.sentences.astype(np.uint64),
        encoded.clauses.astype(np.uint64), lambda start, end: encoded.ids[start:end],
        starts_inside,
    )  # fmt: skip


def fewest(lengths, seq_len):
    """Return the least number of segments by looking at all partitions."""

    @cache
    def best(first):
        if first == len(lengths):
            return 0
        sums = np.cumsum(lengths[first:]).tolist()
        ends = [first + 1 + i for i, size in enumerate(sums) if size <= seq_len]
        return 1 + min(best(end) for end in ends)

    return best(0)


@settings(max_examples=60, deadline=None)
@given(lengths=st.lists(st.integers(1, 12), min_size=1, max_size=12), seq_len=st.integers(12, 30))
def test_no_partition_into_whole_sentences_has_fewer_segments(lengths, seq_len):
    ends = np.cumsum(lengths)
    none = np.zeros(0, np.uint64)
    documents = Cuttable(np.array([0, ends[-1]]), ends.astype(np.uint64), none,
                         lambda start, end: np.zeros(end - start), ())  # fmt: skip
    starts, sizes, _ = cut(documents, seq_len=seq_len)
    assert len(starts) == fewest(tuple(lengths), seq_len)
    assert (starts + sizes).tolist() == [*starts.tolist()[1:], int(ends[-1])]
    assert sizes.max() <= seq_len
    assert set((starts + sizes).tolist()) <= set(ends.tolist())
    overlapping = overlapping_segments(lengths, seq_len=seq_len)  # KnowLM's has no fewer either
    assert len(overlapping) == len(starts)
    assert {i for first, end in overlapping for i in range(first, end)} == set(range(len(lengths)))


@settings(max_examples=60, deadline=None)
@given(texts=texts, seq_len=st.integers(8, 40))
def test_segments_are_the_documents_and_cut_no_character(encoder, texts, seq_len):
    encoded = encoder(Shard([Document(text) for text in texts], None, frozenset())).kept
    tokenizer = encoder.tokenizer
    documents = cuttable(encoded, encoder.borders.starts_inside)
    starts, sizes, owners = cut(documents, seq_len=seq_len)
    assert sizes.max() <= seq_len
    assert np.concatenate([np.arange(s, s + n) for s, n in zip(starts, sizes, strict=True)]
                          ).tolist() == list(range(len(encoded.ids)))  # fmt: skip
    for number, text in enumerate(texts):
        pieces = [encoded.ids[s : s + n].tolist() for s, n, o in
                  zip(starts, sizes, owners, strict=True) if o == number]  # fmt: skip
        parts = [tokenizer.decode_continuation(piece) for piece in pieces]
        assert "".join(parts).removeprefix(" ") == text.removeprefix(" ")
        assert "�" not in "".join(parts)


@settings(max_examples=60, deadline=None)
@given(texts=texts, chosen=st.lists(st.booleans(), min_size=5, max_size=5))
def test_it_does_not_matter_what_is_encoded_together_or_left_out(encoder, texts, chosen):
    alone = [encoder(Shard([Document(text)], None, frozenset())).kept for text in texts]
    together = encoder(Shard([Document(text) for text in texts], None, frozenset())).kept
    keep = np.array(chosen[: len(texts)])
    for number, part in enumerate(alone):
        own = together.only(np.arange(len(texts)) == number)
        for name in ("ids", "lengths", "sentences", "clauses", "digests", "text_bytes", "parts"):
            assert getattr(own, name).tolist() == getattr(part, name).tolist(), name
    some = together.only(keep)
    assert len(some.ids) == sum(len(alone[i].ids) for i in np.flatnonzero(keep))


def test_the_two_executed_examples_of_knowlm():
    assert overlapping_segments([500, 500, 10, 500, 500], seq_len=1024) == [(0, 3), (2, 5)]
    assert overlapping_segments([1000, 10, 10, 10, 1000, 5], seq_len=1024) == [(0, 3), (3, 6)]


def test_sentences_end_in_a_sentence_longer_than_a_row_at_clauses(encoder):
    text = "老师写，" * 60 + "。"
    encoded = encoder(Shard([Document(text)], None, frozenset())).kept
    assert len(encoded.sentences) == 1 and len(encoded.clauses) > 10
    starts, sizes, _ = cut(cuttable(encoded), seq_len=50)
    for start, size in zip(starts[:-1], sizes[:-1], strict=True):
        assert encoder.tokenizer.decode_continuation(encoded.ids[start : start + size].tolist()
                                                     ).endswith("，")  # fmt: skip


@pytest.mark.parametrize("text", ["a", "。", "🙂", "a\ud800b", "\x00a\ufeff", " x", "。。。\n\n。"])
def test_odd_texts(encoder, text):
    encoded = encoder(Shard([Document(text)], None, frozenset())).kept
    assert encoded.sentences[-1] == encoded.lengths[-1] == len(encoded.ids)
    assert as_utf8("a\ud800").data == b"a?"


@settings(max_examples=60, deadline=None)
@given(
    documents=st.lists(
        st.lists(st.integers(1, 9), min_size=1, max_size=25), min_size=1, max_size=8
    ),
    seq_len=st.integers(9, 40),
)
def test_packed_rows_hold_whole_sentences_and_every_token_once(stores, documents, seq_len):
    lengths = np.array([sum(document) for document in documents])
    ends = np.cumsum([size for document in documents for size in document])
    none = np.zeros(0, np.int64)
    texts = EncodedDocuments(
        ids=np.arange(lengths.sum()), lengths=lengths, sentences=ends, clauses=none,
        parts=np.ones_like(lengths), digests=none.astype(np.uint64), text_bytes=none,
    )  # fmt: skip
    with StoreWriter(stores, tokenizer_sha256="t", vocab_size=1 << 20) as writer:
        writer.begin("a")
        writer.add_documents(texts)
    rows = PackedRows(TokenStore.open(stores), seq_len=seq_len, seed=0)
    whole = set(zip((np.cumsum(lengths) - lengths).tolist(), lengths.tolist(), strict=True))
    seen = []
    for index in range(rows.rows_per_epoch):
        assert len(rows.row(index).ids) <= seq_len
        for piece in rows.pieces(index):
            seen += range(piece.start, piece.start + piece.length)
            assert piece.start + piece.length in ends
    assert sorted(seen) == list(range(lengths.sum()))
    pieces = {(p.start, p.length) for i in range(rows.rows_per_epoch) for p in rows.pieces(i)}
    assert {part for part in whole if part[1] <= seq_len} <= pieces  # short documents stay whole
