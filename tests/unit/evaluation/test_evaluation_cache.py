"""Answers are kept: a killed evaluation goes on and gives the same values."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from hanlin.evaluation import cache
from hanlin.evaluation.cache import CachedEngine, model_digest
from hanlin.inference.engine import Sampling, open_engine
from hanlin.models.tiny import make_tiny

REQUESTS = [([1, *[7] * 60, q], [o]) for q in range(40, 80) for o in range(4)]
CHILD = """
import json, sys
from hanlin.evaluation import cache
from hanlin.inference.engine import open_engine
from pathlib import Path
cache.SCORE_BLOCK = 8
requests = json.loads(sys.argv[3])
cache.CachedEngine(open_engine(sys.argv[1]), Path(sys.argv[2])).score(requests)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("tiny"))


class Counting:
    """An engine that counts what it is asked."""

    def __init__(self, engine):
        self.engine, self.asked = engine, 0
        self.tokenizer, self.max_length = engine.tokenizer, engine.max_length

    def score(self, requests):
        self.asked += len(requests)
        return self.engine.score(requests)

    def generate(self, prompts, sampling):
        self.asked += len(prompts)
        return self.engine.generate(prompts, sampling)


def test_what_was_answered_is_not_computed_again(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "SCORE_BLOCK", 8)
    engine = Counting(open_engine(str(folder)))
    first = CachedEngine(engine, tmp_path / "j.jsonl").score(REQUESTS)
    assert engine.asked == len(REQUESTS)
    assert first == pytest.approx(engine.engine.score(REQUESTS), abs=1e-4)
    assert CachedEngine(engine, tmp_path / "j.jsonl").score(REQUESTS[::-1])[::-1] == first
    assert engine.asked == len(REQUESTS)


def test_greedy_answers_are_kept_and_sampled_ones_are_not(folder, tmp_path):
    engine = Counting(open_engine(str(folder)))
    cached = CachedEngine(engine, tmp_path / "j.jsonl")
    sampling = Sampling(max_new_tokens=4)
    first = cached.generate([[1, 5], [1, 6]], sampling)
    again = CachedEngine(engine, tmp_path / "j.jsonl").generate([[1, 5], [1, 6]], sampling)
    assert first == again == engine.engine.generate([[1, 5], [1, 6]], sampling)
    assert engine.asked == 2
    cached.generate([[1, 5]], Sampling(max_new_tokens=4, temperature=1.0))
    cached.generate([[1, 5]], Sampling(max_new_tokens=4, temperature=1.0))
    assert engine.asked == 4


def test_a_killed_run_goes_on_and_gives_the_same_values(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "SCORE_BLOCK", 8)
    engine = open_engine(str(folder))
    whole = CachedEngine(engine, tmp_path / "whole.jsonl").score(REQUESTS)
    journal = tmp_path / "killed.jsonl"
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), str(journal), json.dumps(REQUESTS)],
        stdout=subprocess.DEVNULL,
    )
    while child.poll() is None and not (journal.exists() and journal.stat().st_size):
        time.sleep(0.001)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    lines = journal.read_bytes()
    assert lines
    journal.write_bytes(lines[:-5])  # even a line that is cut in two
    counting = Counting(engine)
    assert CachedEngine(counting, journal).score(REQUESTS) == pytest.approx(whole, abs=1e-9)
    kept = len(lines.splitlines())
    assert counting.asked <= len(REQUESTS) - kept + 8  # one block is lost, to the cut


def test_the_digest_is_of_weights_and_config(folder, tmp_path):
    before = model_digest(str(folder))
    assert before == model_digest(str(folder))
    other = make_tiny(tmp_path / "other", seed=1)
    assert model_digest(str(other)) != before


def test_other_stop_tokens_are_another_question(folder, tmp_path):
    cached = CachedEngine(open_engine(str(folder)), tmp_path / "j.jsonl")
    (whole,) = cached.generate([[1, 5]], Sampling(max_new_tokens=8))
    (cut,) = cached.generate([[1, 5]], Sampling(max_new_tokens=8, stop_ids=whole.ids[:1]))
    assert cut != whole
