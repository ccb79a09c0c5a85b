"""What a recipe says of an input's license was said of that path, and of no other."""

import pytest

from hanlin.pipeline.recipe import find_recipe, load_recipe
from hanlin.weights.card.licenses import find_license


def test_a_license_stays_with_its_path():
    recipe = load_recipe(find_recipe("chinese-vicuna-7b"))
    assert recipe.inputs["instructions"].license == "gpl-3.0"
    assert recipe.inputs["ceval"].license == ""


@pytest.mark.parametrize("key", ["inputs.instructions", "inputs.instructions.path"])
def test_another_path_has_no_license(key, tmp_path):
    recipe = load_recipe(find_recipe("chinese-vicuna-7b"), changes=[f"{key}={tmp_path}"])
    assert recipe.inputs["instructions"].path == str(tmp_path)
    assert recipe.inputs["instructions"].license == ""
    assert "gpl-3.0" not in recipe.text


def test_another_path_can_be_given_with_its_license(tmp_path):
    changes = [f"inputs.instructions={tmp_path}", "inputs.instructions.license=mit"]
    recipe = load_recipe(find_recipe("chinese-vicuna-7b"), changes=changes)
    assert recipe.inputs["instructions"].license == "mit"


def test_a_rehearsal_has_none():
    recipe = load_recipe(find_recipe("chinese-vicuna-7b"), is_tiny=True)
    assert {item.license for item in recipe.inputs.values()} == {""}


def test_every_license_of_a_recipe_is_known():
    for name in ("chinese-vicuna-7b", "chinese-vicuna-13b-qlora", "knowlm-13b"):
        for item in load_recipe(find_recipe(name)).inputs.values():
            assert not item.license or find_license(item.license).commercial is not None
