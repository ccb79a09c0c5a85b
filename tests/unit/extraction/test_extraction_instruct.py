"""Does the stage `instruct` turn examples into conversations that read back to the examples?"""

import dataclasses
import json

import pytest
import yaml

from hanlin.core.config import InputPath
from hanlin.core.errors import ConfigError, InputError
from hanlin.core.events import EventLog
from hanlin.core.stage import StageContext
from hanlin.extraction.align import align
from hanlin.extraction.facts import to_row
from hanlin.extraction.knowledge.instruct import STAGE, Config
from hanlin.extraction.parse import parse_answer


@pytest.fixture
def run(tmp_path, zh):
    def run_with(examples, **settings):
        (tmp_path / "schema.yaml").write_text(yaml.safe_dump({"zh": zh.model_dump(mode="json")}))
        lines = [json.dumps(to_row(one)) for one in examples]
        (tmp_path / "examples.jsonl").write_text("\n".join(lines), encoding="utf-8")
        config = Config(
            examples=InputPath(tmp_path / "examples.jsonl"),
            schema_file=InputPath(tmp_path / "schema.yaml"),
            **settings,
        )
        out = tmp_path / "out"
        STAGE.run(config, StageContext("instruct", out, 0, EventLog(tmp_path / "events.jsonl")))
        return {
            name: [json.loads(line) for line in (out / path).read_text().splitlines()]
            for name, (_, path) in STAGE.outputs.items()
        }

    return run_with


def test_a_conversation_holds_the_example(run, example, zh):
    question, answer = run([example])["chat"][0]["messages"]
    assert question["role"] == "user" and question["content"].endswith(example.text)
    parsed = parse_answer(answer["content"], zh)
    assert align(parsed, example.text, id="1", language="zh") == example


def test_examples_of_other_types_are_counted_or_refused(run, example):
    mention = dataclasses.replace(example.entities[0], type="河流")
    wrong = dataclasses.replace(example, id="2", entities=(mention, *example.entities[1:]))
    written = run([example, wrong], max_bad_rows=0.5)
    assert len(written["chat"]) == 1
    assert "2: the schema has no entity type '河流'" in written["bad_rows"][0]["reason"]
    with pytest.raises(InputError, match="1 of 2 rows cannot be used"):
        run([example, wrong])


def test_a_language_without_schema_is_refused(run, example):
    with pytest.raises(ConfigError, match="no language 'fr'"):
        run([dataclasses.replace(example, language="fr")])
