"""What holds for every text, not only for the ones we thought of."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hanlin.core.errors import InputError
from hanlin.tokenization import sentencepiece
from hanlin.tokenization.extend import extend
from hanlin.tokenization.load import load
from hanlin.tokenization.train import train_sentencepiece, write_folder

CORPUS = ["the old town </s> the river  and the <s> bridge\n" * 3, "一 two 三"]
PIECES = ["古", "城", "河", "流", "，", "古城", "河流", "▁河", "古城河流", "ab古"]
SPACE = "\u2581"  # SentencePiece writes a space so: in a text it cannot be told from one

words = st.sampled_from(
    ["the", " ", "  ", "\n", "</s>", "<s>", "<0x41>", "古城", "河流", "，", "🙂", "ab古"]
)
texts = st.one_of(st.text(), st.lists(words).map("".join)).filter(lambda t: SPACE not in t)
quick = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tokenizers")


@pytest.fixture(scope="module")
def base(folder):
    return load(train_sentencepiece(CORPUS, vocab_size=300, out=folder / "base"))


@pytest.fixture(scope="module")
def extended(base, folder):
    return load(write_folder(extend(base, PIECES).model, folder / "extended"))


@pytest.fixture(scope="module")
def processor(extended):
    return sentencepiece.processor(sentencepiece.parse_model(extended.spm_model, name="extended"))


@quick
@given(text=texts)
def test_text_comes_back_and_holds_no_special_token(extended, text):
    start, rest = (extended.encode(text, at_start=flag) for flag in (True, False))
    assert extended.decode(start) == text
    assert extended.decode_continuation(rest) == text
    assert b"".join(map(extended.bytes_of, rest)) == text.encode()
    assert min([*start, *rest], default=3) >= 3


@quick
@given(text=texts)
def test_ids_are_those_of_sentencepiece(extended, processor, text):
    assert extended.encode(text, at_start=True) == processor.encode(text)


@quick
@given(text=texts)
def test_a_start_is_a_continuation_with_a_space(extended, text):
    with_space = extended.encode(" " + text, at_start=False) if text else []
    assert extended.encode(text, at_start=True) == with_space


@quick
@given(text=st.text(alphabet=st.characters(max_codepoint=0x24F)))
def test_texts_in_latin_script_keep_their_ids(base, extended, text):
    assert extended.encode(text, at_start=True) == base.encode(text, at_start=True)


pieces = st.lists(st.text(alphabet="古城河流a", min_size=1, max_size=5), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(offered=pieces, text=st.text(alphabet="古城河流a 1", max_size=30))
def test_any_extension_is_reachable_and_agrees_with_sentencepiece(base, folder, offered, text):
    try:
        made = extend(base, offered)
    except InputError as error:
        assert "not one of the offered pieces" in str(error)
        return
    new = load(write_folder(made.model, folder / "any"))
    processor = sentencepiece.processor(made.model)
    for index, piece in enumerate(made.added, start=base.vocab_size):
        assert new.encode(piece, at_start=False) == [index]
    assert new.encode(text, at_start=True) == processor.encode(text)
    assert new.decode(new.encode(text, at_start=True)) == text
