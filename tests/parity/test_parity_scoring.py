"""Scores of shared beginnings equal those of each sequence alone, computed by a plain forward."""

import random

import pytest
import torch
import transformers
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


def scores(model, requests, **options):
    found = prefix.score_requests(model, requests, max_length=512, **options)
    return [score.log_likelihood for score in found]


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


def test_greedy_continuations_are_told_from_others(engine):
    prompts = [prefix_ for prefix_, _ in many_requests(6)[:20] if len(prefix_) < 500]
    answers = [engine.generate([p], Sampling(max_new_tokens=3))[0].ids for p in prompts]
    requests = [(p, a) for p, a in zip(prompts, answers, strict=True) if len(a) == 3]
    assert len(requests) > 10
    assert all(score.is_greedy for score in engine.judge(requests))
    others = [(p, [*a[:2], (a[2] + 1) % 400]) for p, a in requests]
    assert not any(score.is_greedy for score in engine.judge(others))


def test_small_rows_batches_and_slices_change_nothing(engine, monkeypatch):
    requests = many_requests(1)
    expected = engine.score(requests)
    monkeypatch.setattr(prefix, "MAX_LOGITS", 1000)
    for sizes in (prefix.Sizes(70, 16), prefix.Sizes(33, 33), prefix.Sizes(100, 1)):
        monkeypatch.setattr(prefix, "SIZES", {"cpu": sizes})
        assert engine.score(requests) == pytest.approx(expected, abs=1e-4)
    monkeypatch.setattr(prefix, "MAX_STATES", 20_000)  # bytes: rows of a few tokens
    assert engine.score(requests[:9]) == pytest.approx(expected[:9], abs=1e-4)


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


SHAPE = {
    "vocab_size": 400, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512,
    "head_dim": 16, "pad_token_id": 0,
}  # fmt: skip
OTHERS = {
    "Llama": {},
    "Qwen2": {},
    "Qwen3": {},
    "Mistral": {"sliding_window": None},
    "Mistral with a window": {"sliding_window": 32},
    "Gemma2": {"sliding_window": 4096, "final_logit_softcapping": 3.0},
    "Granite": {"logits_scaling": 4.0},
    "Phi3": {},
    "GPT2": {},
    "Bloom": {},
}


def random_model(name, **settings):
    kind = name.split()[0]
    torch.manual_seed(0)
    if kind in ("GPT2", "Bloom"):
        config = getattr(transformers, f"{kind}Config")(
            vocab_size=400, hidden_size=64, n_layer=3, n_head=4, n_positions=512
        )
    else:
        config = getattr(transformers, f"{kind}Config")(**SHAPE, **settings)
    return transformers.AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.parametrize("name", OTHERS)
def test_other_architectures_give_their_own_log_likelihoods(name, monkeypatch):
    monkeypatch.setattr(prefix, "SIZES", {"cpu": prefix.Sizes(150, 40)})
    monkeypatch.setattr(prefix, "PLAIN_SIZES", prefix.Sizes(70, 70))
    model = random_model(name, **OTHERS[name])
    requests = many_requests(3)[:30]
    expected = [alone(model, *request) for request in requests]
    work = prefix.Work()
    values = scores(model, requests, work=work)
    assert values == pytest.approx(expected, abs=1e-4)
    longest = max(len(a) + len(b) for a, b in requests)
    is_tree = prefix.follows_trees(model, longest)
    assert is_tree == (name not in ("Mistral with a window", "Bloom"))
    assert (work.computed == work.distinct) == is_tree


def test_eager_attention_gives_the_same(monkeypatch):
    model, requests = random_model("Llama"), many_requests(7)[:30]
    expected = scores(model, requests)
    model.set_attn_implementation("eager")
    monkeypatch.setattr(prefix, "PLAIN_SIZES", prefix.Sizes(70, 70))
    assert scores(model, requests) == pytest.approx(expected, abs=1e-4)
    assert model.config._attn_implementation == "eager"


def test_bfloat16_agrees_within_its_precision():
    model = random_model("Llama").to(torch.bfloat16)
    requests = many_requests(4)[:20]
    expected = [alone(model, *request) for request in requests]
    assert scores(model, requests) == pytest.approx(expected, abs=0.05)


def test_an_adapter_that_is_loaded_takes_part():
    peft = pytest.importorskip("peft")
    model = random_model("Llama")
    requests = many_requests(5)[:20]
    before = scores(model, requests)
    adapted = peft.get_peft_model(
        model, peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    ).eval()
    after = scores(adapted, requests)
    assert after == pytest.approx([alone(adapted, *r) for r in requests], abs=1e-4)
    assert after != pytest.approx(before, abs=1e-2)


def test_every_distinct_token_is_computed_once(engine):
    engine.work = prefix.Work()
    shots = [7] * 100
    engine.score([([*shots, q], [o]) for q in range(50) for o in range(4)])
    assert engine.work.computed == engine.work.distinct == 150
