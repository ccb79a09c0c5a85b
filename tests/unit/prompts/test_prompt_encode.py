"""Masks, fitting and probes, with a real tokenizer."""

import pytest

from hanlin.core.errors import ConfigError, InputError
from hanlin.core.records import Conversation, Message
from hanlin.models.tiny import make_tiny
from hanlin.prompts.encode import (
    encode_conversation,
    encode_prompt,
    fit_conversation,
    split_turns,
)
from hanlin.prompts.formats import CHINESE_VICUNA_CHAT, FORMATS, PLAIN, get_format
from hanlin.prompts.probe import check_probe, probe_ids, prompt_record
from hanlin.tokenization.load import load


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return load(make_tiny(tmp_path_factory.mktemp("tiny")))


def chat(*contents, system=None):
    roles = ["user", "assistant"] * len(contents)
    messages = [Message(role, text) for role, text in zip(roles, contents, strict=False)]
    return Conversation(tuple([Message("system", system)] if system else []) + tuple(messages))


def trained_text(encoded, tokenizer):
    ids = [i for i, counts in zip(encoded.ids, encoded.trained, strict=True) if counts]
    return [
        tokenizer.decode_continuation([i]) if i != tokenizer.eos_id else "<END>" for i in ids
    ], tokenizer.decode_continuation(ids)


def test_plain_trains_each_answer_and_its_end_token(tokenizer):
    encoded = encode_conversation(
        chat("Hi", "你好 🙂", "More </s>", "Yes"), format=PLAIN, tokenizer=tokenizer
    )
    parts, text = trained_text(encoded, tokenizer)
    assert text == " 你好 🙂 Yes"
    assert parts.count("<END>") == 2 == encoded.ids.count(tokenizer.eos_id)
    assert encoded.ids[0] == tokenizer.bos_id and not encoded.trained[0]


def test_loss_on_last_trains_the_last_answer_only(tokenizer):
    encoded = encode_conversation(
        chat("Hi", "一", "More", "二"), format=PLAIN, tokenizer=tokenizer, loss_on="last"
    )
    parts, text = trained_text(encoded, tokenizer)
    assert text == " 二"
    assert parts.count("<END>") == 1


def test_end_token_after_the_last_answer_only(tokenizer):
    encoded = encode_conversation(
        chat("Hi", "一", "More", "二"), format=CHINESE_VICUNA_CHAT, tokenizer=tokenizer
    )
    parts, text = trained_text(encoded, tokenizer)
    assert text == "一二"
    assert encoded.ids[-1] == tokenizer.eos_id and encoded.trained[-1]
    assert parts.count("<END>") == 1


def test_a_question_after_the_last_answer_is_left_out(tokenizer):
    whole = encode_conversation(chat("Hi", "一", "More?"), format=PLAIN, tokenizer=tokenizer)
    assert whole == encode_conversation(chat("Hi", "一"), format=PLAIN, tokenizer=tokenizer)


@pytest.mark.parametrize("name", list(FORMATS))
def test_a_prompt_is_the_beginning_of_what_is_trained(tokenizer, name):
    format = get_format(name)
    conversation = chat("Hi", "一 二", "  spaces\n", "二", "你好", "三", system="Be kind.")
    encoded = encode_conversation(conversation, format=format, tokenizer=tokenizer)
    for turns in (2, 4, 6):
        prompt = encode_prompt(conversation.messages[:turns], format=format, tokenizer=tokenizer)
        assert encoded.ids[: len(prompt)] == prompt
        assert encoded.trained[len(prompt)]
        assert not encoded.trained[len(prompt) - 1]


def test_fitting_drops_whole_oldest_turns_and_keeps_the_system_text(tokenizer):
    conversation = chat(
        *[f"{i} question" if i % 2 == 0 else "答" * 5 for i in range(12)], system="S"
    )
    whole = encode_conversation(conversation, format=PLAIN, tokenizer=tokenizer)
    for seq_len in range(8, len(whole.ids) + 2):
        fitted = fit_conversation(conversation, format=PLAIN, tokenizer=tokenizer, seq_len=seq_len)
        if fitted is None:
            alone = Conversation((conversation.messages[0], *conversation.messages[-2:]))
            ids = encode_conversation(alone, format=PLAIN, tokenizer=tokenizer).ids
            assert len(ids) > seq_len
            continue
        dropped = fitted.dropped_turns
        kept = (conversation.messages[0], *conversation.messages[1 + 2 * dropped :])
        assert fitted.messages == kept
        assert len(fitted.encoded.ids) <= seq_len
        if dropped:
            more = Conversation((kept[0], *conversation.messages[2 * dropped - 1 :]))
            ids = encode_conversation(more, format=PLAIN, tokenizer=tokenizer).ids
            assert len(ids) > seq_len, "one more turn would have fitted"


def test_text_bytes_counts_what_is_left(tokenizer):
    fitted = fit_conversation(chat("Hi", "你"), format=PLAIN, tokenizer=tokenizer, seq_len=100)
    assert fitted.text_bytes == 5


def test_turns_begin_with_questions():
    messages = [
        Message(role, "x")
        for role in ("system", "assistant", "user", "user", "assistant", "assistant", "user")
    ]
    assert [[m.role[0] for m in turn] for turn in split_turns(messages)] == [
        ["s", "a"], ["u", "u", "a", "a"], ["u"],
    ]  # fmt: skip


def test_a_probe_record_is_accepted_and_a_changed_one_refused(tokenizer):
    manifest = {"prompt": prompt_record(PLAIN, tokenizer)}
    assert check_probe(manifest, tokenizer) == PLAIN
    assert check_probe({}, tokenizer) is None
    assert check_probe({"prompt": None}, tokenizer) is None
    ids = probe_ids(PLAIN, tokenizer)
    ids[5] += 1
    with pytest.raises(InputError) as caught:
        check_probe(
            {"prompt": {"format": "plain", "probe_ids": ids}}, tokenizer, where="a/hanlin.json"
        )
    assert "a/hanlin.json: prompt format 'plain' no longer gives the ids" in str(caught.value)
    assert "differs from token 5 on" in str(caught.value)
    assert "finetune" in caught.value.fix


def test_a_record_of_an_unknown_format_is_refused(tokenizer):
    with pytest.raises(ConfigError, match="unknown prompt format 'mine'"):
        check_probe({"prompt": {"format": "mine", "probe_ids": []}}, tokenizer)
