"""The card shows what training logged: forgetting, rewards, rows, samples, answers."""

import json

import pytest
from report_folder import HOSTILE, events, write_events
from test_report_page import Page

from hanlin.pipeline.report.build import build, write
from hanlin.pipeline.report.curves import curves
from hanlin.pipeline.report.html import render
from hanlin.pipeline.report.markdown import markdown
from hanlin.pipeline.report.texts import MOST_CHARACTERS, trained_parts, training_texts


def event(kind, stage="finetune", **fields):
    return {"event": kind, "stage": stage, **fields}


def row(number, text, **more):
    return event("first_rows", row=number, documents=3, trained_turns=3, end_tokens=3,
                 text=text, **more)  # fmt: skip


def sample(step, text, language="zh", prompt="古城"):
    return event("sample", step=step, language=language, prompt=prompt, text=text)


def probe(step, value, change, language="zh"):
    return event("probe", step=step, language=language, bits_per_byte=value, change=change)


TOLD = [
    event("continued", text="continues from /home/somebody/a/state\n  steps: 40 made + 20 new"),
    row(0, f"User: {HOSTILE}⏎Assistant:⟦ 古城</s>⟧"),
    row(1, "User: b⏎Assistant:⟦ lamp</s>⟧"),
    probe(0, 2.0, None), probe(0, 1.0, None, "en"), sample(0, "的的的的"),
    probe(20, 1.5, -0.25), probe(20, 1.1, 0.1, "en"), sample(20, "在河边。"),
    event("answers", asked=2, ended=1, answers=[
        {"prompt": "谁？", "answer": "梅若溪</s>", "trained": "梅若溪</s>", "is_ended": True},
        {"prompt": "Where?", "answer": "on and on and", "trained": "here</s>", "is_ended": False},
    ]),
]  # fmt: skip
PREFERENCES = [
    event("first_rows", "dpo", row=0, prompt="问？", chosen="好", rejected="坏"),
    *[event("metric", "dpo", step=step, loss=0.6, rewards_chosen=0.1 * step,
            rewards_rejected=-0.2 * step, rewards_margins=0.3 * step, rewards_accuracies=0.4 * step)
      for step in (1, 2)],
]  # fmt: skip


@pytest.fixture
def told_run(run_dir):
    """A run whose finetuning and preferences logged all there is."""
    write_events(run_dir, [*events(), *TOLD, *PREFERENCES])
    return run_dir


def lines(quantity, log):
    return {
        series.label: series.points
        for curve in curves(log)
        if curve.quantity == quantity
        for series in curve.series
    }


def test_what_was_forgotten_has_a_curve_in_percent():
    assert lines("change", TOLD) == {"zh": ((20.0, -25.0),), "en": ((20.0, 10.0),)}


def test_preferences_have_rewards_and_the_share_of_pairs():
    assert lines("rewards", PREFERENCES) == {
        "chosen": ((1.0, 0.1), (2.0, 0.2)), "rejected": ((1.0, -0.2), (2.0, -0.4)),
        "margin": ((1.0, 0.3), (2.0, 0.6)),
    }  # fmt: skip
    assert lines("preferred", PREFERENCES) == {"chosen": ((1.0, 40.0), (2.0, 80.0))}
    assert lines("rewards", TOLD) == {}


def test_texts_of_a_stage(tmp_path):
    (texts,) = training_texts(TOLD, tmp_path)
    assert texts.continued == "continues from …/state\n  steps: 40 made + 20 new"
    assert [one.row for one in texts.rows] == [0, 1]
    assert texts.samples[0].texts == ((0, "的的的的"), (20, "在河边。"))
    assert (texts.asked, texts.ended) == (2, 1)
    assert training_texts([event("metric", step=1, loss=1.0)], tmp_path) == ()


def test_a_stage_that_goes_on_shows_everything_once(tmp_path):
    again = [event("stage_started"), row(0, "⟦new⟧"), sample(10, "又"), sample(20, "在山上。")]
    (texts,) = training_texts([*TOLD, *again], tmp_path)
    assert [one.text for one in texts.rows] == ["⟦new⟧", TOLD[2]["text"]]
    assert texts.samples[0].texts == ((0, "的的的的"), (20, "在山上。"))


def test_a_stage_done_again_forgets_what_it_said(tmp_path):
    log = [*TOLD, event("stage_finished"), event("stage_started"), row(0, "⟦new⟧")]
    (texts,) = training_texts(log, tmp_path)
    assert (texts.continued, texts.samples, texts.asked) == ("", (), 0)


def test_long_texts_are_cut_in_their_middle(tmp_path):
    (texts,) = training_texts([row(0, "b" * 5000 + "end</s>⟧")], tmp_path)
    assert len(texts.rows[0].text) < MOST_CHARACTERS + 9
    assert texts.rows[0].text.endswith("end</s>⟧") and " … " in texts.rows[0].text


def test_damaged_events_are_passed_over(tmp_path):
    log = [event("first_rows", row="0", text="x"), event("answers", answers="x"),
           event("sample", step=None, text="x"), event("answers", answers=[3]),
           event("continued", text=4)]  # fmt: skip
    assert training_texts(log, tmp_path) == ()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("User: a⏎⟦b⟧c", [("User: a⏎", False), ("b", True), ("c", False)]),
        ("a ⟧ b ⟦ c", [("a ⟧ b ⟦ c", False)]),
        ("", []),
    ],
)
def test_trained_parts(text, parts):
    assert trained_parts(text) == parts


def test_the_page_shows_all_of_it(told_run):
    html = render(build(told_run))
    page = Page(html)
    for words in ("Learned below zero, forgotten above", "Chinese -25.0 % → -25.0 %",
                  "Preferences", "rejected -0.200 → -0.400", "chosen 40.0 % → 80.0 %",
                  "continues from …/state", "在河边。", "step 20 ", "not wanted: 坏",
                  "1 of 2 answers to trained questions come to their end.",
                  "on and on and"):  # fmt: skip
        assert words in page.text, words
    assert '<mark class="type-2"> 古城&lt;/s&gt;</mark>' in html
    assert '<mark class="type-2">好</mark>' in html
    assert page.tags.count("script") == 1 and "img" not in page.tags
    assert len(html) < 400_000


def test_markdown_shows_all_of_it(told_run):
    text = markdown(build(told_run))
    for words in ("### finetune: what it was taught, and what it says", "step 20: 古城▸在河边。",
                  "⟦ lamp</s>⟧", "Where?▸on and on and\ntrained: here</s>",
                  "1 of 2 answers", "not wanted:\n\n```\n坏\n```"):  # fmt: skip
        assert words in text, words
    assert "<script>" not in "".join(text.split("```")[::2])


def test_report_json_has_it(told_run):
    write(told_run)
    document = json.loads((told_run / "report.json").read_text(encoding="utf-8"))
    finetune, dpo = document["training"]
    assert finetune["answers"][1]["is_ended"] is False
    assert dpo["rows"] == [{"row": 0, "text": "问？⟦好⟧", "rejected": "坏"}]
