import pytest

from hanlin.core.errors import ConfigError, InputError
from hanlin.tokenization.load import load
from hanlin.tokenization.train import train_sentencepiece


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
    with pytest.raises(ConfigError, match="unknown tokenizer type 'unigram'"):
        train_sentencepiece(["text"], vocab_size=400, out=tmp_path / "out", model_type="unigram")


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
