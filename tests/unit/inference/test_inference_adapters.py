"""Adapters on one base answer in turn, in one server, each as if it were alone."""

import json
import shutil

import peft
import pytest
import torch

from hanlin.core.errors import ConfigError, InputError
from hanlin.inference.engine import Sampling, open_engine
from hanlin.inference.scheduler import Scheduler
from hanlin.models.load import load_pair
from hanlin.models.manifest import write_manifest
from hanlin.models.save import save_model
from hanlin.models.tiny import make_tiny

PROMPT = [1, 300, 301]
ROWS = list(range(300, 400))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def made(base, tmp_path_factory):
    """Two adapters, the second with rows of a grown vocabulary, and each merged into the base."""
    folders, merged = {}, {}
    for name, rows in (("extract", []), ("chat", ROWS)):
        model, tokenizer = load_pair(base)
        config = peft.LoraConfig(
            task_type="CAUSAL_LM", r=4, target_modules="all-linear", init_lora_weights=False,
            trainable_token_indices={"embed_tokens": rows, "lm_head": rows} if rows else None,
        )  # fmt: skip
        torch.manual_seed(len(name))
        tuned = peft.get_peft_model(model, config)
        with torch.no_grad():
            for key, parameter in tuned.named_parameters():
                if "token" in key and parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter) * 0.1)
        place = tmp_path_factory.mktemp(name)
        tuned.save_pretrained(str(place / "adapter"), save_embedding_layers=False)
        folders[name] = str(place / "adapter")
        merged[name] = str(save_model(tuned.merge_and_unload(), tokenizer, place / "merged"))
    return folders, merged


@pytest.fixture(scope="module")
def engine(base, made):
    return open_engine(str(base), adapters=made[0])


@pytest.mark.parametrize("settings", [{}, {"num_beams": 3}])
def test_each_adapter_answers_as_the_merged_model_does(base, made, engine, settings):
    expected = {name: open_engine(folder) for name, folder in made[1].items()}
    expected[None] = open_engine(str(base))
    ids = {}
    for name in ("chat", None, "extract", "chat", None):
        sampling = Sampling(max_new_tokens=12, adapter=name, **settings)
        ids[name] = engine.generate([PROMPT], sampling)[0].ids
        alone = expected[name].generate([PROMPT], Sampling(max_new_tokens=12, **settings))[0]
        assert ids[name] == alone.ids
    assert len(set(ids.values())) == 3
    request = (PROMPT, [5, 6, 7])
    assert engine.score([request]) == pytest.approx(expected[None].score([request]), abs=1e-5)


def test_requests_of_all_adapters_run_side_by_side(engine):
    samplings = [Sampling(max_new_tokens=9, adapter=name) for name in ("chat", None, "extract")] * 3
    alone = [engine.generate([PROMPT], sampling)[0] for sampling in samplings]
    with Scheduler(engine) as scheduler:
        tickets = [scheduler.submit(PROMPT, sampling) for sampling in samplings]
        assert [list(ticket.events())[-1].generation for ticket in tickets] == alone


def test_an_adapter_that_is_not_there(base, made, engine):
    with pytest.raises(ConfigError, match="there is no adapter 'char'") as caught:
        engine.generate([PROMPT], Sampling(adapter="char"))
    assert "extract, chat" in caught.value.why
    with pytest.raises(ConfigError, match="there is no adapter 'chat'"):
        open_engine(str(base)).generate([PROMPT], Sampling(adapter="chat"))
    with pytest.raises(InputError, match=r"is no adapter: it has no adapter_config\.json"):
        open_engine(str(base), adapters={"chat": str(base)})


def test_an_adapter_of_another_base_or_tokenizer_is_refused(base, made, tmp_path):
    folder = tmp_path / "adapter"
    shutil.copytree(made[0]["chat"], folder)
    write_manifest(folder, base={"weights_sha256": "0" * 64})
    with pytest.raises(InputError, match="was not trained on"):
        open_engine(str(base), adapters={"chat": str(folder)})
    write_manifest(folder, base=None, tokenizer_sha256="0" * 64)
    with pytest.raises(InputError, match="is not the one that"):
        open_engine(str(base), adapters={"chat": str(folder)})
    prompt = {"format": "plain", "probe_ids": [1, 2, 3]}
    write_manifest(folder, tokenizer_sha256=None, prompt=prompt)
    with pytest.raises(InputError, match="no longer gives the ids it was trained with"):
        open_engine(str(base), adapters={"chat": str(folder)})
    assert json.loads((folder / "hanlin.json").read_text())["prompt"] == prompt


@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_quantized_models_answer(tmp_path, dtype):
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    folder = make_tiny(tmp_path, hidden_size=64)
    engine = open_engine(str(folder), dtype=dtype)
    floats = open_engine(str(folder))
    request = (PROMPT, [5, 6, 7])
    assert engine.score([request])[0] == pytest.approx(floats.score([request])[0], abs=0.5)
    assert engine.score([request])[0] != floats.score([request])[0]
    for sampling in (Sampling(max_new_tokens=6), Sampling(max_new_tokens=6, num_beams=2)):
        (answer,) = engine.generate([PROMPT], sampling)
        assert 1 <= len(answer.ids) <= 6
        assert "".join(engine.stream(PROMPT, sampling)) == answer.text
