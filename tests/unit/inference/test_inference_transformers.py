"""The transformers backend: the stream is the text, a batch is its prompts, limits are kept."""

import json

import pytest
import torch

from hanlin.core.errors import InputError
from hanlin.inference.backends.transformers import TransformersEngine
from hanlin.inference.engine import Generation, Sampling
from hanlin.models.load import load_pair
from hanlin.models.save import save_model
from hanlin.models.tiny import make_tiny

GREEDY = Sampling(max_new_tokens=24)
SAMPLED = Sampling(max_new_tokens=24, temperature=0.9, top_k=50, top_p=0.95, seed=3)


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED])
def test_stream_gives_the_text_of_generate(engine, prompts, sampling):
    for prompt in prompts:
        answer = engine.generate([prompt], sampling)[0]
        pieces = list(engine.stream(prompt, sampling))
        assert "".join(pieces) == answer.text
        assert all(pieces) and not any("\ufffd" in piece for piece in pieces)


def test_answers_come_in_the_order_of_the_prompts_and_do_not_depend_on_neighbors(engine, prompts):
    together = engine.generate(prompts, GREEDY)
    assert together == [engine.generate([prompt], GREEDY)[0] for prompt in prompts]
    assert len({answer.ids for answer in together}) > 1


def test_sampling_depends_on_the_seed_alone(engine, prompts):
    first = engine.generate(prompts, SAMPLED)
    assert engine.generate(prompts, SAMPLED) == first
    other = Sampling(max_new_tokens=24, temperature=0.9, top_k=50, top_p=0.95, seed=4)
    assert engine.generate(prompts, other) != first


def test_the_limit_is_the_answers(engine, prompts):
    answers = engine.generate(prompts, Sampling(max_new_tokens=5))
    assert {len(answer.ids) for answer in answers} == {5}
    assert {answer.stopped_by for answer in answers} == {"length"}


def test_the_context_is_a_limit_too(engine):
    prompt = [5] * (engine.max_length - 2)
    answer = engine.generate([prompt], Sampling(max_new_tokens=50))[0]
    assert (len(answer.ids), answer.stopped_by) == (2, "length")


def test_a_prompt_that_fills_the_context_is_refused(engine):
    with pytest.raises(InputError) as error:
        engine.generate([[5] * engine.max_length], GREEDY)
    assert "the prompt has 512 tokens" in str(error.value)
    assert "holds 512" in str(error.value)


def test_stop_string_ends_the_answer_and_is_no_part_of_it(engine, prompts):
    whole = engine.generate(prompts[:1], GREEDY)[0]
    stop = whole.text[4:6]
    cut = engine.generate(prompts[:1], Sampling(max_new_tokens=24, stop=(stop,)))[0]
    assert cut.stopped_by == "stop"
    assert cut.text == whole.text[: whole.text.index(stop)]
    streamed = engine.stream(prompts[0], Sampling(max_new_tokens=24, stop=(stop,)))
    assert "".join(streamed) == cut.text


def always(token_id, model):
    """Change a model so that it answers with one token, whatever it reads."""
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        model.model.embed_tokens.weight.fill_(1)
        model.lm_head.weight.zero_()
        model.lm_head.weight[token_id] = 1
    return model


def test_end_token_ends_the_answer(tmp_path):
    model, tokenizer = load_pair(make_tiny(tmp_path / "base"))
    save_model(always(tokenizer.eos_id, model), tokenizer, tmp_path / "model")
    engine = TransformersEngine(str(tmp_path / "model"))
    assert engine.generate([[5, 6]], GREEDY) == [Generation("", (), "eos")]
    assert list(engine.stream([5, 6], GREEDY)) == []


def test_further_end_tokens_of_generation_config_count_too(tmp_path):
    model, tokenizer = load_pair(make_tiny(tmp_path / "base"))
    save_model(always(9, model), tokenizer, tmp_path / "model")
    file = tmp_path / "model" / "generation_config.json"
    settings = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(settings | {"eos_token_id": [tokenizer.eos_id, 9]}))
    answer = TransformersEngine(str(tmp_path / "model")).generate([[5, 6]], GREEDY)[0]
    assert answer.stopped_by == "eos"


def test_no_prompts(engine):
    assert engine.generate([], GREEDY) == []
    assert engine.score([]) == []
