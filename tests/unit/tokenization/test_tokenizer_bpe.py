"""Training of byte-level BPE tokenizers."""

import pytest
from transformers import AutoTokenizer

from hanlin.core.errors import ConfigError, InputError
from hanlin.tokenization.bpe import train_byte_bpe
from hanlin.tokenization.load import load

TEXTS = (
    "the old town, the old bridge: 12345", "河流 ＡＢ 🙂🙂 \n\n x\u0301 ",
    "don't </s> <|end_of_text|>", "",
)  # fmt: skip


@pytest.fixture(scope="module", params=["llama3", "qwen2"])
def trained(request, english, tmp_path_factory):
    out = tmp_path_factory.mktemp("bpe") / request.param
    return train_byte_bpe(
        english, vocab_size=340, out=out, style=request.param, special_tokens=["<end>"]
    )


def test_every_text_comes_back_and_transformers_agrees(trained):
    tokenizer, theirs = load(trained), AutoTokenizer.from_pretrained(trained)
    assert tokenizer.vocab_size == len(theirs) == 340
    for text in TEXTS:
        ids = tokenizer.encode(text, at_start=True)
        assert tokenizer.decode(ids) == text
        assert tokenizer.encode(text, at_start=False) == ids  # no dummy space
        if "<|" not in text:
            assert theirs.encode(text, add_special_tokens=False) == ids


def test_special_tokens_are_last_and_never_made_from_text(trained):
    tokenizer = load(trained)
    special = [tokenizer.eos_id, tokenizer.pad_id, tokenizer.vocabulary["<end>"]]
    assert len(set(special)) == 3 and max(special) == 339
    ids = tokenizer.encode("<end> <|im_end|> <|end_of_text|>", at_start=True)
    assert max(ids) < min(special)
    theirs = AutoTokenizer.from_pretrained(trained)
    assert theirs.eos_token_id == tokenizer.eos_id and theirs.pad_token_id == tokenizer.pad_id
    assert theirs.encode("<end>", add_special_tokens=False) == [special[2]]
    first = theirs.encode("x")[0]
    assert (first == tokenizer.bos_id) is (tokenizer.bos_id is not None)


def test_numbers_are_cut_as_the_style_says(english, tmp_path):
    texts = [*english, "1234567890 " * 50]
    cuts = {}
    for style in ("llama3", "qwen2"):
        tokenizer = load(train_byte_bpe(texts, vocab_size=400, out=tmp_path / style, style=style))
        ids = tokenizer.encode("1234567890", at_start=True)
        cuts[style] = [tokenizer.bytes_of(index) for index in ids]
    assert cuts == {"llama3": [b"123", b"456", b"789", b"0"], "qwen2": [b"%d" % d for d in
                    (*range(1, 10), 0)]}  # fmt: skip


def test_the_same_texts_give_the_same_bytes(english, tmp_path):
    folders = [train_byte_bpe(iter(english), vocab_size=420, out=tmp_path / name) for name in "ab"]
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()


def test_a_small_corpus_gives_a_smaller_vocabulary(tmp_path, caplog):
    tokenizer = load(train_byte_bpe(["aa bb"], vocab_size=900, out=tmp_path / "t"))
    assert tokenizer.vocab_size < 300
    assert "not 900: the corpus holds no more repeated pieces" in caplog.text


def test_wrong_input(tmp_path):
    with pytest.raises(InputError, match="corpus for the tokenizer is empty") as caught:
        train_byte_bpe([" ", "\n"], vocab_size=300, out=tmp_path / "t")
    assert "no text in it" in caught.value.why and "give files" in caught.value.fix
    with pytest.raises(ConfigError, match="vocabulary of 259 is too small") as caught:
        train_byte_bpe(["a"], vocab_size=259, out=tmp_path / "t")
    assert "259 entries are taken" in caught.value.why and "more than 259" in caught.value.fix
    with pytest.raises(ConfigError, match="unknown style 'gpt9'") as caught:
        train_byte_bpe(["a"], vocab_size=300, out=tmp_path / "t", style="gpt9")
    assert "llama3, qwen2" in caught.value.fix
    assert not (tmp_path / "t").exists()
