"""What the tokenizer stage measured: in the card, on the page, in Markdown."""

import json

import pytest
from report_folder import write_run

from hanlin.pipeline.report.build import build
from hanlin.pipeline.report.card import Segmentation
from hanlin.pipeline.report.html import render
from hanlin.pipeline.report.markdown import markdown


def sides(before, after):
    names = ("tokens_per_character", "bytes_fallen_back_share")
    return {"before": dict(zip(names, before, strict=False)),
            "after": dict(zip(names, after, strict=False))}  # fmt: skip


@pytest.fixture
def run(tmp_path):
    """Return a function that writes a run with some fertility.json and builds its card."""

    def make(fertility):
        write_run(tmp_path / "run")
        file = tmp_path / "run" / "tokenizer" / "fertility.json"
        file.write_text(json.dumps(fertility), encoding="utf-8")
        return build(tmp_path / "run")

    return make


def test_before_and_after(run):
    card = run({"zh": sides((1.6, 0.25), (0.5, 0.0125)), "en": sides((0.25, 0.0), (0.25, 0.0)),
                "added": 800})  # fmt: skip
    assert card.segmentation[:2] == (
        Segmentation("zh", "before", 0.625, 0.25), Segmentation("zh", "after", 2.0, 0.0125)
    )  # fmt: skip
    page, text = render(card), markdown(card)
    assert "Before and after the new pieces" in page
    assert "bytes fallen back, %" in page and "before, Chinese: 25.0 bytes fallen back, %" in page
    assert "| Chinese | before | 0.625 | 25.0 % |" in text
    assert "| Chinese | after | 2.000 | 1.2 % |" in text
    assert json.loads(json.dumps(card.to_json()))["segmentation"][0]["language"] == "zh"


def test_a_run_that_did_not_measure_bytes(run):
    card = run({"zh": sides((1.6,), (0.5,))})
    assert card.segmentation[1] == Segmentation("zh", "after", 2.0, None)
    assert "bytes fallen back, %" not in render(card)
    assert "| Chinese | after | 2.000 |  |" in markdown(card)


@pytest.mark.parametrize("odd", [0, -1, float("nan"), float("inf"), "many", None, [], True, 1e-320])
def test_odd_numbers_never_break_a_card(run, odd):
    card = run({"zh": sides((odd, odd), (0.5, odd)), "x": odd, "y": {"before": odd}})
    render(card), markdown(card)
    assert all(found.characters_per_token > 0 for found in card.segmentation)


def test_nothing_was_measured(run):
    card = run({"added": 3})
    assert card.segmentation == () and "Before and after the new pieces" not in render(card)
