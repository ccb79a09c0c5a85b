"""Does `hanlin extract` run, score and instruct, with a real tiny model?"""

import json

import pytest
import yaml
from click.testing import CliRunner

from hanlin.cli.extract import extract as command
from hanlin.core.errors import ConfigError, HanlinError, InputError
from hanlin.core.records import Message
from hanlin.extraction.extract import extract
from hanlin.extraction.facts import read_extractions, to_row
from hanlin.inference.engine import Sampling, open_engine
from hanlin.models.tiny import make_tiny
from hanlin.pipeline.extraction import Settings
from hanlin.pipeline.extraction import extract as extract_at_once
from hanlin.prompts.encode import encode_prompt
from hanlin.prompts.formats import get_format


def call(*arguments):
    result = CliRunner().invoke(command, [str(a) for a in arguments])
    if isinstance(result.exception, HanlinError):
        raise result.exception
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.stdout


@pytest.fixture
def files(tmp_path, zh, example):
    (tmp_path / "schema.yaml").write_text(yaml.safe_dump({"zh": zh.model_dump(mode="json")}))
    (tmp_path / "gold.jsonl").write_text(json.dumps(to_row(example)) + "\n", encoding="utf-8")
    return tmp_path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("model") / "tiny")


def test_a_model_extracts_something_from_every_text(files, model):
    (files / "in.txt").write_text("王明在青石镇。\n\n今天🙂\nＡＢＣ\n", encoding="utf-8")
    arguments = ["run", model, "--schema", files / "schema.yaml", "--input", files / "in.txt"]
    arguments += ["--out", files / "out.jsonl", "--html", files / "out.html"]
    shown = json.loads(call(*arguments, "--max-new-tokens", 8, "--json"))
    found = list(read_extractions(files / "out.jsonl"))
    assert [one.text for one in found] == ["王明在青石镇。", "今天🙂", "ＡＢＣ"]
    assert [one.id for one in found] == ["1", "3", "4"]
    assert shown["texts"] == 3
    assert "今天🙂" in (files / "out.html").read_text(encoding="utf-8")
    with pytest.raises(InputError, match=r"out\.jsonl exists already"):
        call(*arguments)
    before = (files / "out.jsonl").read_bytes()
    call(*arguments, "--max-new-tokens", 8, "--force")
    assert (files / "out.jsonl").read_bytes() == before


def test_scores_are_printed_for_people_and_machines(files):
    gold = files / "gold.jsonl"
    assert "overall    1.000" in call("score", gold, gold)
    scores = json.loads(call("score", gold, gold, "--json"))
    assert scores["events"] == {
        "f1": 1.0, "low": 1.0, "high": 1.0, "precision": 1.0, "recall": 1.0,
        "gold": 3, "predicted": 3, "correct": 3,
    }  # fmt: skip


