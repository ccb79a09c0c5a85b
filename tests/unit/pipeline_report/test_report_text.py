"""Words, Markdown and the marking of spans."""

import pytest
from report_folder import HOSTILE, row, score, scores

from hanlin.pipeline.report import words
from hanlin.pipeline.report.build import build
from hanlin.pipeline.report.card import Entity, ExtractionSample, Facts, Relation
from hanlin.pipeline.report.clean import clean, without_paths
from hanlin.pipeline.report.markdown import escape, fenced, markdown
from hanlin.pipeline.report.scores import evaluation
from hanlin.pipeline.report.spans import differences, highlighted


def one(metric, before, after, chance=None):
    document = {
        "models": ["before", "after"],
        "rows": [row("b", "B", "zh", metric, chance, before, after)],
    }
    read = evaluation(document, stage="e", notes=[])
    return words.change(read.rows[0], read.models)


@pytest.mark.parametrize(
    ("metric", "before", "after", "verdict"),
    [
        ("accuracy", score(0.2, 0.05, 9), score(0.9, 0.05, 9), "better"),
        ("accuracy", score(0.9, 0.05, 9), score(0.2, 0.05, 9), "worse"),
        ("accuracy", score(0.5, 0.1, 9), score(0.55, 0.1, 9), "no clear change"),
        ("bits_per_byte", score(3.0, 0.1, 9), score(1.0, 0.1, 9), "better"),
        ("tokens_per_character", score(0.3, None, 9), score(0.4, None, 9), "worse"),
        ("f1", score(0.5, None, 9), score(0.5, None, 9), "unchanged"),
        ("f1", None, score(0.5, None, 9), "no comparison"),
        ("f1", score(None, None, 9), score(0.5, None, 9), "no comparison"),
    ],
)  # fmt: skip
def test_a_change_is_judged_by_the_intervals(metric, before, after, verdict):
    assert one(metric, before, after).verdict == verdict


def test_chance():
    low, near, high = (score(v, 0.05, 9) for v in (0.1, 0.25, 0.9))
    assert one("accuracy", low, high, chance=0.25).verdict == "better; above chance"
    assert one("accuracy", low, near, chance=0.25).against_chance == "at chance level"
    assert one("accuracy", high, low, chance=0.25).against_chance == "below chance"


def test_arrows_show_where_the_value_went():
    assert one("bits_per_byte", score(3.0, 0.1, 9), score(1.0, 0.1, 9)).sign == "↓"
    assert one("accuracy", score(0.1, 0.01, 9), score(0.9, 0.01, 9)).sign == "↑"
    assert one("accuracy", score(0.9, 0.01, 9), score(0.1, 0.01, 9)).sign == "↓"


def test_headlines_put_the_new_language_first():
    read = evaluation(scores(), stage="e", notes=[])
    chosen = [(row.metric, row.language) for row in words.headlines(read)]
    assert chosen == [
        ("accuracy", "zh"), ("mrr", "zh"), ("bits_per_byte", "zh"), ("bits_per_byte", "en"),
        ("tokens_per_character", "zh"), ("f1", "zh"),
    ]  # fmt: skip


def test_numbers_in_words():
    assert [words.seconds(v) for v in (3.14159, 99.9, 200, 7500, None)] == [
        "3.1 s", "99.9 s", "3 min 20 s", "2 h 05 min", "not recorded",
    ]  # fmt: skip
    assert [words.size(v) for v in (0, 812, 3_400_000, 26e9, 5e12, None)] == [
        "0 B", "812 B", "3.4 MB", "26.0 GB", "5.0 TB", "not recorded",
    ]  # fmt: skip
    assert [words.amount(v) for v in (950, 12_345, 4_200_000)] == ["950", "12.3 k", "4.2 M"]
    assert words.number(0.9416, "accuracy") == "94.2 %" and words.number(0.0, "mrr") == "0.000"
    assert words.language("zh") == "Chinese" and words.language("xx") == "xx"


def test_markdown_shows_hostile_text_as_text(run_dir):
    text = markdown(build(run_dir))
    outside = "".join(text.split("```")[::2])
    assert "<script>" not in outside and "<b>" not in outside
    assert (
        "| Four options, Chinese | accuracy, higher is better | 26.2 % (21.3 to 31.2 %) |" in text
    )
    for heading in ("## Results", "## From stage to stage", "## Training", "## Dialogues",
                    "## Extraction", "## Exported files", "## Machine and versions"):  # fmt: skip
        assert f"\n{heading}\n" in text
    assert "█" in text and "梅若溪出生在云溪镇。😀" in text


def test_markdown_escapes():
    assert escape("a|b <c> [d](e) *f*\n# g") == r"a\|b \<c\> \[d\](e) \*f\* # g"
    assert escape("# head") == r"\# head" and escape("1. one") == r"1\. one"
    assert escape("0.1.0") == "0.1.0"
    assert fenced("``` and ````").startswith("`````\n")


def test_cleaning_keeps_the_number_of_characters():
    text = "a\x00b\ud800c\r\n\u202e\tz\uffff"
    assert len(clean(text)) == len(text)
    clean(text).encode("utf-8")
    assert clean({"a": [float("inf"), 1.5, True, None]}) == {"a": [None, 1.5, True, None]}


def test_paths_are_shortened_and_addresses_are_not(tmp_path):
    run = tmp_path / "runs" / "x"
    run.mkdir(parents=True)
    text = f"{run}/base/model in {run}, /home/me/zh.txt, https://example.org/a/b, a/b/c, ~/d/e.txt"
    assert without_paths(text, run) == (
        "base/model in the run's folder, …/zh.txt, https://example.org/a/b, a/b/c, …/e.txt"
    )
    assert without_paths("C:\\Users\\me\\zh.txt", run) == "…/zh.txt"
    assert without_paths("path: '/data/corpus/'", run) == "path: '…/'"


def test_spans_that_overlap_are_all_named():
    entities = [
        Entity("云溪镇", "城镇", 0, 3),
        Entity("镇", "地点", 2, 3),
        Entity("溪镇在", "别", 1, 4),
    ]
    marked = highlighted("云溪镇在南方", entities, ["城镇", "地点", "别"])
    assert marked.count('class="label') == 3
    assert 'title="城镇, characters 0 to 3"' in marked


def test_differences_to_the_reference():
    a, b = Entity("甲", "人物", 0, 1), Entity("乙", "人物", 1, 2)
    found = Facts((a,), (Relation("出生地", "甲", "乙"),))
    gold = Facts((Entity("甲", "人物"), b), ())
    sample = ExtractionSample("甲乙", "zh", found, gold)
    assert differences(sample) == (["乙: 人物"], ["甲 → 出生地 → 乙"])
    assert differences(ExtractionSample("甲乙", "zh", found)) is None
    assert HOSTILE not in highlighted(HOSTILE, [], [])
