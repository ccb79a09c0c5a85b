"""Prompt formats give exactly the texts that their originals document."""

import pytest

from hanlin.core.errors import ConfigError
from hanlin.core.records import Message
from hanlin.prompts.encode import render
from hanlin.prompts.format import PromptFormat
from hanlin.prompts.formats import ALPACA, CHINESE_VICUNA_CHAT, FORMATS, PLAIN, get_format

TURNS = [
    Message("user", "你好"),
    Message("assistant", "你好！"),
    Message("user", "{content} of {a dict}"),
    Message("assistant", "ok"),
]


def text_of(messages, format, *, opens_answer=False):
    segments = render(messages, format=format, opens_answer=opens_answer)
    return "".join("</s>" if s.text is None else s.text for s in segments)


def test_plain():
    assert text_of(TURNS, PLAIN) == (
        "User: 你好\nAssistant: 你好！</s>User: {content} of {a dict}\nAssistant: ok</s>"
    )
    system = [Message("system", "Be kind."), *TURNS[:1]]
    assert text_of(system, PLAIN, opens_answer=True) == "Be kind.\nUser: 你好\nAssistant:"


def test_alpaca_is_the_template_without_input():
    assert text_of(TURNS[:2], ALPACA) == (
        "Below is an instruction that describes a task. Write a response that appropriately "
        "completes the request.\n\n### Instruction:\n你好\n\n### Response:\n你好！</s>"
    )


def test_chinese_vicuna_chat_ends_with_one_end_token():
    assert text_of(TURNS, CHINESE_VICUNA_CHAT) == (
        "The following is a conversation between an AI assistant called Assistant and a human user "
        "called User. The assistant is intelligent, knowledgeable and polite to answer questions "
        "of user.\n\nUser:你好\n\nAssistant:你好！\n\n"
        "User:{content} of {a dict}\n\nAssistant:ok</s>"
    )


def test_a_system_message_replaces_the_default_one():
    text = text_of([Message("system", "请用中文回答。"), *TURNS[:2]], ALPACA)
    assert text.startswith("请用中文回答。\n\n### Instruction:\n")


@pytest.mark.parametrize("name", list(FORMATS))
def test_every_entry_carries_its_own_name_and_stops_before_the_next_turn(name):
    format = get_format(name)
    assert format.name == name
    next_turn = format.separator + format.user
    assert any(text.strip() in next_turn for text in format.stop_strings)


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(ConfigError) as caught:
        get_format("alpca")
    assert str(caught.value) == (
        "unknown prompt format 'alpca'\n"
        "  why: known prompt formats: plain, alpaca, chinese-vicuna-chat\n"
        "  fix: did you mean 'alpaca'?"
    )


def test_exact_borders():
    assert PLAIN.has_exact_borders
    assert ALPACA.has_exact_borders
    assert not CHINESE_VICUNA_CHAT.has_exact_borders


def test_answer_text_takes_the_template_away_once():
    assert PLAIN.answer_text("  two spaces ") == " two spaces "
    assert PLAIN.answer_text("你好") == "你好"
    assert ALPACA.answer_text(" kept") == " kept"


def test_a_format_without_content_is_refused():
    with pytest.raises(ValueError, match=r"user has 0 times \{content\}"):
        PromptFormat(name="x", summary="", user="User:", assistant="A:")
    with pytest.raises(ValueError, match="assistant is empty"):
        PromptFormat(name="x", summary="", user="{content}", assistant="")
