"""A byte-level BPE tokenizer of English files, extended with 8,000 Chinese tokens."""

import json

import pytest

from hanlin.tokenization.bpe import train_byte_bpe
from hanlin.tokenization.bpe_extend import extend_byte_bpe, unreachable
from hanlin.tokenization.foreign import is_other_script
from hanlin.tokenization.load import load

pytestmark = [pytest.mark.real_data, pytest.mark.slow]


def lines(path):
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        yield json.loads(line)["text"] if path.suffix == ".jsonl" else line


@pytest.fixture(scope="module")
def english(real_data):
    return [t for file in sorted((real_data / "corpus").glob("en_*")) for t in lines(file)]


@pytest.fixture(scope="module")
def base(english, tmp_path_factory):
    out = tmp_path_factory.mktemp("bpe") / "base"
    return load(train_byte_bpe(english, vocab_size=8000, out=out))


@pytest.fixture(scope="module")
def extension(base, real_data, english):
    files = ("novel_hongloumeng.txt", "wikipedia_zh_extracts.jsonl")
    chinese = (text for name in files for text in lines(real_data / "corpus" / name))
    return extend_byte_bpe(base, chinese, add=8000, control=english)


def test_8000_tokens_every_one_reachable(base, extension):
    assert len(extension.added) == 8000
    assert unreachable(extension.tokenizer, first=base.vocab_size) == []


def test_english_ids_stay(base, extension, english):
    changed = [
        text
        for text in english
        if base.encode(text, at_start=True) != extension.tokenizer.encode(text, at_start=True)
    ]
    assert len(english) > 40_000
    assert len(changed) <= 3  # articles with names in other scripts in them
    for text in changed:
        parts = "".join("\n" if is_other_script(c) else c for c in text).split("\n")
        assert len(parts) > 1
        for part in parts:
            ids = base.encode(part, at_start=True)
            assert extension.tokenizer.encode(part, at_start=True) == ids


@pytest.mark.parametrize("name", ["novel_xiyouji.txt", "laws_zh.jsonl"])
def test_characters_per_token_are_more_than_doubled(base, extension, real_data, name):
    """In texts that it has not seen."""
    characters, before, after = 0, 0, 0
    for text in lines(real_data / "corpus" / name):
        ids = extension.tokenizer.encode(text, at_start=True)
        assert extension.tokenizer.decode(ids) == text
        characters += len(text)
        after += len(ids)
        before += len(base.encode(text, at_start=True))
        if characters > 500_000:
            break
    assert characters / after > 2 * characters / before
