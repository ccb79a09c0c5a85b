"""Two runs side by side, also when they were not measured by the same benchmarks."""

import pytest
from report_folder import row, score, scores, write_run

from hanlin.core.errors import InputError
from hanlin.pipeline.report.compare import compare, comparison_text
from hanlin.pipeline.report.compare_pages import comparison_html, comparison_markdown


@pytest.fixture
def second(tmp_path):
    document = scores()
    document["models"] = ["tuned"]
    ceval = row("ceval", "C-Eval", "zh", "accuracy", 0.25, score(0.5, 0.1, 50))
    document["rows"] = [*document["rows"][:2], ceval]
    for one in document["rows"]:
        last = one["scores"].get("after", one["scores"]["before"])
        one["scores"] = {"tuned": last}
    document["rows"][0]["scores"]["tuned"] = score(0.71, 0.06, 240)
    run = write_run(tmp_path / "second", given=document)
    with (run / "recipe.yaml").open("a", encoding="utf-8") as stream:
        stream.write("  finetune:\n    rank: 8\n")
    return run


def test_rows_are_matched_and_the_rest_is_named(run_dir, second):
    comparison = compare(run_dir, second)
    assert comparison.names == ("quickstart", "second")  # the same recipe: told apart by folder
    rows = {row.benchmark: row.scores for row in comparison.scores.rows}
    assert rows["four-zh"]["quickstart"].value == 0.9416 and rows["four-zh"]["second"].value == 0.71
    assert list(rows["ceval"]) == ["second"] and list(rows["fifty-zh"]) == ["quickstart"]
    assert comparison.only_in[1] == ("C-Eval, Chinese (accuracy)",)
    assert len(comparison.only_in[0]) == 6
    assert "+    rank: 8" in comparison.recipe_changes


def test_text_markdown_and_page_say_the_same(run_dir, second):
    comparison = compare(run_dir, second)
    for text in (comparison_text(comparison), comparison_markdown(comparison),
                 comparison_html(comparison)):  # fmt: skip
        for words in ("94.2 %", "71.0 %", "C-Eval, Chinese", "not evaluated", "worse", "rank: 8",
                      "940 MB"):  # fmt: skip
            assert words in text
    assert "second against quickstart: 1 worse, 1 unchanged, 7 no comparison" in comparison_text(
        comparison
    )


def test_lines_of_the_same_stage_are_drawn_together(run_dir, second):
    curves = {curve.stage: curve for curve in compare(run_dir, second).curves}
    assert list(curves) == [
        "base",
        "pretrain",
        "finetune",
        "pretrain, Chinese",
        "pretrain, English",
    ]
    assert [series.label for series in curves["base"].series] == ["quickstart", "second"]


def test_a_run_against_itself_and_one_without_scores(run_dir, tmp_path):
    same = compare(run_dir, run_dir)
    assert same.names == ("quickstart (first)", "quickstart (second)")
    assert same.facts == {} and same.recipe_changes == ""
    assert "recipes: equal" in comparison_text(same)
    bare = write_run(tmp_path / "bare", until="base")
    other = write_run(tmp_path / "other", until="base")
    comparison = compare(bare, other)
    assert "no scores: not evaluated" in comparison_text(comparison)
    assert "neither run has scores" in comparison_html(comparison)
    assert any(note.startswith("bare: ") for note in comparison.notes)


def test_a_wrong_folder_is_refused(run_dir, tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        compare(run_dir, tmp_path / "nowhere")
