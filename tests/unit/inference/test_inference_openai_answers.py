"""A server's answers are those of the model itself: by ids where it gives them, else by text."""

import logging
import time

import pytest

from completions_server import Completions
from hanlin.core.errors import ConfigError, InputError, ResourceError
from hanlin.core.records import Grammar
from hanlin.inference import http_json
from hanlin.inference.engine import Sampling, open_engine
from hanlin.models.manifest import write_manifest
from hanlin.models.tiny import make_tiny
from hanlin.prompts.formats import get_format
from hanlin.prompts.probe import check_probe, prompt_record
from hanlin.tokenization.load import load

TEXTS = ("Who wrote the book?", "这本书是谁写的？", "A 混合 sentence：ＡＢＣ, 🙂!")
GREEDY = Sampling(max_new_tokens=40)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = make_tiny(tmp_path_factory.mktemp("tiny"))
    write_manifest(folder, prompt=prompt_record(get_format("plain"), load(folder)))
    return folder


@pytest.fixture(scope="module")
def local(folder):
    return open_engine(str(folder))


@pytest.fixture
def serve(folder):
    servers = []

    def start(kind="ids"):
        servers.append(Completions(folder, kind=kind).start())
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def prompts_of(engine):
    encode = engine.tokenizer.encode
    return [[engine.tokenizer.bos_id, *encode(text, at_start=True)] for text in TEXTS]


def test_ids_go_there_and_come_back(local, serve):
    server = serve()
    engine = open_engine(server.address)
    prompts = prompts_of(local)
    assert engine.generate(prompts, GREEDY) == local.generate(prompts, GREEDY)
    assert sorted(body["prompt"] for body in server.requests) == sorted(prompts)
    events = list(engine.events(prompts[1], GREEDY))
    assert "".join(event.text for event in events) == events[-1].generation.text
    assert all("\ufffd" not in event.text for event in events)
    assert check_probe(engine.manifest, engine.tokenizer) == get_format("plain")


@pytest.mark.parametrize("kind", ["text", "strict"])
def test_a_server_that_gives_text_only(local, serve, caplog, kind):
    caplog.set_level(logging.WARNING)
    server = serve(kind)
    engine = open_engine(server.address)
    found = engine.generate(prompts_of(local), GREEDY)
    expected = local.generate(prompts_of(local), GREEDY)
    assert [made.text for made in found] == [made.text for made in expected]
    assert [made.stopped_by for made in found] == [made.stopped_by for made in expected]
    assert caplog.text.count("gives no token ids") == 1
    with pytest.raises(InputError, match="gives no ids of the tokens"):
        engine.generate([[1, 5]], Sampling(max_new_tokens=3, top_logprobs=1))


@pytest.mark.parametrize("kind", ["ids", "text"])
def test_stop_strings_and_leaving_early(local, serve, kind):
    server = serve(kind)
    engine = open_engine(server.address)
    prompt = prompts_of(local)[0]
    whole = local.generate([prompt], GREEDY)[0].text
    sampling = Sampling(max_new_tokens=40, stop=(whole[8:10],))
    made = engine.generate([prompt], sampling)[0]
    assert (made.text, made.stopped_by) == (whole[: whole.index(whole[8:10])], "stop")
    server.num_left = 0
    stream = engine.stream(prompt, Sampling(max_new_tokens=480))
    next(stream)
    stream.close()
    end = time.monotonic() + 20
    while server.num_left == 0 and time.monotonic() < end:
        time.sleep(0.01)
    assert server.num_left == 1


def test_parameters_reach_the_model(local, serve):
    server = serve()
    sampling = Sampling(
        max_new_tokens=8, temperature=1.2, top_k=9, min_p=0.1, repetition_penalty=1.3, seed=5
    )
    engine = open_engine(server.address)
    assert engine.generate([[1, 5]], sampling) == engine.generate([[1, 5]], sampling)
    sent = server.requests[0]
    wanted = {"temperature": 1.2, "top_k": 9, "min_p": 0.1, "repetition_penalty": 1.3}
    assert {name: sent[name] for name in wanted} == wanted
    with pytest.raises(ConfigError, match="num_beams cannot be set"):
        engine.generate([[1, 5]], Sampling(num_beams=2))


def test_log_probabilities(local, serve):
    sampling = Sampling(max_new_tokens=6, top_logprobs=2)
    found = open_engine(serve().address).generate([[1, 5]], sampling)[0]
    expected = local.generate([[1, 5]], sampling)[0]
    assert found == expected
    assert len(found.logprobs) == len(found.ids) > 0


@pytest.mark.parametrize("kind", ["ids", "strict"])
def test_forms(serve, kind):
    server = serve(kind)
    engine = open_engine(server.address)
    choice = Grammar("choice", '["是的", "不是"]')
    schema = Grammar("json_schema", '{"enum": ["甲", "乙"]}')
    sampling = Sampling(max_new_tokens=30, grammar=choice)
    assert engine.generate([[1, 5]], sampling)[0].text in ("是的", "不是")
    made = engine.generate([[1, 5]], Sampling(max_new_tokens=30, grammar=schema))[0]
    assert made.text in ('"甲"', '"乙"')
    server.heeds_grammar = False
    engine.generate([[1, 5]], Sampling(max_new_tokens=2, grammar=choice))  # cut: nothing to say
    server.engine = _EndsAtOnce(server.engine)
    with pytest.raises(InputError, match="does not have the form"):
        engine.generate([[1, 5]], sampling)


class _EndsAtOnce:
    """The tiny model, which seldom ends by itself, with an end after three tokens."""

    def __init__(self, engine):
        self.engine = engine

    def events(self, prompt, sampling):
        *_, last = self.engine.events(prompt, Sampling(max_new_tokens=3))
        end = Sampling(max_new_tokens=9, stop_ids=last.generation.ids[2:], top_logprobs=0)
        return self.engine.events(prompt, end)


def test_a_server_that_takes_no_ids(serve):
    engine = open_engine(serve("no-ids").address)
    with pytest.raises(InputError, match="refused a prompt of token ids") as error:
        engine.generate([[1, 5]], GREEDY)
    assert "prompt must be a string" in str(error.value)


def test_a_server_that_breaks_off_or_is_gone(serve, monkeypatch):
    monkeypatch.setattr(http_json.time, "sleep", lambda _: None)
    server = serve()
    engine = open_engine(server.address)
    server.break_after = 3
    with pytest.raises(ResourceError, match="did not answer") as error:
        engine.generate([[1, 5]], GREEDY)
    assert "it broke off its answer" in str(error.value)
    server.break_after = None
    assert engine.generate([[1, 5]], GREEDY)[0].text
    server.close()
    with pytest.raises(ResourceError, match="did not answer"):
        engine.generate([[1, 5]], GREEDY)
