"""Is a schema file read strictly, with messages that help?"""

import pytest

from hanlin.core.errors import ConfigError, InputError
from hanlin.extraction.schema import Schema, load_schemas, ready_schemas, schema_for
from hanlin.extraction.schema_from import schema_of

GOOD = """\
zh:
  entities: [人物, 城镇]
  relations:
    出生地: [人物, 城镇]
  events:
    成立: {roles: [机构, 创始人]}
en:
  instruction: Extract.
  entities: [Person]
"""


def write(tmp_path, text):
    path = tmp_path / "schema.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_types_of_each_language_are_read(tmp_path):
    schemas = load_schemas(write(tmp_path, GOOD))
    assert list(schemas) == ["zh", "en"]
    assert schemas["zh"].language == "zh"
    assert schemas["zh"].relations == {"出生地": ("人物", "城镇")}
    assert schemas["zh"].events["成立"].roles == ["机构", "创始人"]
    assert schemas["en"].instruction == "Extract."


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("出生地: [人物, 城镇]", "出生地: [人物, 城市]", "joins '城市', no entity type"),
        ("[人物, 城镇]\n  rel", "[人物, 人物]\n  rel", "appears twice"),
        ("成立:", "人物:", "'人物' appears twice"),
        ("机构", '" "', "white space around it"),
        ("relations", "relation", "schema.yaml:3: zh.relation: unknown key"),
        ("entities: [Person]", "entities: []", "no type is named"),
        ("{roles: [机构, 创始人]}", "{trigger: false}", "an event without trigger needs roles"),
        ("机构", '"机\\n构"', "holds a line break"),
        ("entities: [Person]", "relations: [a, a]", "appears twice"),
        ("entities: [Person]", "attributes: {x: [a], y: [b, b]}", "appears twice"),
        ("instruction: Extract.", "language: de", "delete the key language"),
    ],
)
def test_contradictions_are_refused_with_their_place(tmp_path, old, new, message):
    assert old in GOOD
    with pytest.raises(ConfigError, match=r"schema\.yaml") as caught:
        load_schemas(write(tmp_path, GOOD.replace(old, new, 1)))
    assert message in str(caught.value)


def test_a_file_that_is_missing_or_empty_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        load_schemas(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="names no language"):
        load_schemas(write(tmp_path, "{}"))


def test_the_language_of_a_text_is_looked_up(tmp_path):
    schemas = load_schemas(write(tmp_path, GOOD))
    assert schema_for(schemas, "en") is schemas["en"]
    assert schema_for({"en": schemas["en"]}, None) is schemas["en"]
    with pytest.raises(ConfigError, match="no language 'zh-cn'"):
        schema_for(schemas, "zh-cn")
    with pytest.raises(ConfigError, match="a text has no language") as caught:
        schema_for(schemas, None)
    assert "--language" in str(caught.value)


def test_relations_may_be_a_list_and_attributes_are_relations_too(tmp_path):
    text = "zh:\n  relations: [收购]\n  attributes: {公司: [成立时间], 船舶: []}\n"
    schema = load_schemas(write(tmp_path, text))["zh"]
    assert schema.pairs == {"收购": ("", ""), "成立时间": ("公司", "")}
    assert schema.is_open


def test_a_part_of_the_types_keeps_their_order(tmp_path):
    schema = load_schemas(write(tmp_path, GOOD))["zh"]
    part = schema.only(["成立", "城镇", "出生地"])
    assert (part.entities, part.relations) == (["城镇"], {"出生地": ("", "城镇")})
    assert list(part.events) == ["成立"] and part.language == "zh"


def test_ready_schemas_are_known_by_name():
    assert ready_schemas() == [
        "cluener", "cutegpt", "fewfc", "finre", "msra", "phee", "sample-world",
    ]  # fmt: skip
    assert len(load_schemas("cluener")["zh"].entities) == 10
    assert load_schemas("cutegpt")["zh"].is_open
    with pytest.raises(InputError, match="there is no schema 'cluner'") as caught:
        load_schemas("cluner")
    assert "did you mean 'cluener'?" in str(caught.value)


def test_the_sample_worlds_schema_is_its_own():
    from hanlin.data.sample_world.examples import schema_of as world_schema
    from hanlin.data.sample_world.stage import WORDINGS

    ready = load_schemas("sample-world")
    for wording in WORDINGS:
        made = Schema.model_validate(world_schema(wording))
        assert ready[wording.language].model_copy(update={"language": ""}) == made


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("cluener", "ie/ner/cluener_train.jsonl"),
        ("msra", "ie/ner/msra_val.bio"),
        ("finre", "ie/re/finre_train.tsv"),
        ("fewfc", "ie/ee/fewfc_train_base.jsonl"),
        ("phee", "ie/ee/phee_train.jsonl"),
    ],
)
def test_ready_schemas_have_all_types_of_their_sets(name, file, real_data):
    from hanlin.extraction.readers import read_set

    ((language, ready),) = load_schemas(name).items()
    used = schema_of(read_set(real_data / file), language=language)
    assert set(used.entities) <= set(ready.entities)
    assert set(used.relations) <= set(ready.relations)
    for event, own in used.events.items():
        assert set(own.roles) <= set(ready.events[event].roles)
