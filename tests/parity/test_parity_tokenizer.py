"""The same ids from our folders in transformers, in sentencepiece, and in our own class."""

import pytest

from hanlin.tokenization import sentencepiece
from hanlin.tokenization.extend import Config, extend_files
from hanlin.tokenization.fertility import measure
from hanlin.tokenization.load import load
from hanlin.tokenization.texts import read_texts
from hanlin.tokenization.train import train_sentencepiece

TEXTS = [
    "",
    "The river runs through the old town.",
    " one leading space",
    "   three leading,  two inside,   three trailing   ",
    "line\nnew line\n\n\tindented\r\n",
    "河流穿过古城，古桥横跨河流。",
    "Mixed 中文 and English，with ＦＵＬＬ　ＷＩＤＴＨ，１２３",
    "emoji 🙂 👍🏽 👨‍👩‍👧 🇨🇳",
    "rare 鱻 𠀀 and e\u0301, \u200b, \ufeff, \x00",
    "<0x0A> </ s> <unk",
    "====----~~~~" * 9,
    *(" " * count for count in range(1, 40)),
    *(f"a{' ' * count}b" for count in range(1, 40)),
]


def check(folder, texts):
    from transformers import AutoTokenizer

    ours, theirs = load(folder), AutoTokenizer.from_pretrained(folder)
    model = sentencepiece.read_model(folder / "tokenizer.model")
    processor = sentencepiece.processor(model)
    assert len(theirs) == ours.vocab_size == processor.get_piece_size()
    for text in texts:
        expected = processor.encode(text)
        assert ours.encode(text, at_start=True) == expected, text
        assert theirs.encode(text, add_special_tokens=False) == expected, text
        assert theirs.decode(expected) == ours.decode(expected) == processor.decode(expected)
    assert theirs.encode("a")[0] == theirs.bos_token_id == ours.bos_id
    assert theirs.pad_token_id == ours.pad_id != theirs.eos_token_id


def test_a_trained_tokenizer(tmp_path):
    check(train_sentencepiece(TEXTS, vocab_size=420, out=tmp_path / "made"), TEXTS)


def test_an_extended_tokenizer(tmp_path):
    base = train_sentencepiece(TEXTS[:5], vocab_size=320, out=tmp_path / "base")
    corpus = tmp_path / "zh.txt"
    corpus.write_text("\n".join([TEXTS[5], TEXTS[6], TEXTS[5][::-1]] * 3), encoding="utf-8")
    config = Config(base=str(base), corpus=[str(corpus)], add=30)
    extend_files(config, folder=tmp_path / "extended")
    check(tmp_path / "extended", TEXTS)


def test_a_model_config_beside_it_does_not_change_the_ids(tmp_path):
    """transformers picks another tokenizer class where config.json says llama."""
    folder = train_sentencepiece(TEXTS, vocab_size=420, out=tmp_path / "made")
    (folder / "config.json").write_text('{"model_type": "llama"}')
    check(folder, TEXTS)


@pytest.mark.real_data
def test_llama_with_chinese_pieces(real_data, tmp_path):
    base = real_data / "tokenizers" / "llama"
    config = Config(base=str(base), pieces=str(real_data / "tokenizers" / "chinese_sp.model"))
    report, _ = extend_files(config, folder=tmp_path / "extended")
    assert report["added"] > 15_000
    english = [row.text for row in read_texts(real_data / "corpus" / "en_c4_demo.jsonl")][:100]
    chinese = [row.text for row in read_texts(real_data / "corpus" / "wikipedia_zh_extracts.jsonl")]
    before, after = load(base), load(tmp_path / "extended")
    check(tmp_path / "extended", [*TEXTS, *english, *chinese[:100]])
    assert [after.piece_of(i) for i in range(32000)] == [before.piece_of(i) for i in range(32000)]
    assert measure(after, english) == measure(before, english)
    halved = measure(before, chinese[:100]).tokens_per_character / 1.9
    assert measure(after, chinese[:100]).tokens_per_character < halved
    texts = [*english, *chinese[:100]]
    assert [after.decode(after.encode(text, at_start=True)) for text in texts] == texts
