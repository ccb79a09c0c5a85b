"""Three built-in recipes run as their small rehearsal, from base model to report card."""

import json
import os

import pytest

from hanlin.pipeline.plan import make_plan
from hanlin.pipeline.preflight import check_inputs, preflight
from hanlin.pipeline.recipe import builtin_recipes, find_recipe, load_recipe
from hanlin.pipeline.report.build import write
from hanlin.pipeline.run import run_plan

pytestmark = pytest.mark.slow

# Three of them in turn: on GitHub the number of the run says whose turn it is, elsewhere it is that
# of the three that take least. benchmarks/recipes.py runs all.
ORDER = (
    "chinese-vicuna-medical", "llama3-8b-zh", "chinese-vicuna-chat", "chinese-vicuna-7b",
    "extraction-only", "chinese-vicuna-13b-qlora", "cutegpt-13b", "knowlm-13b",
)  # fmt: skip
TURN = int(os.environ.get("GITHUB_RUN_NUMBER", "0"))
CHOSEN = [ORDER[(3 * TURN + place) % len(ORDER)] for place in range(3)]


def test_all_get_their_turn():
    assert {*ORDER, "quickstart"} == set(builtin_recipes())


@pytest.mark.parametrize("name", CHOSEN)
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
