"""The recipe of docs/own-data.md runs over real public files, from base model to report card."""

import json
import re
from pathlib import Path

import pytest

from hanlin.pipeline.plan import make_plan
from hanlin.pipeline.recipe import load_recipe
from hanlin.pipeline.report.build import write
from hanlin.pipeline.run import run_plan

PAGE = Path(__file__).resolve().parents[2] / "docs" / "own-data.md"
SHORT = ["base.schedule.steps=4", "pretrain.schedule.steps=4", "finetune.schedule.steps=3"]


@pytest.fixture
def recipe(tmp_path, real_data):
    text = re.search(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[1]
    for limit, less in (("limit: 60", "limit: 12"), ("limit: 40", "limit: 4")):
        assert limit in text
        text = text.replace(limit, less)
    (tmp_path / "data").symlink_to(real_data)
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    return tmp_path / "mine.yaml"


@pytest.mark.real_data
@pytest.mark.slow
def test_the_recipe_of_the_page_runs(recipe, tmp_path):
    loaded = load_recipe(recipe, changes=[*SHORT, "evaluate.max_new_tokens=8"])
    run_plan(loaded, make_plan(loaded, tmp_path / "run"), tmp_path / "run")
    write(tmp_path / "run")
    scores = json.loads((tmp_path / "run/evaluate/scores.json").read_text(encoding="utf-8"))
    rows = {row["benchmark"]: row for row in scores["rows"]}
    assert set(rows) == {"cmmlu", "bytes-zh", "bytes-en"}
    assert rows["cmmlu"]["scores"]["after"]["n"] == 12 and rows["cmmlu"]["chance"] == 0.25
    zh = rows["bytes-zh"]["scores"]
    assert zh["after"]["value"] < zh["before"]["value"]
    checks = json.loads((tmp_path / "run/export/gguf/checks.json").read_text(encoding="utf-8"))
    assert "f16" in json.dumps(checks)
    page = (tmp_path / "run/report.html").read_text(encoding="utf-8")
    assert "CMMLU" in page and str(tmp_path) not in page
