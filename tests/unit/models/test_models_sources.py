"""Every figure that a plan is made from says where it was compared."""

from importlib.resources import files

import pytest
import yaml

from hanlin.models.cards import known_cards
from hanlin.models.published import programs
from hanlin.models.shapes import known_shapes


def table(name):
    return yaml.safe_load(files("hanlin.models").joinpath(name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", sorted(known_shapes()))
def test_a_shape_names_its_source(name):
    source = table("shapes.yaml")[name]["source"]
    assert "config.json" in source or source == "litgpt/config.py"


@pytest.mark.parametrize("name", sorted(known_cards()))
def test_a_card_names_its_source(name):
    assert "NVIDIA" in table("cards.yaml")[name]["source"]


def test_published_figures_name_their_page():
    found = table("published.yaml")
    assert {row["by"] for row in found["rows"] + found["speeds"]} == set(programs())
    for program in found["programs"].values():
        assert program["source"].startswith("https://github.com/")
