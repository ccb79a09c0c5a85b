"""The built-in recipes, their inputs, --tiny and --compat; what can be planned for them."""

import json
from importlib.resources import files
from pathlib import Path
from typing import get_args

import pytest
import yaml

from hanlin.cli.main import run_command
from hanlin.core.errors import ConfigError, InputError
from hanlin.models.shapes import find_shape
from hanlin.pipeline.inputs import SAMPLE, Input, Kind
from hanlin.pipeline.plan import make_plan
from hanlin.pipeline.preflight import check_inputs
from hanlin.pipeline.recipe import builtin_recipes, find_recipe, load_recipe
from hanlin.pipeline.recipe_jobs import jobs_of
from hanlin.pipeline.tiny import rehearsal

NAMES = sorted(builtin_recipes())
WITH_INPUTS = [name for name in NAMES if load_recipe(find_recipe(name)).inputs]
RECIPE = """\
name: mine
inputs:
  base: {kind: model, path: huggyllama/llama-7b, about: the base}
  texts: {kind: texts, language: zh, path: zh, about: Chinese texts}
stages:
  corpus: {stage: prepare-corpus, tokenizer: "@inputs/base", workers: 16,
    sources: [{name: zh, path: "@inputs/texts/part.jsonl"}]}
  pretrain: {model: "@inputs/base", store: "@corpus/store", processes: 8,
    schedule: {epochs: 2, seq_len: 1024, micro_batch_size: 4, gradient_accumulation_steps: 16,
      optimizer: paged-adamw-8bit, scheduler: constant, warmup_steps: 300}}
compat: {pretrain.schedule.scheduler: linear}
"""


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "mine.yaml").write_text(RECIPE)
    return tmp_path / "mine.yaml"


def stage_of(recipe, id_):
    return next(stage for stage in recipe.stages if stage.id == id_)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mode", [{}, {"is_tiny": True}])
def test_every_recipe_is_valid(name, mode):
    recipe = load_recipe(find_recipe(name), **mode)
    assert recipe.description and recipe.name == name + ("-tiny" if mode else "")
    if recipe.compat:
        load_recipe(find_recipe(name), is_compat=True, **mode)


def test_all_systems_of_the_field_are_there():
    assert {"cutegpt-13b", "chinese-vicuna-7b", "chinese-vicuna-13b-qlora", "knowlm-13b",
            "chinese-vicuna-chat", "chinese-vicuna-medical", "llama3-8b-zh",
            "extraction-only"} <= set(NAMES)  # fmt: skip


