"""What plan and preflight know of a training: preferences, sharing among processes, FSDP."""

import re
from pathlib import Path

import pytest

from hanlin.cli.main import run_command
from hanlin.core import environment, network
from hanlin.core.environment import Gpu
from hanlin.models.memory import training_memory
from hanlin.pipeline import preflight as module
from hanlin.pipeline.plan import make_plan
from hanlin.pipeline.preflight import objections
from hanlin.pipeline.recipe import load_recipe
from hanlin.pipeline.recipe_jobs import jobs_of

DOCS = Path(__file__).parents[3] / "docs"
CARD = Gpu("A100", 80 << 30, 80 << 30, "550", "8.0")
TRAIN = """\
name: mine
stages:
  corpus: {stage: prepare-corpus, tokenizer: huggyllama/llama-7b,
    sources: [{name: zh, path: zh.jsonl}]}
  pretrain: {model: huggyllama/llama-7b, store: "@corpus/store", SETTINGS,
    schedule: {steps: 10, seq_len: 512, micro_batch_size: 1, gradient_checkpointing: true}}
"""
DPO = """\
name: mine
stages:
  grow: {model: huggyllama/llama-7b, tokenizer: "@tokenizer/tokenizer"}
  dpo: {model: "@grow/model", preferences: [pairs.jsonl], prompt: plain, SETTINGS,
    schedule: {epochs: 2, seq_len: 512, micro_batch_size: 2, gradient_accumulation_steps: 4}}
"""
TOKENIZER = """\
  tokenizer: {stage: extend-tokenizer, base: huggyllama/llama-7b, corpus: [pairs.jsonl], add: 500}
"""


@pytest.fixture
def recipe_of(tmp_path, monkeypatch):
    monkeypatch.setattr(network, "why_unreachable", lambda _address: "")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(environment, "gpus", list)
    monkeypatch.setattr(module, "disk_bytes", lambda _job: 10)
    (tmp_path / "zh.jsonl").write_text('{"text": "a"}\n')
    (tmp_path / "pairs.jsonl").write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n' * 100)

    def make(text, settings):
        text = text.replace("SETTINGS", settings).replace("  grow:", f"{TOKENIZER}  grow:")
        (tmp_path / "mine.yaml").write_text(text)
        return load_recipe(tmp_path / "mine.yaml")

    return make


def bytes_of(job):
    return training_memory(job.info, job.training).total


def test_preferences_are_a_training_of_two_answers_a_row(recipe_of):
    (job,) = jobs_of(recipe_of(DPO, "method: lora"))
    assert (job.training.rows, job.rows_per_step) == (4, 16)
    assert job.tokens == 2 * 4800 // 4  # two epochs, four bytes a token
    rows = 500 * job.info.hidden_size * 2
    assert job.training.trained_parameters > rows
    (frozen,) = jobs_of(recipe_of(DPO, "lora: {grown_rows: freeze}"))
    assert job.training.trained_parameters - frozen.training.trained_parameters == rows


def test_preferences_of_all_weights_hold_the_model_twice(recipe_of):
    (job,) = jobs_of(recipe_of(DPO, "method: full"))
    memory = training_memory(job.info, job.training)
    assert memory.weights == 2 * 4 * job.info.parameters
    assert memory.total > 20 * job.info.parameters  # with gradients and moments


def test_preferences_need_their_packages(recipe_of, tmp_path, monkeypatch):
    real = module.find_spec
    monkeypatch.setattr(module, "find_spec", lambda n: None if n == "trl" else real(n))
    monkeypatch.setattr(environment, "available_memory_bytes", lambda: 10**13)
    recipe = recipe_of(DPO, "method: lora")
    (found,) = objections(recipe, make_plan(recipe, tmp_path / "run"), tmp_path / "run")
    assert found.what == "packages are missing: trl"
    assert found.fix == 'pip install "hanlin[dpo]"'


def test_what_processes_share_counts_once_in_all_of_them(recipe_of):
    alone, zero_2, zero_3, fsdp = (
        jobs_of(recipe_of(TRAIN, f"processes: 8, {settings}"))[0]
        for settings in (
            "sharding: {zero: 0}", "sharding: {zero: 2}", "sharding: {zero: 3}",
            "trainer: {fsdp: true, fsdp_config: {version: 2}}",
        )
    )  # fmt: skip
    assert bytes_of(alone) > bytes_of(zero_2) > bytes_of(zero_3)
    assert fsdp.training == zero_3.training
    (kept,) = jobs_of(
        recipe_of(TRAIN, "processes: 8, trainer: {fsdp: true, fsdp_config: "
                         "{version: 2, reshard_after_forward: false}}")
    )  # fmt: skip
    assert kept.training == zero_2.training
    (moved,) = jobs_of(recipe_of(TRAIN, "processes: 8, sharding: {zero: 3, offload: all}"))
    assert bytes_of(moved) < bytes_of(zero_3)


@pytest.mark.parametrize(
    ("settings", "fits"),
    [
        ("processes: 8, sharding: {zero: 0}", False),
        ("processes: 8, sharding: {zero: 3}", True),
        ("processes: 8, trainer: {fsdp: true}", True),
    ],
)
def test_each_card_holds_its_share(recipe_of, tmp_path, monkeypatch, settings, fits):
    monkeypatch.setattr(environment, "gpus", lambda: [CARD])
    recipe = recipe_of(TRAIN, settings)
    found = objections(recipe, make_plan(recipe, tmp_path / "run"), tmp_path / "run")
    missing = [one for one in found if "GiB of memory" in one.what]
    assert not missing if fits else "its card has 80.0 GiB" in missing[0].what


def test_without_cards_all_processes_share_one_memory(recipe_of, tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "available_memory_bytes", lambda: 1 << 30)

    def needed(settings, here=4):
        recipe = recipe_of(TRAIN, settings)
        plan = make_plan(recipe, tmp_path / "run")
        told = [one.what for one in objections(recipe, plan, tmp_path / "run")]
        (found,) = (what for what in told if "GiB" in what)
        assert (f"for {here} processes" in found) == ("processes: 4" in settings)
        return float(re.search(r"about ([\d.]+) GiB", found)[1])

    one, four = needed("processes: 1"), needed("processes: 4")
    assert four == pytest.approx(4 * one, rel=0.02)
    assert needed("processes: 4, trainer: {fsdp: true}") == four  # it shares nothing without cards
    assert one < needed("processes: 4, sharding: {zero: 3}") < four
    monkeypatch.setenv("HANLIN_NODES", "2")
    monkeypatch.setenv("HANLIN_RENDEZVOUS", "node1:29500")
    assert needed("processes: 4", here=2) == pytest.approx(four / 2, rel=0.02)


def test_the_book_s_recipe_of_preferences_is_right(tmp_path, capsys):
    text = (DOCS / "training.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(# preferences\.yaml.*?)```", text, re.DOTALL)
    file = tmp_path / "preferences.yaml"
    file.write_text(block, encoding="utf-8")
    assert run_command(["recipe", "check", str(file)]) == 0
    assert [stage.kind for stage in load_recipe(file).stages if stage.kind == "dpo"] == ["dpo"]
    capsys.readouterr()
