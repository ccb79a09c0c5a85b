"""LLaMA 3's tokenizer.model: a table of tiktoken."""

import base64
from itertools import pairwise

import pytest

from hanlin.core.errors import InputError
from hanlin.models.tiny import SAMPLE_TEXTS
from hanlin.tokenization.bpe import train_byte_bpe
from hanlin.tokenization.load import load
from hanlin.tokenization.tiktoken import (
    SPECIAL_3,
    SPECIAL_3_1,
    is_tiktoken,
    read_tiktoken,
    tiktoken_bytes,
)
from hanlin.tokenization.train import train_sentencepiece

TEXTS = (*SAMPLE_TEXTS, "hello  wörld 12345 😀 \n\n\tx", "说：“你好”……", " don't", "")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bpe")
    train_byte_bpe(SAMPLE_TEXTS, vocab_size=700, out=folder, special_tokens=["<|eot_id|>"])
    return load(folder)


@pytest.fixture
def table(tmp_path, trained):
    file = tmp_path / "tokenizer.model"
    file.write_bytes(tiktoken_bytes(trained))
    return file


def by_ranks(ranks, word):
    """Merge the pair of lowest rank until there is none, as tiktoken does."""
    parts = [bytes([byte]) for byte in word]
    while True:
        pairs = [(ranks.get(a + b, len(ranks)), i) for i, (a, b) in enumerate(pairwise(parts))]
        rank, place = min(pairs, default=(len(ranks), 0))
        if rank == len(ranks):
            return [ranks[part] for part in parts]
        parts[place : place + 2] = [parts[place] + parts[place + 1]]


def test_table_gives_the_same_ids(trained, table):
    read = read_tiktoken(table, special=SPECIAL_3_1)
    for text in TEXTS:
        ids = read.encode(text, at_start=True)
        assert ids == trained.encode(text, at_start=True)
        assert read.decode(ids) == text


def test_ids_are_those_of_the_lowest_rank_first(table):
    ranks = {}
    for line in table.read_bytes().splitlines():
        token, rank = line.split()
        ranks[base64.b64decode(token)] = int(rank)
    read = read_tiktoken(table, special=SPECIAL_3)
    for word in ("founded", " festival", "河流", "the"):
        assert read.encode(word, at_start=True) == by_ranks(ranks, word.encode())


def test_table_comes_back_byte_by_byte(table):
    assert tiktoken_bytes(read_tiktoken(table, special=SPECIAL_3)) == table.read_bytes()


@pytest.mark.parametrize("special", [SPECIAL_3, SPECIAL_3_1])
def test_special_tokens_of_llama_3(table, special):
    """The places are those of the published tokenizer.json files, counted from 128,000."""
    read = read_tiktoken(table, special=special)
    first = len(table.read_bytes().splitlines())
    assert read.vocab_size == first + 256 and len(set(special)) == 256
    assert (read.bos_id, read.eos_id) == (first, first + 1)
    assert read.vocabulary["<|start_header_id|>"] == first + 6
    assert read.vocabulary["<|eot_id|>"] == first + 9
    assert read.pad_id not in (read.bos_id, read.eos_id)
    assert read.encode("<|eot_id|>", at_start=True) != [first + 9]
    if special == SPECIAL_3_1:
        assert read.pad_id == first + 4


def test_saved_as_a_folder(tmp_path, table):
    read = read_tiktoken(table, special=SPECIAL_3_1)
    read.save(tmp_path / "hf")
    assert not (tmp_path / "hf" / "tokenizer.model").exists()
    again = load(tmp_path / "hf")
    assert again.sha256 == read.sha256 and again.bos_id == read.bos_id


def test_sentencepiece_model_has_no_table(tmp_path, table):
    train_sentencepiece(SAMPLE_TEXTS, vocab_size=400, out=tmp_path / "spm")
    assert is_tiktoken(table) and not is_tiktoken(tmp_path / "spm" / "tokenizer.model")
    assert tiktoken_bytes(load(tmp_path / "spm")) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [*lines[:300], b"?? 300", *lines[301:]], ":301 is no line of a tiktoken"),
        (lambda lines: lines[:299] + lines[300:], ":300 is no line of a tiktoken"),
        (lambda lines: lines[:200], "does not have every byte"),
    ],
)
def test_damaged_table(table, change, message):
    table.write_bytes(b"\n".join(change(table.read_bytes().splitlines())))
    with pytest.raises(InputError) as caught:
        read_tiktoken(table, special=SPECIAL_3)
    assert message in str(caught.value) and "copy or download the file again" in str(caught.value)
