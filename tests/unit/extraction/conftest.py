"""Schemas and examples that the tests of extraction share."""

import pytest

from hanlin.extraction.facts import Event, Extraction, Mention, Relation
from hanlin.extraction.schema import Schema


@pytest.fixture
def zh() -> Schema:
    return Schema(
        language="zh",
        entities=["人物", "城镇", "公司"],
        relations={"出生地": ("人物", "城镇")},
        events={"成立": {"roles": ["机构", "创始人"]}},
    )


@pytest.fixture
def en() -> Schema:
    return Schema(
        language="en",
        entities=["Person", "Town"],
        relations={"birthplace": ("Person", "Town")},
    )


@pytest.fixture
def example() -> Extraction:
    text = "王明华出生在青石镇，后来创办了宏远公司。"

    def mention(name, type_):
        start = text.index(name)
        return Mention(name, type_, start, start + len(name))

    return Extraction(
        "1", text, "zh",
        (mention("王明华", "人物"), mention("青石镇", "城镇"), mention("宏远公司", "公司")),
        (Relation("出生地", 0, 1),),
        (Event("成立", mention("创办", "成立"), (("机构", 2), ("创始人", 0))),),
    )  # fmt: skip
