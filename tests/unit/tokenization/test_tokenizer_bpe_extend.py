"""Byte-level BPE tokenizers that get tokens for a new language."""

import json
from collections import Counter

import pytest
from transformers import AutoTokenizer

from hanlin.core.errors import InputError
from hanlin.tokenization import bpe_words
from hanlin.tokenization.backend import byte_alphabet
from hanlin.tokenization.bpe import train_byte_bpe
from hanlin.tokenization.bpe_extend import extend_byte_bpe, texts_with, unreachable
from hanlin.tokenization.bpe_words import count_words
from hanlin.tokenization.extend import Config, extend_files
from hanlin.tokenization.load import from_content, load
from hanlin.tokenization.special_tokens import with_special_tokens
from hanlin.tokenization.utf8 import completions, open_end

BLOCK = [chr(0x4E00 + offset) for offset in range(64)]  # all characters that begin with E4 B8


@pytest.fixture(scope="module", params=["llama3", "qwen2"])
def base(request, english, tmp_path_factory):
    out = tmp_path_factory.mktemp("bpe") / request.param
    return load(
        train_byte_bpe(english, vocab_size=340, out=out, style=request.param,
                       special_tokens=["<|tool|>"])
    )  # fmt: skip


@pytest.fixture(scope="module")
def extension(base, english, chinese):
    return extend_byte_bpe(base, chinese, add=40, control=english)


def test_base_ids_and_english_texts_stay(base, extension, english):
    new = extension.tokenizer
    assert new.vocab_size == base.vocab_size + len(extension.added) == base.vocab_size + 40
    assert all(new.bytes_of(i) == base.bytes_of(i) for i in range(base.vocab_size))
    assert (new.bos_id, new.eos_id, new.pad_id) == (base.bos_id, base.eos_id, base.pad_id)
    for text in [*english, "naïve café “quoted” … 🙂 Ωmega €"]:
        assert new.encode(text, at_start=True) == base.encode(text, at_start=True)


def test_special_tokens_alone_are_added(base, english, tmp_path):
    config = Config(base=str(base.path), special=["<end>", "<|tool|>"])
    report, _ = extend_files(config, folder=tmp_path)
    made = load(tmp_path)
    assert made.special_id("<end>") == base.vocab_size and report["special_added"] == 1
    for text in [*english, "<end>古"]:
        assert made.encode(text, at_start=True) == base.encode(text, at_start=True)


def test_chinese_gets_shorter_and_comes_back(base, extension, chinese):
    new = extension.tokenizer
    for text in chinese:
        ids = new.encode(text, at_start=True)
        assert 2 * len(ids) < len(base.encode(text, at_start=True))
        assert new.decode(ids) == text


def test_every_new_token_is_the_encoding_of_a_text(base, extension):
    new = extension.tokenizer
    assert unreachable(new, first=base.vocab_size) == []
    pieces = 0
    for index, token in enumerate(extension.added, start=base.vocab_size):
        assert new.bytes_of(index) == token
        if open_end(token):
            pieces += 1
            assert any(index in new.encode(text, at_start=True) for text in texts_with(token))
        else:
            assert new.encode(token.decode(), at_start=True) == [index]
    assert pieces > 0


