"""Are types that a text does not have asked for too, the easily confused ones first?"""

import random

import pytest

from hanlin.core.errors import ConfigError
from hanlin.extraction.negatives import hard_of, read_hard, with_negatives
from hanlin.extraction.schema import Schema, load_schemas


def test_types_that_are_there_stay_and_hard_ones_come_along(zh, example):
    schema = Schema(language="zh", entities=[*zh.entities, "河流", "山脉", "书"],
                    relations={**zh.relations, "死亡地": ("人物", "城镇"), "喜欢": ("", "")},
                    events=zh.events)  # fmt: skip
    hard = {"出生地": ["死亡地"], "城镇": ["河流"], "喜欢": ["山脉"]}
    part = with_negatives(schema, example, hard=hard, others=0, rng=random.Random(0))
    assert part.entities == ["人物", "城镇", "公司", "河流"]
    assert list(part.relations) == ["出生地", "死亡地"] and list(part.events) == ["成立"]
    more = with_negatives(schema, example, hard=hard, others=2, rng=random.Random(0))
    again = with_negatives(schema, example, hard=hard, others=2, rng=random.Random(0))
    assert more == again
    assert len(more.entities) + len(more.relations) == 8
    assert with_negatives(schema, example, hard={}, others=99, rng=random.Random(0)) == schema


def test_names_that_are_alike_are_hard():
    hard = hard_of(load_schemas("finre")["zh"])
    assert "被收购" in hard["收购"] and "拟收购" in hard["收购"]
    assert "合作" not in hard["收购"] and "收购" not in hard["收购"]


@pytest.mark.real_data
def test_clusters_of_iepile_are_read(real_data):
    path = real_data / "ie/iepile/hard_dict.json"
    assert "sue" in read_hard(path, task="EE", source="ACE05")["charge indict"]
    with pytest.raises(ConfigError, match="no hard negatives for EE of 'nowhere'"):
        read_hard(path, task="EE", source="nowhere")
