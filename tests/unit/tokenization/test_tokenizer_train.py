import json

import pytest

from hanlin.core.errors import ConfigError, InputError
from hanlin.tokenization import sentencepiece
from hanlin.tokenization.load import load
from hanlin.tokenization.train import Training, train_sentencepiece


def train(texts, folder, vocab_size=400, **settings):
    training = Training(**settings)
    out = train_sentencepiece(texts, vocab_size=vocab_size, out=folder / "out", training=training)
    return load(out)


def test_the_same_corpus_and_seed_give_the_same_bytes(tmp_path, english, chinese):
    folders = [
        train_sentencepiece(english + chinese, vocab_size=400, out=tmp_path / name, seed=3)
        for name in ("a", "b")
    ]
    for file in ("tokenizer.model", "tokenizer.json", "tokenizer_config.json"):
        assert (folders[0] / file).read_bytes() == (folders[1] / file).read_bytes()


@pytest.mark.parametrize("texts", [[], [""], ["\n", "   ", "\u3000\n"]])
def test_an_empty_corpus_is_refused(tmp_path, texts):
    with pytest.raises(InputError, match="the corpus for the tokenizer is empty"):
        train_sentencepiece(texts, vocab_size=400, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_corpus_too_small_for_the_vocabulary_lowers_it_with_a_warning(tmp_path, caplog):
    out = train_sentencepiece(["hello 你好"], vocab_size=5000, out=tmp_path / "out")
    assert load(out).vocab_size < 300
    assert "entries, not 5000" in caplog.text
    assert load(out).decode(load(out).encode("other 字", at_start=True)) == "other 字"


def test_a_vocabulary_without_room_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="a vocabulary of 259 is too small"):
        train_sentencepiece(["text"], vocab_size=259, out=tmp_path / "out")


def test_another_type_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="unknown tokenizer type 'word'"):
        train(["text"], tmp_path, model_type="word")


def test_more_characters_than_places_fall_back_to_bytes(tmp_path):
    every = "".join(chr(0x4E00 + index) for index in range(500))
    out = train_sentencepiece([every, "古城古城古城"], vocab_size=300, out=tmp_path / "out")
    tokenizer = load(out)
    assert tokenizer.vocab_size == 300
    assert tokenizer.encode("古城", at_start=True) == tokenizer.encode(" 古城", at_start=False)
    assert not any(map(tokenizer.is_byte, tokenizer.encode("古城", at_start=True)))
    assert tokenizer.decode(tokenizer.encode(every, at_start=True)) == every


def test_a_line_longer_than_sentencepiece_reads_is_learned_from(tmp_path):
    out = train_sentencepiece(["lantern " * 5000], vocab_size=280, out=tmp_path / "out")
    tokenizer = load(out)
    assert "▁lantern" in tokenizer.vocabulary


def test_digits_stay_apart(base):
    assert [base.bytes_of(i) for i in base.encode("1912", at_start=False)] == [
        b"1",
        b"9",
        b"1",
        b"2",
    ]


def test_nothing_is_normalized(base):
    assert base.decode(base.encode("Ａ　ﬁ  ①", at_start=True)) == "Ａ　ﬁ  ①"


def test_a_unigram_tokenizer(tmp_path, english, chinese):
    from transformers import AutoTokenizer

    tokenizer = train(english + chinese, tmp_path, vocab_size=360, model_type="unigram")
    theirs = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert (
        json.loads((tmp_path / "out" / "tokenizer.json").read_text())["model"]["type"] == "Unigram"
    )
    assert tokenizer.vocab_size == len(theirs) > 340
    for text in [english[0], *chinese, "  two  spaces", "<0x41> 鱻 🙂", "======="]:
        ids = tokenizer.encode(text, at_start=True)
        assert theirs.encode(text, add_special_tokens=False) == ids
        assert theirs.decode(ids) == tokenizer.decode(ids) == text
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id) == (1, 2, 0)


def test_scores_of_a_unigram_model_are_exact_in_every_precision(tmp_path, english):
    train(english, tmp_path, vocab_size=350, model_type="unigram")
    model = sentencepiece.read_model(tmp_path / "out" / "tokenizer.model")
    assert all((piece.score * 256).is_integer() for piece in model.pieces)


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_symbols_and_special_tokens(tmp_path, english, kind):
    tokenizer = train(
        [*english, "<sep> one<sep>two"] * 2, tmp_path, vocab_size=360, model_type=kind,
        symbols=("<sep>", "<br>"), special=("<end>", "<user>"),
    )  # fmt: skip
    sep, end = tokenizer.vocabulary["<sep>"], tokenizer.vocabulary["<end>"]
    assert tokenizer.encode("a<sep><sep> b", at_start=True).count(sep) == 2
    assert tokenizer.decode(tokenizer.encode(" a<sep> b<br>", at_start=True)) == " a<sep> b<br>"
    assert tokenizer.hf.encode("<sep>", add_special_tokens=False) == [sep]
    assert end not in tokenizer.encode("the <end> <user>", at_start=True)
    assert (tokenizer.bytes_of(sep), tokenizer.bytes_of(end)) == (b"<sep>", b"")
    assert tokenizer.hf.encode("<end>", add_special_tokens=False) == [end]


def test_no_dummy_space_with_symbols(tmp_path, english):
    tokenizer = train(english, tmp_path, symbols=("<sep>",), vocab_size=340)
    assert tokenizer.encode("town", at_start=True) == tokenizer.encode("town", at_start=False)


@pytest.mark.parametrize("names", [("a b",), ("",), ("<x>", "<x>"), ("▁",), ("\t",)])
def test_bad_names_of_symbols(tmp_path, names):
    with pytest.raises(ConfigError, match="cannot be a symbol or a special token"):
        train(["text"], tmp_path, symbols=names)


def test_symbols_take_places(tmp_path):
    with pytest.raises(ConfigError, match="a vocabulary of 261 is too small") as caught:
        train(["text"], tmp_path, vocab_size=261, symbols=("<a>",), special=("<b>",))
    assert "261 entries are taken" in caught.value.why


def test_character_coverage(tmp_path):
    texts = ["河流" * 50, "罕"]
    every = train(texts, tmp_path / "a", vocab_size=300)
    most = train(texts, tmp_path / "b", vocab_size=300, character_coverage=0.99)
    assert "罕" in every.vocabulary
    assert "罕" not in most.vocabulary and {"河", "流"} <= most.vocabulary.keys()


def test_a_sample_of_the_lines_is_learned_from(tmp_path):
    texts = (f"line number{i} " for i in range(5000))
    few = train(texts, tmp_path / "a", vocab_size=300, max_sentences=100, seed=1)
    again = train(
        (f"line number{i} " for i in range(5000)), tmp_path / "b", vocab_size=300,
        max_sentences=100, seed=1,
    )  # fmt: skip
    assert few.sha256 == again.sha256
    assert "▁line" in few.vocabulary
