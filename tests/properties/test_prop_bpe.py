"""Byte-level BPE: what holds for every text and every corpus."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from hanlin.core.errors import InputError
from hanlin.tokenization.bpe import train_byte_bpe
from hanlin.tokenization.bpe_extend import extend_byte_bpe, unreachable
from hanlin.tokenization.load import load
from hanlin.tokenization.pair_counts import PairCounts

CORPUS = ["the old town </s> the river  and the “old” bridge\n" * 3, "aa aaa aaaa 12 123 1234"]
CHINESE = ["河流穿过古城，古桥横跨河流。\n", "一 two 三，古城很老！", "河河河河 🙂🙂 １２３"] * 3

words = st.sampled_from(["the", " ", "  ", "\n", "</s>", "<end>", "古城", "河", "，", "🙂", "aa"])
texts = st.one_of(st.text(), st.lists(words).map("".join))
quick = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module", params=["llama3", "qwen2"])
def base(request, tmp_path_factory):
    out = tmp_path_factory.mktemp("bpe") / request.param
    return load(train_byte_bpe(CORPUS, vocab_size=290, out=out, style=request.param,
                               special_tokens=["<end>"]))  # fmt: skip


@pytest.fixture(scope="module")
def extended(base, tmp_path_factory):
    out = tmp_path_factory.mktemp("bpe") / "extended"
    extend_byte_bpe(base, CHINESE, add=40, control=CORPUS).tokenizer.save(out)
    return load(out)


@pytest.fixture(scope="module")
def theirs(extended):
    return AutoTokenizer.from_pretrained(extended.path)


@quick
@given(text=texts)
def test_text_comes_back_in_every_engine(base, extended, theirs, text):
    for tokenizer in (base, extended):
        ids = tokenizer.encode(text, at_start=True)
        assert tokenizer.decode(ids) == text
        assert b"".join(map(tokenizer.bytes_of, ids)) == text.encode()
    assert theirs.decode(theirs.encode(text, add_special_tokens=False)) == text
    if "<end>" not in text:  # a special token for them, text for us
        assert theirs.encode(text, add_special_tokens=False) == ids


@quick
@given(text=st.text(alphabet=st.characters(max_codepoint=0x36F) | st.sampled_from("“”")))
def test_texts_in_latin_script_keep_their_ids(base, extended, text):
    assert extended.encode(text, at_start=True) == base.encode(text, at_start=True)


alphabet = st.text(alphabet="河流沁a 1，é🙂𠀀", min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(corpus=st.lists(alphabet, min_size=1, max_size=6), add=st.integers(1, 12))
def test_any_extension_is_reachable_and_saves_what_it_says(base, corpus, add):
    corpus = corpus * 2
    try:
        made = extend_byte_bpe(base, corpus, add=add)
    except InputError as error:
        assert "not one token can be added" in str(error)
        return
    new = made.tokenizer
    assert unreachable(new, first=base.vocab_size) == []
    assert len(set(made.added)) == len(made.added) <= add
    before, after = (
        sum(len(tokenizer.encode(text, at_start=True)) for text in corpus)
        for tokenizer in (base, new)
    )
    assert before - after >= sum(made.saved)
    assert before - after == sum(made.saved) or made.duplicates


small_words = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=9), min_size=1, max_size=6)


@settings(max_examples=300, deadline=None)
@given(corpus=small_words, counts=st.lists(st.integers(1, 4), min_size=6, max_size=6))
def test_counts_are_those_of_a_plain_loop(corpus, counts):
    pairs, plain = PairCounts(corpus, counts[: len(corpus)]), [list(word) for word in corpus]
    for new_id in range(10, 30):
        found = Counter()
        for word, count in zip(plain, counts, strict=False):
            for pair in pairwise(word):
                found[pair] += count
        expected = min(found.items(), key=lambda item: (-item[1], item[0]), default=None)
        assert pairs.best(least=1) == expected
        if expected is None:
            return
        pairs.merge(expected[0], new_id)
        plain = [merged(word, expected[0], new_id) for word in plain]


def merged(word, pair, new_id):
    result = []
    for token in word:
        if result and (result[-1], token) == pair:
            result[-1] = new_id
        else:
            result.append(token)
    return result
