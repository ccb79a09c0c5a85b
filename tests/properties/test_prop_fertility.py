"""Counts of tokens add up, whatever the texts are."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanlin.tokenization.fertility import batches, measure
from hanlin.tokenization.load import load
from hanlin.tokenization.train import train_sentencepiece

texts = st.lists(st.text(st.characters(codec="utf-8"), max_size=30), max_size=5)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    out = tmp_path_factory.mktemp("t") / "tokenizer"
    lines = ["the old bridge crosses the river", "河流穿过古城，古桥横跨河流。"] * 3
    return load(train_sentencepiece(lines, vocab_size=320, out=out))


@given(texts, texts)
@settings(max_examples=60, deadline=None)
def test_sums_and_shares(tokenizer, first, second):
    one, two = measure(tokenizer, first), measure(tokenizer, second)
    assert one + two == measure(tokenizer, [*first, *second])
    assert one.characters == sum(map(len, first))
    assert one.bytes == len("".join(first).encode())
    assert 0 <= one.byte_fallback_bytes <= one.bytes
    assert 0 <= one.byte_fallback_share <= 1 and 0 <= one.bytes_fallen_back_share <= 1


@given(st.lists(st.integers(0, 400_000), max_size=30))
def test_batches_keep_order_and_are_bounded(lengths):
    found = list(batches(lengths, characters=lambda length: length))
    assert [length for batch in found for length in batch] == lengths
    assert all(batch and sum(batch) < 900_000 for batch in found)
