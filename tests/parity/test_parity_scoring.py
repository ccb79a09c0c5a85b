"""Scores of shared beginnings equal those of each sequence alone, computed by a plain forward."""

import random

import pytest
import torch
from transformers.generation.logits_process import (
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from hanlin.core.errors import InputError
from hanlin.inference import prefix
from hanlin.inference.engine import Sampling, open_engine
from hanlin.inference.sampling import distribution
from hanlin.models.load import load_model
from hanlin.models.tiny import make_tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def engine(folder):
    return open_engine(str(folder))


def alone(model, context, continuation):
    ids = torch.tensor([[*context, *continuation]])
    with torch.inference_mode():
        log_p = model(ids).logits[0].double().log_softmax(-1)
    return sum(log_p[len(context) - 1 + i, t].item() for i, t in enumerate(continuation))


def many_requests(seed):
    """Questions with common examples, options that begin alike, one-token options, long texts."""
    draw = random.Random(seed)

    def ids(count, top=399):
        return [draw.randint(0, top) for _ in range(count)]

    shots = ids(60)
    requests = []
    for _ in range(8):
        question = [*shots, *ids(draw.randint(1, 20))]
        requests += [(question, ids(draw.randint(0, 4), top=3)) for _ in range(6)]
        requests += [(ids(draw.randint(1, 30)), ids(draw.randint(1, 6))) for _ in range(3)]
    return [*requests, ([1], ids(500)), (ids(511), [5])]


def test_log_likelihoods_equal_those_of_each_sequence_alone(folder, engine):
    model, requests = load_model(folder), many_requests(0)
    expected = [alone(model, *request) for request in requests]
    assert engine.score(requests) == pytest.approx(expected, abs=1e-4)


def test_small_rows_batches_and_slices_change_nothing(engine, monkeypatch):
    requests = many_requests(1)
    expected = engine.score(requests)
    monkeypatch.setattr(prefix, "MAX_ROW_TOKENS", 80)
    monkeypatch.setattr(prefix, "MAX_BATCH_TOKENS", 100)
    monkeypatch.setattr(prefix, "MAX_LOGITS", 1000)
    assert engine.score(requests) == pytest.approx(expected, abs=1e-4)


def test_the_order_of_requests_does_not_matter(engine):
    requests = many_requests(2)
    expected = engine.score(requests)
    assert engine.score(requests[::-1])[::-1] == expected


def test_a_text_longer_than_the_context_is_refused(engine):
    with pytest.raises(InputError) as error:
        engine.score([([1] * 500, [2] * 14)])
    assert "a text to score has 513 tokens" in str(error.value)
    assert "holds 512" in str(error.value)


def test_greedy_answers_equal_those_of_transformers_generate(folder, engine):
    model = load_model(folder)
    tokenizer = engine.tokenizer
    for text in ("Who wrote the book?", "这本书是谁写的？", "🙂 ＡＢＣ"):
        prompt = [tokenizer.bos_id, *tokenizer.encode(text, at_start=True)]
        theirs = model.generate(
            torch.tensor([prompt]), max_new_tokens=32, do_sample=False, pad_token_id=0
        )[0, len(prompt) :].tolist()
        ours = engine.generate([prompt], Sampling(max_new_tokens=32))[0]
        assert [*ours.ids, *([tokenizer.eos_id] if ours.stopped_by == "eos" else [])] == theirs


@pytest.mark.parametrize("temperature", [0.3, 1.0, 1.7])
@pytest.mark.parametrize("top_k", [0, 1, 5, 1000])
@pytest.mark.parametrize("top_p", [0.1, 0.7, 1.0])
def test_probabilities_equal_those_of_transformers_warpers(temperature, top_k, top_p):
    logits = torch.randn(4, 50, generator=torch.Generator().manual_seed(0)) * 3
    expected = TemperatureLogitsWarper(temperature)(None, logits)
    if top_k:
        expected = TopKLogitsWarper(top_k)(None, expected)
    if top_p < 1:
        expected = TopPLogitsWarper(top_p)(None, expected)
    ours = distribution(logits, Sampling(temperature=temperature, top_k=top_k, top_p=top_p))
    torch.testing.assert_close(ours, expected.softmax(-1))
