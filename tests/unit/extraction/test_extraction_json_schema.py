"""Does the JSON Schema accept right answers, and nothing with other types?"""

import json

import pytest

from hanlin.extraction.formats import FORMATS
from hanlin.extraction.formats.answer_format import Asking, write_answer
from hanlin.extraction.json_schema import json_schema
from hanlin.extraction.schema import Schema, load_schemas, ready_schemas

jsonschema = pytest.importorskip("jsonschema")


def is_valid(answer, schema, **how):
    return jsonschema.Draft202012Validator(json_schema(schema, **how)).is_valid(answer)


@pytest.mark.parametrize("form", ["json", "json-spans"])
def test_right_answers_are_valid(form, zh, example):
    (question,) = FORMATS.get(form).ask(example.text, zh, Asking())
    text = write_answer(FORMATS.get(form), example, question)
    assert is_valid(json.loads(text), zh, has_spans=True)
    assert is_valid(json.loads(text), zh) == (form == "json")
    for old, new in (("人物", "河流"), ("出生地", "死地"), ("成立", "破产"), ("机构", "地点")):
        assert not is_valid(json.loads(text.replace(old, new)), zh, has_spans=True)
    assert not is_valid({}, zh) and not is_valid({"entities": []}, zh)


def test_open_attributes_may_have_any_name():
    schema = Schema(language="zh", attributes={"船": []})
    answer = {"entities": [{"type": "船", "text": "甲"}],
              "relations": [{"type": "吨位", "head": "甲", "tail": "3"}]}  # fmt: skip
    assert is_valid(answer, schema)


def test_every_ready_schema_has_a_valid_one():
    for name in ready_schemas():
        for schema in load_schemas(name).values():
            jsonschema.Draft202012Validator.check_schema(json_schema(schema))
