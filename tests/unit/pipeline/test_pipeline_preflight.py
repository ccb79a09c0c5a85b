"""What would stop a run later is found before it starts."""

import os

import pytest

from hanlin.core import environment, network
from hanlin.core.environment import Gpu
from hanlin.core.errors import InputError, MissingExtraError, ResourceError
from hanlin.pipeline import preflight as module
from hanlin.pipeline.plan import make_plan
from hanlin.pipeline.preflight import objections, preflight
from hanlin.pipeline.recipe import load_recipe

CARD = Gpu("RTX 2080 Ti", 11 << 30, 11 << 30, "550", "7.5")
RECIPE = """\
name: mine
stages:
  chat: {stage: prepare-chat, tokenizer: BASE, prompt: alpaca, seq_len: 256,
    sources: [{name: rows, path: rows.jsonl}]}
  finetune: {model: BASE, store: "@chat/store", method: METHOD,
    schedule: {steps: 10, seq_len: 256, micro_batch_size: 4, gradient_checkpointing: true}}
"""


@pytest.fixture(autouse=True)
def _big_machine(monkeypatch):
    """Without card and hub, with much memory and disk."""
    monkeypatch.setattr(environment, "gpus", list)
    monkeypatch.setattr(environment, "available_memory_bytes", lambda: 10**13)
    monkeypatch.setattr(module, "disk_bytes", lambda _job: 10)
    monkeypatch.setattr(network, "why_unreachable", lambda _address: "")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)


@pytest.fixture
def find(tmp_path):
    """Return the objections to a recipe."""

    def run(base="huggyllama/llama-13b", method="lora", out=None):
        (tmp_path / "rows.jsonl").write_text('{"instruction": "a", "output": "b"}\n')
        text = RECIPE.replace("BASE", base).replace("METHOD", method)
        (tmp_path / "mine.yaml").write_text(text)
        recipe = load_recipe(tmp_path / "mine.yaml")
        out = out or tmp_path / "run"
        return recipe, make_plan(recipe, out), out

    return run


def test_nothing_to_object(find):
    assert objections(*find()) == []
    preflight(*find())


def test_a_card_that_is_too_small(find, monkeypatch):
    monkeypatch.setattr(environment, "gpus", lambda: [CARD])
    (found,) = objections(*find())
    assert "'finetune' needs about 2" in found.what and "its card has 11.0 GiB" in found.what
    assert objections(*find("huggyllama/llama-7b", "qlora")) == []
    with pytest.raises(ResourceError) as caught:
        preflight(*find())
    assert "hanlin plan" in str(caught.value) and "--no-preflight" in str(caught.value)


def test_a_machine_without_card_and_memory(find, monkeypatch):
    monkeypatch.setattr(environment, "available_memory_bytes", lambda: 8 << 30)
    (found,) = objections(*find())
    assert "this machine, which has no card, has 8.0 GiB" in found.what


def test_a_disk_that_is_too_small(find, monkeypatch):
    monkeypatch.setattr(module, "disk_bytes", lambda _job: 10**18)
    (found,) = objections(*find())
    assert "about 1000000000 GB of disk are needed" in found.what


def test_a_package_that_is_missing(find, monkeypatch):
    real = module.find_spec
    monkeypatch.setattr(module, "find_spec", lambda n: None if n == "bitsandbytes" else real(n))
    (found,) = objections(*find(method="qlora"))
    assert found.what == "packages are missing: bitsandbytes"
    assert found.fix == 'pip install "hanlin[quantize]"'
    with pytest.raises(MissingExtraError):
        preflight(*find(method="qlora"))


def test_a_hub_that_does_not_answer(find, monkeypatch):
    monkeypatch.setattr(network, "why_unreachable", lambda _address: "timed out")
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example")
    (found,) = objections(*find())
    assert "huggyllama/llama-13b must be fetched" in found.what
    assert "https://hub.example does not answer (timed out)" in found.what
    assert "HF_ENDPOINT=https://hf-mirror.com" in found.fix
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError, match="HF_HUB_OFFLINE forbids it"):
        preflight(*find())


def test_what_was_fetched_before_needs_no_hub(find, monkeypatch, tmp_path):
    monkeypatch.setattr(network, "why_unreachable", lambda _address: "timed out")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    snapshot = tmp_path / "hub" / "models--huggyllama--llama-13b" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    assert objections(*find()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(find, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    assert "cannot be written" in objections(*find(out=closed / "run"))[0].what


def test_a_file_in_the_way(find, tmp_path):
    (tmp_path / "file").write_text("")
    (found,) = objections(*find(out=tmp_path / "file" / "run"))
    assert "is a file" in found.what and "--out" in found.fix


def test_several_objections_are_told_together(find, monkeypatch):
    monkeypatch.setattr(environment, "available_memory_bytes", lambda: 8 << 30)
    monkeypatch.setattr(network, "why_unreachable", lambda _address: "timed out")
    with pytest.raises(ResourceError) as caught:
        preflight(*find())
    assert str(caught.value).count("\n  - ") == 2