def test_examples_become_conversations(files):
    arguments = ["instruct", files / "gold.jsonl", "--schema", files / "schema.yaml"]
    call(*arguments, "--out", files / "instructions")
    (row,) = (files / "instructions" / "chat.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(row)["messages"][1]["content"].startswith("人物：王明华\n")


def test_the_library_asks_in_the_same_way(files, model, zh):
    texts = ["王明在青石镇。", "今天🙂"]
    engine = open_engine(str(model))

    def prompt_ids(question):
        messages = [Message("user", question)]
        return encode_prompt(messages, format=get_format("plain"), tokenizer=engine.tokenizer)

    sampling = Sampling(max_new_tokens=8, stop=get_format("plain").stop_strings)
    done = []
    found = extract(
        texts, schema=zh, engine=engine, prompt_ids=prompt_ids, sampling=sampling,
        progress=lambda *step: done.append(step),
    )  # fmt: skip
    assert [(one.id, one.text, one.language) for one in found] == [
        ("1", texts[0], "zh"),
        ("2", texts[1], "zh"),
    ]
    assert done == [(2, 2, "texts")]


def test_a_long_text_is_asked_in_chunks_and_shown_as_page_and_graph(files, model):
    (files / "in.txt").write_text("王明在青石镇。李雪来了。" * 20 + "\n短。\n", encoding="utf-8")
    arguments = ["run", model, "--schema", files / "schema.yaml", "--input", files / "in.txt"]
    arguments += ["--max-new-tokens", 6, "--chunk-chars", 60, "--overlap", 10, "--json"]
    shown = json.loads(
        call(*arguments, "--out", files / "out.jsonl", "--graph", files / "out.ttl",
             "--html", files / "out.html")
    )  # fmt: skip
    assert shown["texts"] == 2
    assert [one.id for one in read_extractions(files / "out.jsonl")] == ["1", "2"]
    assert (files / "out.ttl").exists() and not list(files.glob(".*"))
    with pytest.raises(ConfigError, match="has no grammar to hold a model to"):
        call(*arguments, "--out", files / "x.jsonl", "--format", "knowlm", "--constrain", "schema")


@pytest.mark.parametrize(("form", "constrain"), [("json", "schema"), ("lines", "text"),
                                                 ("iepile", "text"), ("json", "text")])  # fmt: skip
def test_a_model_that_knows_nothing_is_held_to_the_schema(files, model, form, constrain, zh):
    pytest.importorskip("llguidance")
    small = zh.model_copy(update={"relations": {}, "events": {}, "entities": ["人物", "城镇"]})
    found = extract_at_once(
        str(model), ["王明在“青石镇”。", "今天🙂"], small,
        settings=Settings(form=form, constrain=constrain, max_new_tokens=400),
    )  # fmt: skip
    assert len(found) == 2
    for one in found:
        assert {mention.type for mention in one.entities} <= {"人物", "城镇"}
        if constrain == "text":
            assert all(mention.text in one.text for mention in one.entities)


def test_a_form_without_words_for_the_types_is_refused(files, model):
    with pytest.raises(ConfigError, match="'cutegpt' cannot ask for the types of language 'zh'"):
        extract_at_once(str(model), ["王明"], files / "schema.yaml", settings=Settings("cutegpt"))
    with pytest.raises(ConfigError, match="unknown extraction format 'line'") as caught:
        extract_at_once(str(model), ["王明"], files / "schema.yaml", settings=Settings("line"))
    assert "did you mean 'lines'?" in str(caught.value)


def test_one_call_extracts(files, model):
    (one,) = extract_at_once(str(model), ["王明在青石镇。"], files / "schema.yaml",
                             settings=Settings(max_new_tokens=4))  # fmt: skip
    assert (one.id, one.text, one.language) == ("1", "王明在青石镇。", "zh")


def test_facts_are_shown_in_the_terminal(files):
    text = call("view", files / "gold.jsonl")
    assert "  人物: 王明华  [0, 3)" in text and "  王明华 — 出生地 → 青石镇" in text
    assert "  成立 (创办) 机构: 宏远公司; 创始人: 王明华" in text
    assert json.loads(call("view", files / "gold.jsonl", "--json"))[0]["id"] == "1"
    assert "written:" in call("view", files / "gold.jsonl", "--html", files / "g.html")
    with pytest.raises(InputError, match=r"g\.html exists already"):
        call("view", files / "gold.jsonl", "--html", files / "g.html")


def test_scores_by_type_and_by_other_measures(files):
    gold = files / "gold.jsonl"
    value = json.loads(call("score", gold, gold, "--match", "relaxed", "--types", "--json"))
    assert set(value) == {"entities", "relations", "triggers", "arguments"}
    assert value["entities"]["macro"] == 1.0 and value["entities"]["types"]["人物"]["gold"] == 1
    assert "成立 / 机构" in call("score", gold, gold, "--types")


def test_gold_may_have_the_form_of_a_data_set(files):
    row = {"text": "王明华在青石镇", "label": {"name": {"王明华": [[0, 2]]}}}
    (files / "cluener.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    value = json.loads(call("score", files / "cluener.jsonl", files / "cluener.jsonl", "--json"))
    assert value["entities"]["f1"] == 1.0
    with pytest.raises(ConfigError, match="unknown set reader 'cluner'") as caught:
        call("score", files / "cluener.jsonl", files / "cluener.jsonl", "--kind", "cluner")
    assert "did you mean 'cluener'?" in str(caught.value)