@pytest.mark.parametrize("name", WITH_INPUTS)
def test_a_rehearsal_plans_without_anything_of_the_users(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe(find_recipe(name), is_tiny=True)
    check_inputs(recipe)
    plan = make_plan(recipe, tmp_path / "run")
    assert {item.action for item in plan} == {"run"}
    assert all(getattr(item.config, "processes", 1) == 1 for item in plan)


def test_a_rehearsal_keeps_the_way_and_shrinks_the_size(mine):
    recipe = load_recipe(mine, is_tiny=True)
    pretrain = stage_of(recipe, "pretrain").config
    assert pretrain.model == "@tiny-llama/model" and pretrain.processes == 1
    assert pretrain.schedule.scheduler == "constant" and pretrain.schedule.optimizer == "adamw"
    assert pretrain.schedule.steps <= 8 and pretrain.schedule.epochs is None
    assert stage_of(recipe, "corpus").config.workers == 1
    assert stage_of(recipe, "tiny-world").config.people == 12


@pytest.mark.parametrize("language", [None, "zh", "en", "code"])
@pytest.mark.parametrize("kind", get_args(Kind))
def test_every_kind_of_input_has_a_sample(kind, language):
    item = Input(path="nowhere", kind=kind, about="x", language=language)
    stages, paths = rehearsal({"chat": {"prompt": "alpaca"}}, {"mine": item})
    sample = paths["mine"]
    if sample.startswith(SAMPLE):
        folder = Path(str(files("hanlin.recipes").joinpath("samples")))
        assert (folder / sample.removeprefix(SAMPLE)).exists()
    else:
        assert sample[1:].split("/")[0] in stages


def test_the_text_of_a_rehearsal_can_be_run_itself(tmp_path):
    text = load_recipe(find_recipe("knowlm-13b"), is_tiny=True).text
    assert text.startswith("# --tiny\n") and SAMPLE in text and "site-packages" not in text
    (tmp_path / "again.yaml").write_text(text, encoding="utf-8")
    again = load_recipe(tmp_path / "again.yaml")
    assert [s.config for s in again.stages] == [
        s.config for s in load_recipe(find_recipe("knowlm-13b"), is_tiny=True).stages
    ]


def test_an_input_stands_where_it_is_referred_to(mine):
    recipe = load_recipe(mine, changes=["inputs.texts=elsewhere"])
    assert stage_of(recipe, "corpus").config.sources[0].path == "elsewhere/part.jsonl"
    assert stage_of(recipe, "pretrain").config.model == "huggyllama/llama-7b"


def test_compat_settings_are_applied_when_asked_for(mine):
    scheduler = stage_of(load_recipe(mine), "pretrain").config.schedule.scheduler
    assert scheduler == "constant"
    old = load_recipe(mine, is_compat=True)
    assert stage_of(old, "pretrain").config.schedule.scheduler == "linear"
    assert old.text.startswith("# --compat\n")
    with pytest.raises(ConfigError, match=r"quickstart\.yaml has no compat settings"):
        load_recipe(find_recipe("quickstart"), is_compat=True)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"@inputs/base", workers', '"@inputs/bsae", workers', "did you mean 'base'?"),
        ("kind: texts", "kind: text", "inputs.texts.kind"),
        ("  corpus: {", "  inputs: {", "a stage cannot be called 'inputs'"),
        (", about: the base", "", "inputs.base.about: this key is needed"),
    ],
)
def test_wrong_inputs_are_named_with_their_line(mine, old, new, message):
    mine.write_text(RECIPE.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        load_recipe(mine)
    assert message in str(caught.value) and "mine.yaml:" in str(caught.value)


def test_an_unknown_input_on_the_command_line(mine):
    with pytest.raises(ConfigError) as caught:
        load_recipe(mine, changes=["inputs.bsae=x"])
    assert "no input 'bsae'" in str(caught.value) and "did you mean 'base'?" in str(caught.value)


def test_all_missing_inputs_are_named_at_once(mine):
    with pytest.raises(InputError) as caught:
        check_inputs(load_recipe(mine))
    text = str(caught.value)
    assert "needs 1 inputs" in text and "zh (Chinese texts)" in text and "--tiny" in text
    assert "--set inputs.texts=PATH" in text and "inputs.base" not in text  # a hub id is no path


def test_check_tells_what_must_be_supplied(capsys):
    assert run_command(["recipe", "check", "chinese-vicuna-chat", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["ok"] and value["missing_inputs"] == ["dialogues", "ceval"]
    assert run_command(["recipe", "show", "chinese-vicuna-chat", "--compat"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["stages"]["chat"]["loss_on"] == "last" and "compat" not in shown


def test_jobs_follow_references_to_the_base(mine):
    jobs = {job.name: job for job in jobs_of(load_recipe(find_recipe("cutegpt-13b")))}
    assert list(jobs) == ["pretrain", "full", "lora"]
    assert jobs["lora"].info.vocab_size == 49_920  # 32,000 + 17,900 + <end>, to a multiple of 64
    assert jobs["lora"].training.adapted == ("q", "v")
    grown = 17_901 * jobs["lora"].info.hidden_size * 2
    assert jobs["lora"].training.trained_parameters == grown + 8 * 4 * 5120 * 40
    assert jobs["full"].training.processes == 8 and jobs["full"].training.zero_stage == 3
    (job,) = jobs_of(load_recipe(mine))
    assert job.info == find_shape("llama-7b") and job.tokens is None and job.rows_per_step == 64


def test_tokens_are_guessed_from_the_files(mine):
    folder = mine.parent / "zh"
    folder.mkdir()
    (folder / "part.jsonl").write_text('{"text": "' + "x" * 4000 + '"}\n')
    (job,) = jobs_of(load_recipe(mine))
    assert job.tokens == pytest.approx(2 * 1000, rel=0.02)  # two epochs, four bytes a token
