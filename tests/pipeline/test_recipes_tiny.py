"""Three built-in recipes run as their small rehearsal, from base model to report card."""

import json

import pytest

from hanlin.pipeline.plan import make_plan
from hanlin.pipeline.preflight import check_inputs, preflight
from hanlin.pipeline.recipe import find_recipe, load_recipe
from hanlin.pipeline.report.build import write
from hanlin.pipeline.run import run_plan

pytestmark = pytest.mark.slow

# The three that take least; benchmarks/recipes.py runs all.
CHEAPEST = ("chinese-vicuna-medical", "llama3-8b-zh", "chinese-vicuna-chat")


@pytest.mark.parametrize("name", CHEAPEST)
def test_a_rehearsal_reaches_its_report_card(name, tmp_path):
    recipe = load_recipe(find_recipe(name), is_tiny=True)
    check_inputs(recipe)
    out = tmp_path / "run"
    plan = make_plan(recipe, out)
    preflight(recipe, plan, out)
    run_plan(recipe, plan, out)
    card = write(out)
    assert card.status == "finished"
    assert [stage.id for stage in card.stages] == [stage.id for stage in recipe.stages]
    scores = json.loads((out / "evaluate" / "scores.json").read_text(encoding="utf-8"))
    assert scores["rows"] and all(row["scores"] for row in scores["rows"])
    assert "hanlin/recipes" not in (out / "recipe.yaml").read_text(encoding="utf-8")
