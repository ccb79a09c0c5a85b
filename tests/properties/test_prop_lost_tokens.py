"""Tokens that llama.cpp does not report are found again, or are said to be unknown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanlin.inference.lost_tokens import LostTokens
from hanlin.models.tiny import SAMPLE_TEXTS
from hanlin.tokenization.bpe import train_byte_bpe
from hanlin.tokenization.load import Tokenizer, load
from hanlin.tokenization.train import train_sentencepiece

all_unicode = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
rare = st.text("鑫🙂囍é𠀀 a", max_size=20)


@pytest.fixture(scope="module", params=["sentencepiece", "bpe"])
def tokenizer(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Tokenizer:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "sentencepiece":
        return load(train_sentencepiece(SAMPLE_TEXTS, vocab_size=400, out=folder, seed=0))
    return load(
        train_byte_bpe([*SAMPLE_TEXTS, "鑫囍🙂" * 9], vocab_size=500, out=folder, style="llama3")
    )


def reports(tokenizer: Tokenizer, ids: list[int]) -> list[tuple[str, list[int]]]:
    """Return what llama.cpp's stream tells: texts of whole characters, and all their tokens."""
    found, data, waiting = [], b"", list[int]()
    for token in ids:
        data, waiting = data + tokenizer.bytes_of(token), [*waiting, token]
        try:
            found.append((data.decode(), waiting))
        except UnicodeDecodeError:
            continue
        data, waiting = b"", []
    return found


@given(all_unicode | rare)
def test_they_are_found_or_unknown(tokenizer: Tokenizer, text: str) -> None:
    lost = LostTokens(tokenizer)
    for said, ids in reports(tokenizer, tokenizer.encode(text, at_start=True)):
        found = lost.find(said, last=ids[-1], count=len(ids) - 1)
        assert found in (ids[:-1], None)
        single_bytes = all(tokenizer.is_byte(token) for token in ids)
        if single_bytes and "\ufffd" not in said:
            assert found == ids[:-1]


def test_a_text_with_the_replacement_mark_is_unknown(tokenizer: Tokenizer) -> None:
    assert LostTokens(tokenizer).find("\ufffda", last=tokenizer.encode("a", at_start=False)[-1],
                                      count=1) is None  # fmt: skip
