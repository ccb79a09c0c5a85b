"""Is a schema file read strictly, with messages that help?"""

import pytest

from hanlin.core.errors import ConfigError, InputError
from hanlin.extraction.schema import load_schemas, schema_for

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
        ("机构", "机，构", "holds one of the marks"),
        ("机构", '" "', "white space around it"),
        ("relations", "relation", "schema.yaml:3: zh.relation: unknown key"),
        ("entities: [Person]", "entities: []", "at least 1 item"),
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
