"""A model card: licenses and what they forbid, the run's numbers, and code that loads the model."""

import io
import json
import re
import shutil
import subprocess
import sys
from contextlib import redirect_stderr
from dataclasses import replace

import pytest
import yaml

from hanlin.cli.main import run_command
from hanlin.core.artifacts import Artifact
from hanlin.core.errors import ConfigError, InputError
from hanlin.models.tiny import make_tiny
from hanlin.weights.card.card import Given, make_card
from hanlin.weights.card.chain import Chain, Link, base_links
from hanlin.weights.card.licenses import find_license, license_of_model
from hanlin.weights.card.lineage import Source
from hanlin.weights.card.page import page
from hanlin.weights.card.results import measured

RECIPE = """\
name: mine
description: A tiny model | answers <b>questions</b>.
inputs:
  base: {kind: model, path: base, about: a tiny LLaMA, license: llama2}
  talk: {kind: instructions, path: talk.jsonl, about: rows, license: cc-by-sa-4.0}
  more: {kind: instructions, path: more.jsonl, about: rows}
stages:
  world: {stage: sample-world, people: 12, rounds: 6, extraction_train: 6, extraction_test: 4}
  chat: {stage: prepare-chat, tokenizer: "@inputs/base", prompt: alpaca, seq_len: 256,
    sources: [{name: talk, path: "@inputs/talk", weight: 0.75}, {name: more, path: "@inputs/more",
      weight: 0.25}]}
  finetune: {model: "@inputs/base", store: "@chat/store", lora: {rank: 4},
    schedule: {steps: 2, seq_len: 256, micro_batch_size: 2, learning_rate: 1e-3, log_every: 1}}
  merge: {base: "@inputs/base", adapter: "@finetune/adapter"}
  evaluate: {models: {before: "@inputs/base", after: "@merge/model"}, prompt: alpaca,
    benchmarks: [{id: four, benchmark: questions, data: "@world/questions/four-zh.jsonl",
      language: zh, label: Four options, limit: 8}]}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run from a base model to its report card."""
    folder = tmp_path_factory.mktemp("card")
    make_tiny(folder / "base")
    rows = [{"instruction": f"说 {i}", "input": "", "output": f"{i} 好"} for i in range(8)]
    for name in ("talk", "more"):
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    (folder / "mine.yaml").write_text(RECIPE, encoding="utf-8")
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stderr(said):
        patch.setenv("HANLIN_CACHE", "off")
        assert run_command(["run", str(folder / "mine.yaml"), "--out", str(folder / "run")]) == 0
    (folder / "said.txt").write_text(said.getvalue(), encoding="utf-8")
    return folder


@pytest.fixture
def card(made, tmp_path, capsys):
    """Write a card; return the command's JSON, the page's metadata and its text."""

    def run(model, *options, expect=0):
        capsys.readouterr()
        out = tmp_path / "card.md"
        words = ["weights", "card", made / model, "--out", out, "--json", *options]
        code = run_command([str(word) for word in words])
        captured = capsys.readouterr()
        assert code == expect, captured.err
        if code:
            return captured.err
        page = out.read_text(encoding="utf-8")
        return json.loads(captured.out), yaml.safe_load(page.split("---\n")[1]), page

    return run


def test_a_finished_run_says_that_there_is_a_card(made):
    said = (made / "said.txt").read_text(encoding="utf-8")
    assert f"before you pass the model on: hanlin weights card {made / 'run'}\n" in said


def test_the_chain_goes_from_base_over_data_to_the_model(card):
    found, metadata, page = card("run")
    assert [(link["part"], link["name"], link["license"]) for link in found["chain"]] == [
        ("base model", "base (a folder; its id on the hub is not known)", "llama2"),
        ("data", "talk", "cc-by-sa-4.0"),
        ("data", "more", None),
    ]
    assert found["not_known"] == ["more"] and metadata["license"] == "unknown"
    assert "base_model" not in metadata and "datasets" not in metadata
    assert "The license of more is not known. What is not known is no permission." in page
    assert "sample world" not in page  # it was measured on, not trained on


