"""Penalties, what may be drawn and log-probabilities equal transformers' processors and warpers."""

import pytest
import torch
from transformers import LogitsProcessorList
from transformers.generation import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from hanlin.inference.backends.transformers import TransformersEngine
from hanlin.inference.engine import Sampling
from hanlin.inference.sampling import distribution, penalized, warp
from hanlin.models.load import load_model
from hanlin.models.tiny import make_tiny


def logits(rows=6, entries=60):
    return torch.randn(rows, entries, generator=torch.Generator().manual_seed(0)) * 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def engine(folder):
    return TransformersEngine(str(folder))


@pytest.mark.parametrize("min_p", [0.01, 0.3, 1.0])
@pytest.mark.parametrize("top_k", [0, 7])
@pytest.mark.parametrize("top_p", [0.6, 1.0])
@pytest.mark.parametrize("min_keep", [1, 3])
def test_what_may_be_drawn(min_p, top_k, top_p, min_keep):
    rules = [TemperatureLogitsWarper(0.7)]
    rules += [TopKLogitsWarper(top_k, min_tokens_to_keep=min_keep)] if top_k else []
    rules += [TopPLogitsWarper(top_p, min_tokens_to_keep=min_keep)] if top_p < 1 else []
    rules.append(MinPLogitsWarper(min_p, min_tokens_to_keep=min_keep))
    sampling = Sampling(temperature=0.7, top_k=top_k, top_p=top_p, min_p=min_p)
    expected = LogitsProcessorList(rules)(None, logits())
    torch.testing.assert_close(warp(logits(), sampling, min_keep=min_keep), expected)
    if min_keep == 1:
        torch.testing.assert_close(distribution(logits(), sampling), expected.softmax(-1))


@pytest.mark.parametrize("penalty", [0.5, 1.0, 1.8])
def test_repetition_penalty(penalty):
    prompt, answer = [3, 3, 9, 41], [7, 9, 7]
    expected = RepetitionPenaltyLogitsProcessor(penalty)(
        torch.tensor([prompt + answer] * 6), logits().clone()
    )
    for row, wanted in zip(logits(), expected, strict=True):
        ours = penalized(row, Sampling(repetition_penalty=penalty), prompt=prompt, answer=answer)
        torch.testing.assert_close(ours, wanted)


def test_presence_and_frequency_penalties_count_the_answer_alone():
    row = logits(1)[0]
    sampling = Sampling(presence_penalty=0.5, frequency_penalty=0.25)
    ours = penalized(row, sampling, prompt=[1, 2], answer=[2, 5, 5, 5])
    less = torch.zeros(60)
    less[2], less[5] = 0.5 + 0.25, 0.5 + 0.75
    torch.testing.assert_close(ours, row - less)


@pytest.mark.parametrize("settings", [{}, {"repetition_penalty": 1.5}])
def test_greedy_answers_equal_generate(engine, folder, settings):
    model = load_model(folder)
    for prompt in ([1, 5, 9], [1, 300, 301, 302, 303], [1] * 40):
        theirs = model.generate(
            torch.tensor([prompt]), max_new_tokens=32, do_sample=False, pad_token_id=0, **settings
        )[0, len(prompt) :].tolist()
        ours = engine.generate([prompt], Sampling(max_new_tokens=32, **settings))[0]
        assert [*ours.ids, *([2] if ours.stopped_by == "eos" else [])] == theirs


def test_penalties_forbid_what_was_said(engine):
    prompt = [1, 5, 9]
    ids = engine.generate(
        [prompt], Sampling(max_new_tokens=40, presence_penalty=2.0, frequency_penalty=2.0)
    )[0].ids
    plain = engine.generate([prompt], Sampling(max_new_tokens=40))[0].ids
    assert len(set(ids)) / len(ids) >= len(set(plain)) / len(plain)
    assert ids != plain


@pytest.mark.parametrize("sampling", [{}, {"temperature": 2.0, "top_k": 5, "frequency_penalty": 1}])
def test_log_probabilities_are_the_models_own(engine, folder, sampling):
    prompt = [1, 300, 301]
    answer = engine.generate([prompt], Sampling(max_new_tokens=12, top_logprobs=3, **sampling))[0]
    with torch.inference_mode():
        output = load_model(folder)(torch.tensor([[*prompt, *answer.ids]])).logits[0]
    expected_TV = output[len(prompt) - 1 : -1].log_softmax(-1)
    assert len(answer.logprobs) == len(answer.ids)
    for token, token_id, expected_V in zip(answer.logprobs, answer.ids, expected_TV, strict=True):
        assert token.id == token_id
        assert token.data == engine.tokenizer.bytes_of(token_id)
        assert token.logprob == pytest.approx(float(expected_V[token_id]), abs=1e-4)
        values, ids = expected_V.topk(3)
        assert [entry[0] for entry in token.top] == ids.tolist()
        assert [entry[2] for entry in token.top] == pytest.approx(values.tolist(), abs=1e-4)
    plain = engine.generate([prompt], Sampling(max_new_tokens=12, **sampling))[0]
    assert (plain.ids, plain.logprobs) == (answer.ids, ())
