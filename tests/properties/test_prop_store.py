"""Whatever is written to a store is read back."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanlin.data.store import StoreWriter, TokenStore

documents = st.lists(st.lists(st.integers(0, 70_000), max_size=20), max_size=8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("stores")


@settings(max_examples=50, deadline=None)
@given(sources=st.lists(documents, min_size=1, max_size=3), has_mask=st.booleans())
def test_round_trip(folder, sources, has_mask):
    masks = [[[i % 3 == 0 for i in document] for document in source] for source in sources]
    with StoreWriter(folder, tokenizer_sha256="t", vocab_size=70_001, has_mask=has_mask) as writer:
        for number, source in enumerate(sources):
            writer.begin(f"s{number}")
            for document, mask in zip(source, masks[number], strict=True):
                writer.add(document, trained=mask if has_mask else None, text_bytes=len(document))
    store = TokenStore.open(folder)
    for number, source in enumerate(sources):
        offsets = store.offsets(number).tolist()
        assert store.lengths(number).tolist() == [len(document) for document in source]
        spans = list(pairwise(offsets))
        assert [store.ids(number, *span).tolist() for span in spans] == source
        read = [store.mask(number, *span).tolist() for span in spans]
        assert read == (masks[number] if has_mask else [[True] * len(d) for d in source])
        trained = sum(map(sum, masks[number])) if has_mask else sum(map(len, source))
        assert store.sources[number].trained_tokens == trained
        assert store.sources[number].documents == len(source)
    assert store.tokens == sum(len(document) for source in sources for document in source)
