"""Turns are kept whole, the oldest leave first, and the prompt is the one of training."""

import logging

import pytest

from hanlin.core.errors import ConfigError, InputError
from hanlin.core.records import Message
from hanlin.inference.conversation import Talk, fit_prompt, prompt_budget, prompt_format
from hanlin.inference.engine import Sampling, open_engine
from hanlin.models.manifest import write_manifest
from hanlin.models.tiny import make_tiny
from hanlin.prompts.encode import encode_prompt
from hanlin.prompts.formats import get_format
from hanlin.prompts.probe import prompt_record
from hanlin.tokenization.load import load

PLAIN = get_format("plain")


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    return open_engine(str(make_tiny(tmp_path_factory.mktemp("tiny"))))


def tuned(folder, name):
    make_tiny(folder)
    write_manifest(folder, prompt=prompt_record(get_format(name), load(folder)))
    return open_engine(str(folder))


def talk(engine, **settings):
    sampling = Sampling(max_new_tokens=settings.pop("max_new_tokens", 8))
    return Talk(engine, format=PLAIN, sampling=sampling, **settings)


def test_the_prompt_is_the_one_of_training_in_every_turn(engine):
    chat = talk(engine, system="请简短回答。")
    first = "".join(chat.ask("你好！"))
    second = "".join(chat.ask("Who wrote it?"))
    assert [message.role for message in chat.messages] == ["user", "assistant"] * 2
    asked = [
        Message("system", "请简短回答。"), Message("user", "你好！"),
        Message("assistant", first.rstrip()), Message("user", "Who wrote it?"),
    ]  # fmt: skip
    prompt = encode_prompt(asked, format=PLAIN, tokenizer=engine.tokenizer)
    sampling = Sampling(max_new_tokens=8, stop=PLAIN.stop_strings)
    assert engine.generate([prompt], sampling)[0].text.lstrip() == second


def test_reset_begins_anew(engine):
    chat = talk(engine)
    first = list(chat.ask("你好！"))
    list(chat.ask("再见"))
    chat.reset()
    assert list(chat.ask("你好！")) == first


def test_an_answer_that_is_broken_off_stays_as_far_as_it_came(engine):
    chat = talk(engine, max_new_tokens=40)
    answer = chat.ask("你好！")
    shown = next(answer)
    answer.close()
    assert chat.messages == [Message("user", "你好！"), Message("assistant", shown.rstrip())]


def test_the_oldest_turns_leave_the_prompt_and_the_system_message_stays(engine):
    turns = [Message("system", "Be brief.")]
    for number in range(6):
        turns += [Message("user", f"question {number}"), Message("assistant", f"answer {number}")]
    turns.append(Message("user", "最后的问题"))
    whole = encode_prompt(turns, format=PLAIN, tokenizer=engine.tokenizer)
    ids, dropped = fit_prompt(
        turns, format=PLAIN, tokenizer=engine.tokenizer, max_tokens=len(whole) - 1
    )
    assert dropped == 1
    kept = [turns[0], *turns[3:]]
    assert ids == encode_prompt(kept, format=PLAIN, tokenizer=engine.tokenizer)


def test_a_long_conversation_goes_on_and_says_how_much_it_forgot(engine):
    chat = talk(engine, max_new_tokens=4)
    for _ in range(6):
        list(chat.ask("the river runs through the old town " * 12))
    assert chat.num_forgotten > 0
    assert len(chat.messages) == 12


def test_a_question_longer_than_the_context_is_refused_and_not_kept(engine):
    chat = talk(engine)
    with pytest.raises(InputError) as error:
        list(chat.ask("汉字" * 600))
    assert "the question has" in str(error.value)
    assert "--max-new-tokens" in str(error.value)
    assert chat.messages == []


def test_the_answer_takes_at_most_half_of_the_context():
    assert prompt_budget(512, 100) == 412
    assert prompt_budget(512, 10_000) == 256


def test_the_format_comes_from_the_manifest_else_from_the_default(engine, tmp_path):
    assert prompt_format(engine).name == "plain"
    assert prompt_format(engine, default="alpaca").name == "alpaca"
    assert prompt_format(tuned(tmp_path, "alpaca")).name == "alpaca"


def test_another_format_than_the_trained_one_is_used_with_a_warning(engine, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    assert prompt_format(engine, name="alpaca").name == "alpaca"
    assert not caplog.messages
    assert prompt_format(tuned(tmp_path, "alpaca"), name="plain").name == "plain"
    assert "tuned on the prompt format 'alpaca', not 'plain'" in caplog.text


def test_changed_probe_ids_are_refused(tmp_path):
    make_tiny(tmp_path)
    write_manifest(tmp_path, prompt={"format": "plain", "probe_ids": [1, 2, 3]})
    with pytest.raises(InputError, match="no longer gives the ids"):
        prompt_format(open_engine(str(tmp_path)))


def test_unknown_format(engine):
    with pytest.raises(ConfigError, match="unknown prompt format 'plan'"):
        prompt_format(engine, name="plan")
