"""Prompts of questions: the chat format's own ids, running text, examples, and a short context."""

import pytest

from hanlin.core.errors import InputError
from hanlin.core.records import Conversation, Message, Question
from hanlin.evaluation.protocol import Protocol, prompted
from hanlin.models.tiny import make_tiny
from hanlin.prompts.encode import encode_conversation
from hanlin.prompts.formats import get_format
from hanlin.tokenization.load import load

ZH = Question("q1", "这本书是谁写的？", ("老师", "画家", "the 兄弟"), 1, "literature", "zh")
EN = Question("q2", "Who wrote the book?", ("the teacher", "two brothers"), 0, "law_history", "en")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return load(make_tiny(tmp_path_factory.mktemp("tiny")))


def ask(tokenizer, question, examples=(), *, max_length=512, **protocol):
    return prompted(
        question, examples, protocol=Protocol(**protocol), tokenizer=tokenizer,
        max_length=max_length,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["plain", "alpaca"])
def test_chat_prefix_and_option_are_the_ids_of_training(tokenizer, name):
    format = get_format(name)
    found = ask(tokenizer, ZH, [EN], format=format, scorer="text")
    for option, (prefix, continuation) in zip(ZH.options, found.requests, strict=True):
        messages = (
            Message("user", EN.question), Message("assistant", "the teacher"),
            Message("user", ZH.question), Message("assistant", option),
        )  # fmt: skip
        trained = encode_conversation(Conversation(messages), format=format, tokenizer=tokenizer)
        assert [*prefix, *continuation, tokenizer.eos_id] == trained.ids


def test_running_text_with_letters_as_c_eval_has_it(tokenizer):
    intro = "关于{subject}的单项选择题。"
    found = ask(tokenizer, ZH, [EN], format=None, scorer="letter", intro=intro)
    prefix, continuation = found.requests[1]
    assert prefix[0] == tokenizer.bos_id
    assert tokenizer.decode(prefix[1:]) == (
        "关于literature的单项选择题。\n\n"
        "Who wrote the book?\nA. the teacher\nB. two brothers\nAnswer: A\n\n"
        "这本书是谁写的？\nA. 老师\nB. 画家\nC. the 兄弟\n答案："
    )
    assert tokenizer.decode_continuation(continuation) == " B"
    assert len(found.requests) == 3


def test_underscores_of_a_subject_are_read_as_spaces(tokenizer):
    found = ask(tokenizer, EN, format=None, scorer="text", intro="About {subject}.")
    assert tokenizer.decode(found.requests[0][0][1:]) == (
        "About law history.\n\nWho wrote the book?\nAnswer:"
    )


def test_first_examples_are_left_out_where_the_context_is_short(tokenizer):
    examples = [EN, ZH, EN]
    whole = ask(tokenizer, ZH, examples, format=get_format("plain"), scorer="text")
    longest = max(len(p) + len(c) - 1 for p, c in whole.requests)
    assert (whole.num_shots, whole.num_cut) == (3, 0)
    short = ask(
        tokenizer, ZH, examples, format=get_format("plain"), scorer="text", max_length=longest - 1
    )
    expected = ask(tokenizer, ZH, examples[1:], format=get_format("plain"), scorer="text")
    assert (short.num_shots, short.num_cut) == (2, 0)
    assert short.requests == expected.requests


def test_a_question_too_long_loses_its_beginning_but_not_the_first_token(tokenizer):
    whole = ask(tokenizer, ZH, format=get_format("plain"), scorer="text").requests
    found = ask(tokenizer, ZH, [EN], format=get_format("plain"), scorer="text", max_length=20)
    assert (found.num_shots, found.num_cut > 0) == (0, True)
    prefix = found.requests[0][0]
    assert prefix[0] == tokenizer.bos_id
    assert prefix[1:] == whole[0][0][-len(prefix) + 1 :]
    assert max(len(p) + len(c) - 1 for p, c in found.requests) == 20


def test_an_option_longer_than_the_context_is_refused(tokenizer):
    with pytest.raises(InputError) as error:
        ask(tokenizer, ZH, format=get_format("plain"), scorer="text", max_length=3)
    assert "question 'q1': an option has" in str(error.value)


def test_more_options_than_letters_are_refused(tokenizer):
    question = Question("q3", "?", tuple(map(str, range(30))), 0, "", "en")
    with pytest.raises(InputError) as error:
        ask(tokenizer, question, format=None, scorer="letter")
    assert "question 'q3' has 30 options" in str(error.value)
    assert "scorer: text" in str(error.value)