def test_what_the_maker_says_goes_before_what_files_say(card):
    found, metadata, page = card(
        "run", "--base-model", "huggyllama/llama-7b", "--data", "more=cc-by-nc-4.0",
        "--data", "owner/set=mit", "--license", "apache-2.0", "--language", "zh",
        "--name", "me/my-model", "--about", "For tests.",
    )  # fmt: skip
    assert found["forbids_commercial"] == ["huggyllama/llama-7b", "more"]
    assert metadata["license"] == "apache-2.0" and metadata["language"] == ["zh"]
    assert metadata["base_model"] == ["huggyllama/llama-7b"]
    assert metadata["base_model_relation"] == "finetune" and metadata["datasets"] == ["owner/set"]
    assert "**No commercial use**: huggyllama/llama-7b (LLaMA license (2023)), more (" in page
    assert "**The license named for this model promises more** than " in page
    assert "hanlin chat me/my-model" in page and "\nFor tests.\n" in page


def test_the_license_follows_where_every_link_is_known(card):
    _, metadata, _ = card("run", "--base-license", "mit", "--data", "more=mit")
    assert metadata["license"] == "cc-by-sa-4.0"
    _, metadata, page = card("run", "--base-license", "llama", "--data", "more=mit")
    assert (metadata["license"], metadata["license_name"]) == ("other", "llama-license")
    assert metadata["license_link"].startswith("https://")
    assert "This model: LLaMA license (2023), as it follows from the chain." in page


def test_the_numbers_are_those_of_the_report_card(made, card):
    found, metadata, page = card("run/merge/model")
    report = json.loads((made / "run" / "report.json").read_text(encoding="utf-8"))
    (row,) = report["evaluations"][0]["rows"]
    score = row["scores"]["after"]
    (result,) = metadata["model-index"][0]["results"]
    assert found["results"] == 1 and result["metrics"][0]["value"] == score["value"]
    assert f"95 %: {score['low']:.3f} to {score['high']:.3f}, chance: 0.250" in page
    cells = f"25.0 % | {100 * row['scores']['before']['value']:.1f} % ("
    assert cells in page and f"| {100 * score['value']:.1f} % (" in page
    assert "- Four options (zh): not clearly above chance." in page
    assert "Bias, safety, personal data in answers and resistance to misuse: not measured." in page


def test_settings_data_and_prompt_are_in_it(made, card):
    _, metadata, page = card("run")
    assert "lora, LoRA rank 4, alpha 32 on every linear layer | 2 x 256 tokens | 0.001" in page
    assert "| chat | talk | – | 8 |" in page and "| 75 % |" in page
    assert "### Instruction:\n你好！\n\n### Response:" in page and "`alpaca`" in page
    assert r"A tiny model \| answers \<b\>questions\</b\>." in page
    assert (
        metadata["library_name"] == "transformers" and "/" not in metadata["model-index"][0]["name"]
    )
    assert str(made) not in page  # nobody needs to know where it lay


def test_an_adapter_has_the_numbers_of_what_it_was_merged_into(card):
    found, metadata, page = card("run/finetune/adapter", "--base-model", "owner/base")
    assert found["results"] == 1 and metadata["library_name"] == "peft"
    assert metadata["base_model_relation"] == "adapter" and "lora" in metadata["tags"]
    assert "Measured on the model that this adapter was merged into." in page
    assert "hanlin weights merge owner/base . merged" in page


def test_a_copy_is_known_by_its_weights_and_another_model_is_refused(made, card, tmp_path):
    copy = shutil.copytree(made / "run" / "merge" / "model", tmp_path / "copy")
    found, *_ = card(copy, "--report", made / "run")
    assert found["results"] == 1
    message = card("base", "--report", made / "run", expect=4)
    assert "is not a model of the run" in message and "@merge/model" in message


