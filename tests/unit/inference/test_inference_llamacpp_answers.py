"""llama.cpp's answers have the tokens of transformers', in one stream; its death ends a request."""

import json
import os
import random
import signal
import sys
import threading
import unicodedata

import pytest

from hanlin.core.errors import ConfigError, ResourceError
from hanlin.core.records import Grammar
from hanlin.inference.engine import Sampling, open_engine
from hanlin.inference.scheduler import Scheduler
from hanlin.inference.text_stream import TextStream
from hanlin.models.tiny import make_tiny
from hanlin.weights.gguf.write import write_gguf

TEXTS = ("Who wrote the book?", "这本书是谁写的？", "A 混合 sentence：ＡＢＣ, 🙂!")
SCHEMA = (
    '{"type": "object", "properties": {"名": {"type": "string", "maxLength": 4}, '
    '"是": {"type": "boolean"}}, "required": ["名", "是"], "additionalProperties": false}'
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = make_tiny(tmp_path_factory.mktemp("tiny") / "model")
    write_gguf(folder, folder.parent / "tiny.gguf", type="f32")
    return folder


@pytest.fixture(scope="module")
def reference(folder):
    return open_engine(str(folder))


@pytest.fixture(scope="module")
def engine(folder):
    engine = open_engine(str(folder.parent / "tiny.gguf"))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def prompts(engine):
    tokenizer = engine.tokenizer
    return [[tokenizer.bos_id, *tokenizer.encode(text, at_start=True)] for text in TEXTS]


@pytest.mark.parametrize(
    "settings",
    [
        {"max_new_tokens": 100},
        {"max_new_tokens": 40, "repetition_penalty": 1.3},
        {"max_new_tokens": 40, "presence_penalty": 0.7, "frequency_penalty": 0.2},
        {"max_new_tokens": 40, "grammar": Grammar("choice", '["是的", "不是", "maybe"]')},
        {"max_new_tokens": 40, "grammar": Grammar("json_schema", SCHEMA)},
        {"max_new_tokens": 12, "grammar": Grammar("regex", "[0-9]{3}")},
    ],
    ids=["greedy", "repetition", "presence", "choice", "json", "regex"],
)
def test_greedy_tokens_are_those_of_transformers(engine, reference, prompts, settings):
    sampling = Sampling(**settings)
    assert engine.generate(prompts, sampling) == reference.generate(prompts, sampling)


@pytest.mark.parametrize("seed", range(6))
def test_drawn_answers_repeat_and_their_stream_is_their_text(engine, prompts, seed):
    # The untrained model draws bytes at random: half characters, and bytes that are none.
    sampling = Sampling(max_new_tokens=90, temperature=1.0, top_k=200, min_p=0.01, seed=seed)
    made = engine.generate(prompts[:1], sampling)[0]
    events = list(engine.events(prompts[0], sampling))
    assert events[-1].generation == made
    assert "".join(event.text for event in events) == made.text
    assert not any("\ufffd" in event.text for event in events)
    stream = TextStream()
    pieces = [stream.push(engine.tokenizer.bytes_of(token)) for token in made.ids]
    assert made.text == "".join([*pieces, stream.finish()])
    assert engine.generate(prompts[:1], sampling)[0] == made


def test_a_text_of_split_characters_comes_whole(engine, prompts):
    # Every character of this answer is made of three or four tokens.
    text = "翰林🙂鑫"
    sampling = Sampling(max_new_tokens=60, grammar=Grammar("choice", f'["{text}"]'))
    assert len(engine.tokenizer.encode(text, at_start=False)) > 2 * len(text)
    assert [event.text for event in engine.events(prompts[0], sampling) if event.text] == list(text)


@pytest.mark.parametrize("seed", range(3))
def test_any_character_comes_whole(engine, prompts, seed):
    assigned = [c for c in map(chr, range(sys.maxunicode)) if unicodedata.category(c)[0] != "C"]
    text = "".join(random.Random(seed).sample([c for c in assigned if c != "\ufffd"], 110))
    grammar = Grammar("choice", json.dumps([text]))
    events = list(engine.events(prompts[0], Sampling(max_new_tokens=500, grammar=grammar)))
    assert "".join(event.text for event in events) == events[-1].generation.text == text
    assert not any("\ufffd" in event.text for event in events)


def test_log_probabilities_are_those_of_transformers(engine, reference, prompts):
    sampling = Sampling(max_new_tokens=30, top_logprobs=2)
    found, expected = (e.generate(prompts, sampling) for e in (engine, reference))
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.ids == theirs.ids
        assert [token.id for token in ours.logprobs] == list(ours.ids)
        for mine, other in zip(ours.logprobs, theirs.logprobs, strict=True):
            assert mine.logprob == pytest.approx(other.logprob, abs=1e-3)
            assert [top[0] for top in mine.top] == [top[0] for top in other.top]


def test_what_it_does_not_have_is_refused(engine, prompts):
    with pytest.raises(ConfigError, match="num_beams cannot be set for this model") as error:
        engine.generate(prompts, Sampling(num_beams=2))
    assert "transformers" in str(error.value)
    both = Sampling(repetition_penalty=1.2, presence_penalty=0.5)
    with pytest.raises(ConfigError, match="cannot be set together with presence_penalty"):
        engine.generate(prompts, both)


def test_several_threads_get_their_own_answers(engine, prompts):
    assert engine.num_slots > 1
    sampling = Sampling(max_new_tokens=16)
    expected = [made.text for made in engine.generate(prompts, sampling)]
    found = [""] * 9

    def ask(number, scheduler):
        with scheduler.submit(prompts[number % 3], sampling) as ticket:
            found[number] = "".join(event.text for event in ticket.events())

    with Scheduler(engine) as scheduler:
        threads = [threading.Thread(target=ask, args=(i, scheduler)) for i in range(9)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == expected * 3


def test_its_death_ends_the_request_and_the_next_one_starts_it_anew(tmp_path, prompts):
    # Large enough that an answer takes seconds, and small enough to be made in one.
    folder = make_tiny(tmp_path / "model", hidden_size=256, layers=6)
    write_gguf(folder, tmp_path / "slow.gguf", type="f32")
    engine = open_engine(str(tmp_path / "slow.gguf"))
    short, long = Sampling(max_new_tokens=4), Sampling(max_new_tokens=480)
    before = engine.generate(prompts[:1], short)
    for _ in range(2):
        events = engine.events(prompts[0], long)
        next(events)
        os.kill(engine.pid, signal.SIGKILL)
        with pytest.raises(ResourceError, match=r"llama\.cpp ended while it worked") as error:
            list(events)
        assert "by the signal SIGKILL, often for lack of memory" in str(error.value)
        assert "it is started anew" in str(error.value)
        assert engine.generate(prompts[:1], short) == before
    engine.close()


def test_it_ends_with_its_engine(folder):
    engine = open_engine(str(folder.parent / "tiny.gguf"))
    pid = engine.pid
    engine.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
