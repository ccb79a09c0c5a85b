"""Beam search and beam sampling give what transformers' own `generate` gives, streamed."""

import random

import pytest
import torch
import transformers

from hanlin.core.stage import derive_seed
from hanlin.inference.backends.transformers import TransformersEngine
from hanlin.inference.engine import Sampling
from hanlin.models.load import load_pair
from hanlin.models.save import save_model
from hanlin.models.tiny import SAMPLE_TEXTS, make_tiny

NEW = 10


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny model whose end token is likely, so that beams end at different lengths."""
    base = make_tiny(tmp_path_factory.mktemp("tiny"))
    model, tokenizer = load_pair(base)
    with torch.no_grad():
        model.lm_head.weight *= 8  # peaked: no two beams are equally likely
        model.lm_head.weight[tokenizer.eos_id] *= 2
    return save_model(model, tokenizer, tmp_path_factory.mktemp("peaked"))


@pytest.fixture(scope="module")
def engine(folder):
    return TransformersEngine(str(folder))


@pytest.fixture(scope="module")
def model(folder):
    return load_pair(folder)[0]


@pytest.fixture(scope="module")
def prompts(engine):
    """100 prompts: pieces of Chinese and English sentences."""
    draw = random.Random(0)
    tokenizer = engine.tokenizer
    found = []
    while len(found) < 100:
        text = draw.choice(SAMPLE_TEXTS)
        start = draw.randrange(len(text) - 4)
        text = text[start : start + draw.randint(2, 24)]
        found.append([tokenizer.bos_id, *tokenizer.encode(text, at_start=True)])
    return found


def theirs(model, prompts, *, seed=None, eos=(2,), **settings):
    """Ids (without the end token) and score of transformers' best beam of each prompt."""
    if seed is not None:
        torch.manual_seed(seed)
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts])
    with torch.inference_mode():
        output = model.generate(
            ids, attention_mask=(ids != 0).long(), max_new_tokens=NEW, pad_token_id=0,
            eos_token_id=list(eos), do_sample=seed is not None, return_dict_in_generate=True,
            output_scores=True, **{"num_beams": 4, "top_k": 0} | settings,
        )  # fmt: skip
    found = []
    for row, score in zip(output.sequences, output.sequences_scores, strict=True):
        answer = row[width:].tolist()
        at = next((i for i, token in enumerate(answer) if token in eos), len(answer))
        found.append((answer[:at], pytest.approx(float(score), rel=1e-4)))
    return found


def results(answers):
    return [(list(answer.ids), answer.score) for answer in answers]


def test_beam_search_equals_generate_for_100_prompts(engine, model, prompts):
    ours = engine.generate(prompts, Sampling(max_new_tokens=NEW, num_beams=4))
    assert results(ours) == theirs(model, prompts)
    lengths = {len(answer.ids) for answer in ours}
    assert len(lengths) > 3
    assert {answer.stopped_by for answer in ours} == {"eos", "length"}


@pytest.mark.parametrize(
    "settings",
    [
        {"num_beams": 2, "length_penalty": 0.0},
        {"num_beams": 3, "length_penalty": 2.0},
        {"num_beams": 5, "length_penalty": -1.0},
        {"num_beams": 4, "repetition_penalty": 1.7},
    ],
)
def test_other_settings_of_beam_search_equal_too(engine, model, prompts, settings):
    ours = engine.generate(prompts[:12], Sampling(max_new_tokens=NEW, **settings))
    expected = [theirs(model, [prompt], **settings)[0] for prompt in prompts[:12]]
    assert results(ours) == expected


def test_several_end_tokens_equal_too(engine, model, prompts):
    ends = (2, 40, 41, 42)
    ours = engine.generate(prompts[:20], Sampling(max_new_tokens=NEW, num_beams=4, stop_ids=ends))
    assert results(ours) == theirs(model, prompts[:20], eos=ends)


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 1.0},
        {"temperature": 0.7, "top_k": 40},
        {"temperature": 1.4, "top_p": 0.9, "min_p": 0.02},
    ],
)
def test_beam_sampling_with_the_same_draws_equals_generate(engine, model, prompts, settings):
    for number, prompt in enumerate(prompts[:34]):
        sampling = Sampling(max_new_tokens=NEW, num_beams=4, seed=number, **settings)
        ours = results(engine.generate([prompt], sampling))
        assert ours == theirs(model, [prompt], seed=derive_seed(number, "answer/0"), **settings)


def test_a_sliding_window_is_kept_in_a_batch(tmp_path, engine):
    config = transformers.MistralConfig(
        vocab_size=400, hidden_size=32, intermediate_size=64, num_hidden_layers=2, head_dim=16,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=512,
        sliding_window=8, pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    windowed = transformers.MistralForCausalLM(config).eval()
    with torch.no_grad():
        windowed.lm_head.weight *= 8
    ours = TransformersEngine(str(save_model(windowed, engine.tokenizer, tmp_path)))
    prompts = [[1, *range(100, 100 + count)] for count in (3, 30, 14, 60)]
    for beams in (1, 3):
        answers = ours.generate(prompts, Sampling(max_new_tokens=NEW, num_beams=beams))
        for prompt, answer in zip(prompts, answers, strict=True):
            ids = torch.tensor([prompt])
            expected = windowed.generate(
                ids, max_new_tokens=NEW, num_beams=beams, do_sample=False, eos_token_id=2
            )[0, len(prompt) :].tolist()
            assert list(answer.ids) == [token for token in expected if token != 2]