@pytest.fixture
def other_run(made, tmp_path):
    """A copy of the run that can be changed."""
    return shutil.copytree(made / "run", tmp_path / "run")


def change(file, edit):
    record = json.loads(file.read_text(encoding="utf-8"))
    edit(record)
    file.write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")


def test_an_adapter_that_began_with_another_keeps_its_rank(other_run, card):
    file = other_run / "finetune" / "adapter" / "adapter_config.json"
    change(file, lambda settings: settings.update(r=2, target_modules=["q_proj", "v_proj"]))
    assert "LoRA rank 2, alpha 32 on q\\_proj, v\\_proj |" in card(other_run)[2]


def test_a_run_that_made_its_own_base_has_no_other(other_run, card):
    def made_here(record):
        reads = record["inputs"].items()
        record["inputs"] = {"@world/model" if path == "base" else path: d for path, d in reads}
        record["stage"] = "base" if record["id"] == "world" else record["stage"]

    for file in other_run.glob("*/stage.json"):
        change(file, made_here)
    assert "Its base model was trained from nothing in the same run." in card(other_run)[2]
    message = card(other_run, "--base-model", "owner/base", expect=2)
    assert "owner/base is not the base model of @merge/model" in message
    assert "leave --base-model out" in message


def test_a_rehearsal_says_what_it_is(made):
    found = make_card(made / "run" / "merge" / "model", Given())
    tiny = replace(found, report={**found.report, "recipe_text": "# --tiny\nname: x"})
    assert "A rehearsal (`--tiny`)" in page(tiny) and "A rehearsal" not in page(found)


def test_without_a_run_nothing_is_invented(card):
    found, metadata, page = card("base")
    assert found == {**found, "license": "unknown", "chain": [], "results": 0}
    assert "What this model was made from is not recorded." in page
    assert "this card was written without a run" in page and "Not recorded." in page
    assert "model-index" not in metadata


def test_the_hub_reads_it(made, card, tmp_path):
    huggingface_hub = pytest.importorskip("huggingface_hub")
    card("run", "--base-model", "owner/base", "--license", "mit", "--data", "more=mit")
    data = huggingface_hub.ModelCard.load(tmp_path / "card.md").data
    assert (data.license, data.to_dict()["library_name"]) == ("mit", "transformers")
    assert data.eval_results and data.eval_results[0].metric_type == "accuracy"


def test_the_code_in_it_runs(made, card, tmp_path):
    _, _, page = card("run")
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", code.replace("=128", "=2")],
        cwd=made / "run" / "merge" / "model", capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_card_in_the_models_folder_is_no_damage(made, capsys):
    model = made / "run" / "merge" / "model"
    record = json.loads((model.parent / "stage.json").read_text(encoding="utf-8"))
    artifact = Artifact(**record["outputs"][0])
    assert run_command(["weights", "card", str(made / "run")]) == 0
    assert "not known (--data NAME=ID" in capsys.readouterr().out
    assert (model / "README.md").is_file() and artifact.is_intact(model.parent)
    before = (model / "README.md").read_bytes()
    assert run_command(["weights", "card", str(made / "run")]) == 0  # its own page is replaced
    assert (model / "README.md").read_bytes() == before
    (model / "more.txt").write_text("x")
    assert not artifact.is_intact(model.parent)
    (model / "more.txt").unlink()
    (model / "README.md").unlink()


def test_a_page_of_somebody_else_stays(made, card, tmp_path):
    (tmp_path / "card.md").write_text("mine")
    message = card("base", expect=4)
    assert "exists already, and this command did not write it" in message and "--force" in message
    assert (tmp_path / "card.md").read_text() == "mine"
    card("base", "--force")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--license", "apach-2.0"], "did you mean 'apache-2.0'?"),
        (["--license", " "], "it has no name"),
        (["--data", "mit"], "a license is given as NAME=ID"),
        (["--data", "tolk=mit"], "did you mean 'talk'?"),
        (["--base-model", "base"], "write OWNER/NAME"),
    ],
)
def test_what_cannot_be_meant_is_refused(card, options, message):
    assert message in card("run", *options, expect=2)


