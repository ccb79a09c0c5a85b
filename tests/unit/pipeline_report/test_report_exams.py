"""Exams on the card: categories drawn, published figures named so, nothing left out in silence."""

import pytest

from hanlin.pipeline.report.card import Card
from hanlin.pipeline.report.html import render
from hanlin.pipeline.report.markdown import markdown
from hanlin.pipeline.report.scores import evaluation


def score(value):
    return {"value": value, "low": value - 0.1, "high": value + 0.1, "n": 40}


def category(value):
    return {"accuracy": value, "low": value - 0.1, "high": value + 0.1, "n": 10}


def published(model, value, **more):
    return {"model": model, "part": "Average", "value": value, "below_chance": value < 0.25,
            "source": "a <README>", "shots": 5, **more}  # fmt: skip


@pytest.fixture
def scores():
    row = {
        "benchmark": "ceval", "label": "C-Eval", "language": "zh", "metric": "accuracy",
        "higher_is_better": True, "chance": 0.25,
        "scores": {"before": score(0.3), "after": score(0.5)},
        "settings": {"benchmark": "ceval", "shots": 5},
        "categories": {"before": {"STEM": category(0.2), "Other": category(0.4)},
                       "after": {"STEM": category(0.5), "Other": category(0.6)}},
        "published": [published("GPT-4", 0.687, is_other_split=True), published("MOSS", 0.2)],
        "problems": {"after": ["3 subjects are missing, the first: law"]},
    }  # fmt: skip
    return {"version": 1, "models": ["before", "after"], "rows": [row]}


def card(scores):
    notes = []
    found = evaluation(scores, stage="evaluate", notes=notes)
    assert not notes
    return Card("run", evaluations=(found,))


def test_the_page_draws_categories_and_names_what_is_published(scores):
    page = render(card(scores))
    assert "C-Eval, Chinese by category" in page
    assert "STEM · accuracy" in page
    assert "Published by others, not measured here" in page
    assert "a &lt;README&gt;; another split" in page
    assert "below chance: a sign of a faulty procedure" in page
    assert "C-Eval, Chinese, after: 3 subjects are missing, the first: law" in page
    order = [page.index(f">{name}</th>") for name in ("GPT-4", "after", "before", "MOSS")]
    assert order[0] < order[3]


def test_markdown_says_the_same(scores):
    text = markdown(card(scores))
    assert "### C-Eval, Chinese beside published figures" in text
    assert "| GPT-4 |  | 68.7 % |" in text
    assert "| after |  | 50.0 % | measured here |" in text
    assert "- C-Eval, Chinese, after: 3 subjects are missing" in text


def test_a_row_without_them_has_no_such_part(scores):
    for key in ("categories", "published", "problems", "settings"):
        del scores["rows"][0][key]
    page = render(card(scores))
    assert "by category" not in page and "What a score leaves out" not in page


def test_a_damaged_category_leaves_its_row_out_and_is_named(scores):
    scores["rows"][0]["categories"]["after"]["STEM"] = {"low": 1}
    notes = []
    assert not evaluation(scores, stage="evaluate", notes=notes).rows
    assert "rows 1 of scores.json was left out" in notes[0]
