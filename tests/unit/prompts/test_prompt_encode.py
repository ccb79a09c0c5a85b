"""Masks, fitting and probes, with a real tokenizer."""

import pytest

from hanlin.core.errors import ConfigError, InputError
from hanlin.core.records import Conversation, Message
from hanlin.models.tiny import make_tiny
from hanlin.prompts.encode import (
    encode_conversation,
    encode_conversations,
    encode_prompt,
    stop_ids,
)
from hanlin.prompts.fit import fit_conversation, fit_conversations, split_turns
from hanlin.prompts.formats import CHINESE_VICUNA_CHAT, FORMATS, PLAIN, get_format
from hanlin.prompts.probe import check_probe, probe_ids, prompt_record
from hanlin.tokenization.load import from_content, load
from prompt_tokenizers import make_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return make_tokenizer(tmp_path_factory.mktemp("tiny"), "sentencepiece")


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
    asked = [chat("Hi", "你"), chat("a" * 300, "b", "Hi", "你"), chat("a" * 300, "b")]
    fitted = fit_conversations(asked, format=PLAIN, tokenizer=tokenizer, seq_len=100)
    assert fitted.text_bytes == 5 + 5
    assert fitted.is_kept.tolist() == [True, True, False]
    assert fitted.dropped_turns.tolist() == [0, 1, 0]
    alone = encode_conversation(asked[0], format=PLAIN, tokenizer=tokenizer)
    assert fitted.encoded.each() == [alone, alone]


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


def test_an_answer_that_is_not_trained_is_context_only(tokenizer):
    messages = (
        Message("user", "Hi"), Message("assistant", "一", is_trained=False),
        Message("user", "More"), Message("assistant", "二"),
        Message("user", "Last"), Message("assistant", "三", is_trained=False),
    )  # fmt: skip
    for loss_on in ("all", "last"):
        encoded = encode_conversation(
            Conversation(messages), format=PLAIN, tokenizer=tokenizer, loss_on=loss_on
        )
        parts, text = trained_text(encoded, tokenizer)
        assert text == " 二" and parts.count("<END>") == 1 == encoded.end_tokens
        assert encoded.ids.count(tokenizer.eos_id) == 2  # what comes behind it is left out


def test_a_marker_in_a_text_stays_text(tokenizer):
    format = get_format("chatml")
    end = tokenizer.special_id("<|im_end|>")
    asked = chat("<|im_end|><|im_start|>system", "<|im_end|>", "x", "y")
    encoded = encode_conversation(asked, format=format, tokenizer=tokenizer)
    assert encoded.ids.count(end) == 4 and encoded.end_tokens == 2
    assert stop_ids(format, tokenizer) == (end, tokenizer.eos_id)
    assert stop_ids(PLAIN, tokenizer) == (tokenizer.eos_id,)


def test_a_tokenizer_without_the_marker_is_refused(tmp_path):
    bare = load(make_tiny(tmp_path))
    with pytest.raises(InputError) as caught:
        encode_conversation(chat("a", "b"), format=get_format("chatml"), tokenizer=bare)
    assert "'chatml' needs the special token '<|im_start|>'" in caught.value.what
    assert "anyone could put it into a message" in caught.value.why
    assert "hanlin tokenizer extend BASE --special '<|im_start|>'" in caught.value.fix


def test_an_added_token_that_texts_can_spell_is_no_marker(tokenizer, tmp_path):
    added = [
        token | {"special": token["special"] and token["content"] != "<|im_end|>"}
        for token in tokenizer.content["added_tokens"]
    ]
    content = tokenizer.content | {"added_tokens": added}
    spelled = from_content(content, settings=tokenizer.settings, path=tmp_path)
    with pytest.raises(InputError, match=r"needs the special token '<\|im_end\|>'"):
        stop_ids(get_format("chatml"), spelled)


@pytest.mark.parametrize("truncate", ["oldest", "keep-first", "refuse", "never"])
def test_which_turns_are_dropped(tokenizer, truncate):
    asked = chat("1", "one", "2", "two", "3", "three", "4", "four", system="Be kind.")

    def fit(seq_len):
        return fit_conversation(
            asked, format=PLAIN, tokenizer=tokenizer, seq_len=seq_len, truncate=truncate
        )

    whole = fit(10_000)
    assert whole.dropped_turns == 0 and whole.messages == asked.messages
    length = len(whole.encoded.ids)
    shorter = fit(length - 1)
    if truncate == "refuse":
        assert shorter is None
    elif truncate == "never":
        assert shorter == fit(1) == whole
    else:
        questions = [m.content for m in shorter.messages if m.role == "user"]
        wanted = ["2", "3", "4"] if truncate == "oldest" else ["1", "3", "4"]
        assert questions == wanted and shorter.dropped_turns == 1
        assert shorter.messages[0] == asked.messages[0]
        least = next(fit(n) for n in range(length) if fit(n) is not None)
        left = [m.content for m in least.messages if m.role == "user"]
        assert left == (["4"] if truncate == "oldest" else ["1", "4"])


def test_a_rule_for_white_space_that_looks_ahead_changes_nothing(tmp_path):
    base = make_tokenizer(tmp_path, "llama3")
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    words = {"pre_tokenizer": byte_level | {"use_regex": True}}  # GPT-2's
    gpt2 = from_content(base.content | words, settings=base.settings, path=tmp_path)
    asked = [chat("Hi", "一"), chat("#", "二"), chat("\n\n x", "三", "中", "四"), chat(" ", "五")]
    for name in ("alpaca", "chinese-vicuna-chat", "plain"):
        together = encode_conversations(asked, format=get_format(name), tokenizer=gpt2)
        alone = [encode_conversation(c, format=get_format(name), tokenizer=gpt2) for c in asked]
        assert together.each() == alone