def test_no_model_is_refused(card):
    assert "is no model" in card("run/world", expect=4)
    assert "does not exist" in card("nowhere", expect=4)


def test_a_run_without_its_report_is_named(made, tmp_path):
    report = made / "run" / "report.json"
    text = report.read_bytes()
    report.unlink()
    try:
        with pytest.raises(InputError) as caught:
            make_card(made / "run" / "merge" / "model", Given())
    finally:
        report.write_bytes(text)
    assert f"hanlin report {made / 'run'}" in str(caught.value.fix)


@pytest.mark.parametrize(
    ("page", "license"),
    [
        ("---\nlicense: llama2\n---\n# x", "llama2"),
        ("---\nlicense: other\nlicense_name: house-rules\n---\n", "house-rules"),
        ("---\nlicense: apache2.0\n---\n", "apache2.0"),
        ("---\nlicense: unknown\n---\n", None),
        ("---\nlicense: [mit]\n---\n", None),
        ("---\n: : [\n---\n", None),
        ("# no metadata", None),
    ],
)
def test_a_base_models_own_page_names_its_license(page, license, tmp_path):
    (tmp_path / "README.md").write_text(page)
    source = Source("base", str(tmp_path), is_model=True)
    ((link,), ids) = base_links((source,), base="", base_license="")
    assert (link.license and link.license.id) == license and ids == []
    assert link.known_from == ("the README.md beside it" if license else "")


def test_licenses():
    assert license_of_model("huggyllama/LLaMA-7b").commercial is False
    assert license_of_model("Qwen/Qwen2.5-7B").id == "apache-2.0"
    assert license_of_model("somebody/else") is None
    own = find_license("House Rules 1")
    assert own.commercial is None and own.metadata == {
        "license": "other", "license_name": "house-rules-1",
    }  # fmt: skip
    with pytest.raises(ConfigError):
        find_license("cc-by-nc4.0")


def test_a_chain_comes_to_its_strictest_link():
    def chain(*ids, given=None):
        links = tuple(Link("data", id_, find_license(id_)) for id_ in ids)
        return Chain(links, find_license(given) if given else None)

    assert chain("apache-2.0", "mit").result.id == "apache-2.0"
    assert chain("mit", "llama3", "cc-by-nc-4.0").result.id == "cc-by-nc-4.0"
    assert chain().result is None
    assert Chain((Link("data", "x", None),)).result is None
    assert chain("mit", given="mit").conflicts == []
    assert len(chain("cc-by-nc-nd-4.0", "gpl-3.0", given="mit").conflicts) == 3
    assert chain("cc-by-nc-4.0", given="cc-by-nc-sa-4.0").conflicts == []


def test_worse_and_not_above_chance_are_told_from_intervals():
    def row(metric, chance, before, after, *, higher=True):
        score = dict(zip(("low", "value", "high"), after, strict=True))
        old = dict(zip(("low", "value", "high"), before, strict=True))
        return {
            "benchmark": "b", "label": "B", "language": "zh", "metric": metric, "chance": chance,
            "higher_is_better": higher, "scores": {"before": old, "after": score},
        }  # fmt: skip

    rows = [
        row("accuracy", 0.25, (0.5, 0.6, 0.7), (0.2, 0.3, 0.4)),
        row("accuracy", 0.25, (0.2, 0.3, 0.4), (0.5, 0.6, 0.7)),
        row("bits_per_byte", None, (1.0, 1.1, 1.2), (1.3, 1.4, 1.5), higher=False),
    ]
    found = measured({"evaluations": [{"models": ["before", "after"], "rows": rows}]}, ["after"])
    assert [item.is_above_chance for item in found] == [False, True, None]
    assert [item.is_worse_than_before for item in found] == [True, False, True]
