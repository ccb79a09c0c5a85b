"""Many threads share one model: no answer depends on another one, and no failure ends another."""

import subprocess
import sys
import threading

import pytest
import torch
from torch.nn.modules.module import register_module_forward_hook

from hanlin.core.errors import ConfigError, HanlinError, InputError, ResourceError
from hanlin.core.records import Grammar
from hanlin.inference.backends.transformers import TransformersEngine
from hanlin.inference.engine import Sampling
from hanlin.inference.scheduler import Scheduler
from hanlin.models.tiny import make_tiny

SCHEMA = """{"type": "object", "properties": {"书": {"enum": ["河", "桥"]},
 "n": {"type": "integer", "minimum": 0, "maximum": 99}},
 "required": ["书", "n"], "additionalProperties": false}"""
KINDS = {
    "greedy": Sampling(max_new_tokens=24),
    "short": Sampling(max_new_tokens=3, top_logprobs=2),
    "sampled": Sampling(max_new_tokens=20, temperature=0.9, top_p=0.9, seed=3),
    "penalized": Sampling(max_new_tokens=20, repetition_penalty=1.3, frequency_penalty=0.5),
    "beams": Sampling(max_new_tokens=16, num_beams=4, top_logprobs=0),
    "drawn beams": Sampling(max_new_tokens=12, num_beams=3, temperature=1.2, seed=9),
    "schema": Sampling(max_new_tokens=40, grammar=Grammar("json_schema", SCHEMA)),
    "schema, beams": Sampling(
        max_new_tokens=40, num_beams=2, grammar=Grammar("json_schema", SCHEMA)
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def engine(folder):
    return TransformersEngine(str(folder))


@pytest.fixture(scope="module")
def requests(engine):
    """Prompts of very different lengths, each kind of sampling three times."""
    texts = ("x", "Who wrote the book? 这本书是谁写的？", "古城 " * 30)
    tokenizer = engine.tokenizer
    return [
        ([tokenizer.bos_id, *tokenizer.encode(text * (n % 3 + 1), at_start=True)], sampling)
        for text in texts
        for n, sampling in enumerate(KINDS.values())
    ]


def read(ticket, found, key):
    found[key] = list(ticket.events())


@pytest.mark.parametrize("max_running", [1, 5, 32])
def test_an_answer_is_the_same_in_any_company(engine, requests, max_running):
    alone = [engine.generate([prompt], sampling)[0] for prompt, sampling in requests]
    found = {}
    with Scheduler(engine, max_running=max_running) as scheduler:
        tickets = [scheduler.submit(*request) for request in requests]
        threads = [
            threading.Thread(target=read, args=(ticket, found, key))
            for key, ticket in enumerate(tickets)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for key, expected in enumerate(alone):
        answer = found[key][-1].generation
        assert (answer.ids, answer.text) == (expected.ids, expected.text)
        assert answer.stopped_by == expected.stopped_by
        assert "".join(event.text for event in found[key]) == expected.text
        assert sum((event.logprobs for event in found[key]), ()) == answer.logprobs
        assert all(event.generation is None for event in found[key][:-1])


def test_requests_join_while_others_run(engine):
    prompt = [1, 5, 6]
    with Scheduler(engine) as scheduler:
        slow = scheduler.submit(prompt, Sampling(max_new_tokens=400))
        events = slow.events()
        next(events)
        quick = list(scheduler.submit(prompt, Sampling(max_new_tokens=2)).events())
        assert quick[-1].generation.stopped_by == "length"
        assert not slow.is_over
        *_, last = events
        assert last.generation == engine.generate([prompt], Sampling(max_new_tokens=400))[0]


def test_a_canceled_request_frees_its_place_within_a_step(engine):
    calls = []
    handle = register_module_forward_hook(
        lambda module, *_: calls.append(1) if type(module).__name__ == "LlamaForCausalLM" else None
    )
    try:
        with Scheduler(engine, max_running=1) as scheduler:
            first = scheduler.submit([1, 5], Sampling(max_new_tokens=400))
            events = first.events()
            next(events)
            before = len(calls)
            events.close()
            second = list(scheduler.submit([1, 6], Sampling(max_new_tokens=1)).events())
            assert second[-1].generation is not None
            # The pass that was being computed, perhaps, and the only one of the second request.
            assert len(calls) - before <= 3
            assert first.is_canceled
    finally:
        handle.remove()


def test_leaving_the_block_of_a_ticket_gives_the_request_up(engine):
    with Scheduler(engine) as scheduler:
        with scheduler.submit([1, 5], Sampling(max_new_tokens=400)) as ticket:
            next(ticket.events())
        assert ticket.is_canceled
        assert list(ticket.events()) == []


def test_what_is_wrong_with_a_request_is_told_to_its_reader_alone(engine):
    wrong = {
        InputError: ([1] * 600, Sampling()),
        ConfigError: ([1], Sampling(grammar=Grammar("regex", "a("))),
    }
    with Scheduler(engine) as scheduler:
        good = scheduler.submit([1, 5, 6], KINDS["greedy"])
        for kind, request in wrong.items():
            with pytest.raises(kind):
                list(scheduler.submit(*request).events())
        *_, last = good.events()
    assert last.generation == engine.generate([[1, 5, 6]], KINDS["greedy"])[0]


def test_a_backend_that_breaks_ends_the_request_and_not_the_scheduler(engine, caplog):
    class Breaking:
        """An engine whose model is gone for every second request."""

        asked = 0

        def events(self, prompt, sampling):
            self.asked += 1
            if self.asked % 2:
                raise ConnectionResetError("the process is gone")
            yield from engine.events(prompt, sampling)

    with Scheduler(Breaking()) as scheduler:
        with pytest.raises(HanlinError, match="the model failed while it answered") as caught:
            list(scheduler.submit([1, 5], KINDS["short"]).events())
        assert "ConnectionResetError: the process is gone" in caught.value.why
        *_, last = scheduler.submit([1, 5], KINDS["short"]).events()
        assert last.generation == engine.generate([[1, 5]], KINDS["short"])[0]


def test_a_closed_scheduler_takes_nothing_and_ends_everything(engine):
    scheduler = Scheduler(engine, max_running=1)
    tickets = [scheduler.submit([1, 5], Sampling(max_new_tokens=400)) for _ in range(3)]
    scheduler.close()
    for ticket in tickets:
        assert all(event.generation is None for event in ticket.events())
    assert scheduler.num_open == 0
    with pytest.raises(ResourceError, match="no more requests are taken"):
        scheduler.submit([1], Sampling())


SMALL_MEMORY = """
import resource, sys
from hanlin.core.errors import ResourceError
from hanlin.inference.engine import Sampling, open_engine
from hanlin.inference.scheduler import Scheduler

engine = open_engine(sys.argv[1])
alone = engine.generate([[1, 5, 6]], Sampling(max_new_tokens=60))[0]
with Scheduler(engine) as scheduler:
    good = scheduler.submit([1, 5, 6], Sampling(max_new_tokens=60))
    events = good.events()
    next(events)
    pages = int(open("/proc/self/statm").read().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 60_000_000,) * 2)
    for large in (Sampling(num_beams=64), Sampling(max_new_tokens=1)):
        try:
            list(scheduler.submit([5] * 3000, large).events())
        except ResourceError as error:
            print(error)
    *_, last = events
    assert last.generation == alone
    *_, last = scheduler.submit([1, 5, 6], Sampling(max_new_tokens=60)).events()
    assert last.generation == alone
print("alive")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of a process")
def test_a_request_that_finds_no_memory_ends_alone(folder, tmp_path):
    engine = TransformersEngine(str(folder))
    config = (folder / "config.json").read_text()
    roomy = tmp_path / "roomy"
    roomy.mkdir()
    for file in folder.iterdir():
        (roomy / file.name).write_bytes(file.read_bytes())
    (roomy / "config.json").write_text(
        config.replace(f'"max_position_embeddings": {engine.max_length}',
                       '"max_position_embeddings": 40000')
    )  # fmt: skip
    child = subprocess.run(
        [sys.executable, "-c", SMALL_MEMORY, str(roomy)], capture_output=True, text=True
    )
    assert child.returncode == 0, child.stderr
    assert child.stdout.splitlines()[-1] == "alive"
    assert child.stdout.count("there is not enough memory for the answer") == 1
    assert "shorten the prompt" in child.stdout


def test_no_thread_is_left(engine):
    before = threading.active_count()
    with Scheduler(engine) as scheduler:
        scheduler.submit([1, 5], KINDS["short"])
    assert threading.active_count() == before
    assert not torch.is_inference_mode_enabled()
