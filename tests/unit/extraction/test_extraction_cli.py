"""Does `hanlin extract` run, score and instruct, with a real tiny model?"""

import json

import pytest
import yaml
from click.testing import CliRunner

from hanlin.cli.extract import extract as command
from hanlin.core.errors import HanlinError, InputError
from hanlin.core.records import Message
from hanlin.extraction.extract import extract
from hanlin.extraction.facts import read_extractions, to_row
from hanlin.inference.engine import Sampling, open_engine
from hanlin.models.tiny import make_tiny
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
