"""Turns are kept whole, the oldest leave first, and the prompt is the one of training."""

import json
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


def test_undo_retry_and_edit(engine):
    chat = talk(engine)
    for nothing in (chat.undo, lambda: next(chat.retry())):
        with pytest.raises(InputError, match="nothing was asked yet"):
            nothing()
    first = "".join(chat.ask("你好！"))
    second = "".join(chat.ask("Who wrote it?"))
    assert chat.undo() == "Who wrote it?"
    assert len(chat.messages) == 2
    assert "".join(chat.ask("Who wrote it?")) == second
    assert "".join(event.text for event in chat.retry()) == second  # greedy: the same again
    chat.edit(1, "另一个回答")
    assert chat.messages[1] == Message("assistant", "另一个回答")
    assert len(chat.messages) == 4
    chat.edit(0, "你好！")  # a question: what follows is forgotten
    assert chat.messages == [Message("user", "你好！")]
    assert "".join(event.text for event in chat.retry()) == first
    with pytest.raises(InputError, match="there is no message 5"):
        chat.edit(5, "x")


def test_a_drawn_answer_is_drawn_anew_by_retry_and_kept_until_the_new_one_begins(engine):
    chat = talk(engine)
    chat.sampling = Sampling(max_new_tokens=8, temperature=1.5, seed=3)
    first = "".join(chat.ask("你好！"))
    again = "".join(event.text for event in chat.retry())
    assert again != first
    fresh = talk(engine)
    fresh.sampling = Sampling(max_new_tokens=8, temperature=1.5, seed=4)
    assert "".join(fresh.ask("你好！")) == again
    before = chat.messages
    chat.retry().close()
    answer = chat.retry()
    chat.system = "汉字" * 600
    with pytest.raises(InputError, match="the question has"):
        list(answer)
    assert chat.messages == before


def test_memory_by_turns(engine):
    chat = talk(engine, memory_turns=1)
    for question in ("一", "二", "三"):
        list(chat.ask(question))
    assert chat.num_forgotten == 1
    assert chat.prompt("四") == encode_prompt(
        [*chat.messages[4:], Message("user", "四")], format=PLAIN, tokenizer=engine.tokenizer
    )
    assert chat.num_forgotten == 2
    chat.memory_turns = 0
    assert chat.prompt("四") == encode_prompt(
        [Message("user", "四")], format=PLAIN, tokenizer=engine.tokenizer
    )


def test_the_formats_of_other_systems_bring_their_memory(engine):
    def memory(name):
        return Talk(engine, format=get_format(name), sampling=Sampling()).memory_turns

    assert (memory("cutegpt"), memory("cutegpt-en"), memory("chinese-vicuna-chat")) == (3, 3, None)


def test_messages_that_no_model_made(engine):
    chat = talk(engine)
    chat.add(Message("user", "例子"))
    chat.add(Message("assistant", "回答"))
    list(chat.ask("你好！"))
    assert [message.content for message in chat.messages[:3]] == ["例子", "回答", "你好！"]
    with pytest.raises(ConfigError, match="a system message cannot be added"):
        chat.add(Message("system", "x"))


def test_beams_begin_without_the_opening_space(engine):
    chat = talk(engine)
    chat.sampling = Sampling(max_new_tokens=12, num_beams=3)
    events = list(chat.events("你好！"))
    assert any(event.beams for event in events)
    first = next(event.beams[0] for event in events if event.beams and event.beams[0].tail)
    assert not first.tail.startswith(" ")
    assert "".join(event.text for event in events) == events[-1].generation.text


def test_a_saved_conversation_goes_on_and_can_be_asked_again(engine):
    chat = talk(engine, system="请简短回答。", memory_turns=2)
    chat.sampling = Sampling(max_new_tokens=8, temperature=1.2, seed=2, stop=("。",))
    list(chat.ask("你好！"))
    list(chat.retry())
    chat.sampling = Sampling(max_new_tokens=5)
    list(chat.ask("Who?"))
    saved = json.loads(json.dumps(chat.to_json(), ensure_ascii=False))
    other = Talk.from_json(engine, saved)
    assert other.to_json() == saved
    assert (other.system, other.memory_turns, other.sampling) == ("请简短回答。", 2, chat.sampling)
    turns = list(other.replay())
    assert [question for question, _, _ in turns] == ["你好！", "Who?"]
    assert all(then == now for _, then, now in turns)
    assert other.messages == chat.messages


GOOD = {
    "kind": "hanlin conversation", "version": 1, "format": "plain", "system": None,
    "truncate": "oldest", "memory_turns": None, "sampling": {}, "messages": [],
}  # fmt: skip


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ([], "its kind is not"),
        ({**GOOD, "version": 2}, "its version is 2, not 1"),
        ({k: v for k, v in GOOD.items() if k != "messages"}, "it has no 'messages'"),
        ({**GOOD, "truncate": "half"}, "truncate is 'half'"),
        ({**GOOD, "sampling": {"heat": 1}}, "'heat' is no parameter"),
        ({**GOOD, "sampling": {"seed": "1"}}, "seed is '1'"),
        ({**GOOD, "sampling": {"top_p": 7}}, "top_p is 7"),
        ({**GOOD, "messages": [{"role": "god", "content": "x"}]}, "a message is"),
        (
            {**GOOD, "messages": [{"role": "assistant", "content": "x", "sampling": {}}]},
            "has no question before it",
        ),
    ],
)
def test_what_is_no_saved_conversation(engine, data, why):
    with pytest.raises(InputError, match="holds no conversation that can be read") as error:
        Talk.from_json(engine, data)
    assert why in str(error.value)
    assert Talk.from_json(engine, GOOD).messages == []


def test_unknown_format(engine):
    with pytest.raises(ConfigError, match="unknown prompt format 'plan'"):
        prompt_format(engine, name="plan")