def test_transformers_reads_the_same_ids(base, extension, tmp_path, chinese):
    extension.tokenizer.save(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    assert len(theirs) == extension.tokenizer.vocab_size
    assert theirs.convert_tokens_to_ids("<|tool|>") == base.vocabulary["<|tool|>"]
    for text in [*chinese, "the old 河 bridge"]:
        ids = extension.tokenizer.encode(text, at_start=True)
        assert theirs.encode(text, add_special_tokens=False) == ids
        assert theirs.decode(ids) == text


def test_tokens_are_those_that_save_most(extension, chinese, base):
    assert extension.saved[0] > extension.saved[-1] >= 2
    saved = sum(
        len(base.encode(t, at_start=True)) - len(extension.tokenizer.encode(t, at_start=True))
        for t in chinese
    )
    assert sum(extension.saved) == saved  # no merge was free: every one made a new token
    assert extension.duplicates == 0


def test_no_token_joins_a_character_to_a_piece_of_the_next(extension):
    for token in extension.added:
        start = open_end(token)
        assert start == token or not start


def test_where_all_characters_of_a_block_have_tokens_one_gives_its_own_up(base):
    texts = [c for i, c in enumerate(BLOCK) for _ in range(200 - i)]
    made = extend_byte_bpe(base, texts, add=66)
    assert made.unreachable == 1
    assert b"\xe4\xb8" in made.added and made.added.count(BLOCK[63].encode()) == 0
    assert all(c.encode() in made.added for c in BLOCK[:63])
    prefix = base.vocab_size + made.added.index(b"\xe4\xb8")
    assert prefix in made.tokenizer.encode(BLOCK[63], at_start=True)


def test_an_entry_that_is_there_costs_no_new_one(base):
    """A base that has a character as an entry, but no merges on the way from its bytes."""
    letters = {byte: letter for letter, byte in byte_alphabet().items()}
    piece = "".join(letters[byte] for byte in "河".encode())
    model = base.content["model"]
    index = base.vocab_size
    content = base.content | {"model": model | {"vocab": base.vocabulary | {piece: index}}}
    with_river = from_content(content, settings=base.settings, path=base.path)
    made = extend_byte_bpe(with_river, ["河河河"] * 3, add=2)
    assert made.added == (b"\xe6\xb2", "河河".encode()) and made.duplicates == 1
    assert made.tokenizer.encode("a河", at_start=True)[1:] == [index]


def test_pairs_that_base_texts_could_hold_need_permission(base):
    texts = ["zqzq zqzq zqzq"] * 9 + ["河"] * 3
    strict = extend_byte_bpe(base, texts, add=9)
    assert all(b"zq" not in token for token in strict.added)
    free = extend_byte_bpe(base, texts, add=9, allow_changed=True)
    assert any(b"zq" in token for token in free.added)


def test_punctuation_is_foreign_where_control_texts_do_without_it(english, tmp_path):
    quoted = [f"“{text}”" for text in english]
    base = load(train_byte_bpe(quoted, vocab_size=340, out=tmp_path / "base"))
    texts = ["……" * 4] * 9
    with pytest.raises(InputError, match="not one token can be added"):
        extend_byte_bpe(base, texts, add=5)
    made = extend_byte_bpe(base, texts, add=4, control=quoted)
    assert made.added == tuple(("…" * count).encode() for count in (1, 2, 4, 8))
    with pytest.raises(InputError, match="not one token can be added"):
        extend_byte_bpe(base, texts, add=5, control=["more …"])


def test_merges_written_as_text_stay_so(base, chinese, tmp_path):
    content = json.loads(json.dumps(base.content))
    merges = content["model"]["merges"]
    content["model"]["merges"] = [m if isinstance(m, str) else " ".join(m) for m in merges]
    old = from_content(content, settings=base.settings, path=base.path)
    made = extend_byte_bpe(old, chinese, add=20).tokenizer
    assert all(isinstance(merge, str) for merge in made.content["model"]["merges"])
    same = extend_byte_bpe(base, chinese, add=20).tokenizer
    assert all(made.encode(t, at_start=True) == same.encode(t, at_start=True) for t in chinese)


def test_special_tokens_outside_the_vocabulary_keep_their_ids(base, chinese, tmp_path):
    """LLaMA 3's own file lists its special tokens beside the vocabulary only."""
    special = {t["content"] for t in base.content["added_tokens"]}
    vocab = {t: i for t, i in base.content["model"]["vocab"].items() if t not in special}
    content = base.content | {"model": base.content["model"] | {"vocab": vocab}}
    bare = from_content(content, settings=base.settings, path=base.path)
    extend_byte_bpe(bare, chinese, add=20).tokenizer.save(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    for name in special:
        assert (
            theirs.convert_tokens_to_ids(name)
            == base.vocabulary[name]
            == load(tmp_path).vocabulary[name]
        )


def test_two_runs_give_the_same_tokenizer(base, chinese, english):
    made = [extend_byte_bpe(base, iter(chinese), add=30, control=english) for _ in range(2)]
    assert made[0].tokenizer.sha256 == made[1].tokenizer.sha256


def test_progress_and_too_small_a_corpus(base, chinese, caplog):
    steps = []
    made = extend_byte_bpe(base, chinese, add=5000, progress=lambda *step: steps.append(step))
    assert f"{len(made.added)} tokens were added, not 5000" in caplog.text
    assert steps[0][:2] == (100, 5000) and "the last saves" in steps[0][2]


def test_a_sample_of_many_words_keeps_their_counts(base):
    words = [f"{chr(0x4E00 + i)}{chr(0x5E00 + i)}。" for i in range(400)]
    texts = [word * 3 for word in words] * 2
    full = count_words(base, texts)
    part = count_words(base, texts, most_symbols=sum(map(len, full)) // 3)
    assert 0 < sum(map(len, part)) <= sum(map(len, full)) // 3
    assert all(full[word] == count for word, count in part.items())
    assert part == count_words(base, reversed(texts), most_symbols=sum(map(len, full)) // 3)
    assert isinstance(part, Counter) and bpe_words.MOST_SYMBOLS > 1_000_000


def test_special_tokens_are_added_once_and_entries_filled_up(base):
    made, added, padded = with_special_tokens(
        base, ["<|tool|>", "<end>", "<end>", "<user>"], pad_to_multiple=64
    )
    assert (added, made.vocab_size % 64) == (2, 0)
    assert made.vocab_size == base.vocab_size + 2 + padded
    assert made.vocabulary["<user>"] == base.vocab_size + 1
    again, added, padded = with_special_tokens(made, ["<end>"], pad_to_multiple=64)
    assert (again.sha256, added, padded) == (made.sha256, 0, 0)
    assert made.encode("<end>", at_start=True) == base.encode("<end>", at_start=True)
    with pytest.raises(InputError, match="'e' cannot become a special token") as caught:
        with_special_tokens(base, ["e"])
    assert "ordinary entry" in caught.value.why and "<|e|>" in caught.value.fix


def test_tokenizers_of_another_family(english, chinese, base_folder):
    with pytest.raises(InputError, match="is no byte-level BPE") as caught:
        extend_byte_bpe(load(base_folder), chinese, add=9)
    assert "SentencePiece" in caught.value.why and "tokenizer.model" in caught.value.fix


def test_a_corpus_without_another_script(base, english):
    with pytest.raises(InputError, match="not one token can be added") as caught:
        extend_byte_bpe(base, english, add=9)
    assert "another script" in caught.value.why and "give texts" in caught.value.fix


def test_characters_that_begin_with_some_bytes():
    assert list(completions(b"\xe4\xb8")) == BLOCK
    assert list(completions(b"\xed\xa0")) == []  # halves of surrogate pairs are no characters
    assert len(list(completions(b"\xf0\x9f"))) == 4096
    assert open_end("河".encode()[:2]) == b"\xe6\xb2" and open_end("河".encode()) == b""
    assert open_end(b"a\xf0\x9f\x98") == b"\xf0\x9f\x98" and open_end(b"") == b""


def test_no_token_of_a_comma_and_the_word_behind_it_unless_asked_for(base):
    texts = ["河流，河流。，１２３"] * 9
    whole = extend_byte_bpe(base, texts, add=90)
    mixed = extend_byte_bpe(base, texts, add=90, whole_words=False)
    joined = {"，河流".encode(), "１２３".encode()}
    assert joined & set(mixed.added) and not joined & set(whole.added)
    assert {"河流".encode(), "。，".encode(), "１".encode()} <= set(whole.added)
