"""What holds for every text, not only for the ones we thought of."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hanlin.core.errors import InputError
from hanlin.tokenization import backend, sentencepiece
from hanlin.tokenization.extend import extend
from hanlin.tokenization.load import load
from hanlin.tokenization.sentencepiece_extend import finished
from hanlin.tokenization.train import Training, train_sentencepiece, write_folder

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


def extended_by(base, offered, **settings):
    """The base with pieces, or as it is if not one of them can be added."""
    try:
        made = extend(base, offered, **settings)
    except InputError as error:
        assert "not one of the offered pieces" in str(error)
        return base, ()
    return finished(base, made, special=["<end>"], pad_to_multiple=8)[0], made.added


@settings(max_examples=120, deadline=None)
@given(offered=pieces, text=st.text(alphabet="古城河流a 1", max_size=30), equal=st.booleans())
def test_any_extension_is_reachable_and_agrees_with_sentencepiece(base, offered, text, equal):
    new, added = extended_by(base, offered, equal=equal)
    check(new, base.vocab_size, added, text)


@settings(max_examples=120, deadline=None)
@given(
    offered=pieces, more=pieces, text=st.text(alphabet="古城河流a 1", max_size=30),
    equal=st.tuples(st.booleans(), st.booleans()),
)  # fmt: skip
def test_an_extension_of_an_extension_agrees_too(base, offered, more, text, equal):
    once, _ = extended_by(base, offered, equal=equal[0])
    twice, added = extended_by(once, more, equal=equal[1])
    check(twice, once.vocab_size, added, text)


def check(new, first, added, text):
    processor = sentencepiece.processor(sentencepiece.parse_model(new.spm_model, name="new"))
    theirs = backend.tokenizers_encoder(new.content)
    for index, piece in enumerate(added, start=first):
        assert new.encode(piece, at_start=False) == theirs.one(piece) == [index]
    expected = processor.encode(text)
    assert new.encode(text, at_start=True) == expected
    assert theirs.one(" " + text if text else "") == expected
    assert new.decode(expected) == text


@pytest.fixture(
    scope="module", params=["bpe", "unigram", "bpe with symbols", "unigram with symbols"]
)
def trained(request, folder):
    """A tokenizer of each type, and what two other libraries make of a text's start."""
    kind, _, symbols = request.param.partition(" with ")
    training = Training(model_type=kind, symbols=("<sep>", "古") if symbols else ())
    out = train_sentencepiece(
        [*CORPUS, "古城河流，" * 3, "a=b==c <sep> d"], vocab_size=330, out=folder / request.param,
        training=training,
    )  # fmt: skip
    return load(out), sentencepiece.processor(sentencepiece.read_model(out / "tokenizer.model"))


runs = st.lists(st.text("a= 1\n河", min_size=1, max_size=3).map(lambda t: t * 9)).map("".join)
spelled = st.lists(words | st.sampled_from(["<sep>", "<se", "p>", "古", "<0x4", "1>"])).map("".join)


@quick
@given(text=texts | runs | spelled)
def test_every_type_comes_back_and_agrees_with_both_libraries(trained, text):
    tokenizer, processor = trained
    start, rest = (tokenizer.encode(text, at_start=flag) for flag in (True, False))
    assert tokenizer.decode(start) == tokenizer.decode_continuation(rest) == text
    assert b"".join(map(tokenizer.bytes_of, rest)) == text.encode()
    assert start == processor.encode(text)
    assert rest == backend.tokenizers_encoder(tokenizer.content).one(text)
    assert tokenizer.encode_batch([text, "", text], at_start=True) == [start, [], start]
