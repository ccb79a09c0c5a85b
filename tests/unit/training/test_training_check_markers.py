"""Answers may end with a format's own marker; a store without trained ends is still refused."""

import pytest

from hanlin.core.errors import InputError
from hanlin.core.records import Conversation, Message
from hanlin.data.pack import PackedRows
from hanlin.data.store import StoreWriter, TokenStore
from hanlin.prompts.encode import encode_conversation
from hanlin.prompts.formats import get_format
from hanlin.prompts.probe import prompt_record
from hanlin.training.checks import check_rows
from prompt_tokenizers import make_tokenizer

CHATML = get_format("chatml")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return make_tokenizer(tmp_path_factory.mktemp("tokenizer"), "sentencepiece")


def rows_of(folder, tokenizer, *, with_end):
    messages = (Message("user", "谁？"), Message("assistant", "老师"))
    encoded = encode_conversation(Conversation(messages), format=CHATML, tokenizer=tokenizer)
    end = tokenizer.special_id("<|im_end|>")
    trained = [
        counts and (with_end or i != end)
        for i, counts in zip(encoded.ids, encoded.trained, strict=True)
    ]
    with StoreWriter(
        folder, tokenizer_sha256=tokenizer.sha256, vocab_size=tokenizer.vocab_size, has_mask=True,
        prompt=prompt_record(CHATML, tokenizer), seq_len=64,
    ) as writer:  # fmt: skip
        writer.begin("chat")
        writer.add(encoded.ids, trained=trained)
    return PackedRows(TokenStore.open(folder), seq_len=64, seed=0)


def test_a_marker_is_an_end(tmp_path, tokenizer):
    rows = rows_of(tmp_path, tokenizer, with_end=True)
    check_rows(rows, rows_of_model=tokenizer.vocab_size, eos=tokenizer)


def test_answers_that_never_end_are_refused_by_the_marker_s_name(tmp_path, tokenizer):
    rows = rows_of(tmp_path, tokenizer, with_end=False)
    with pytest.raises(InputError) as caught:
        check_rows(rows, rows_of_model=tokenizer.vocab_size, eos=tokenizer)
    assert "ends with the end token '<|im_end|>' or '</s>'" in caught.value.what
