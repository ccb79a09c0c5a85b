"""Parameters, saved conversations, runs and texts of the page, without a browser."""

import json
import re
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanlin.core.errors import ConfigError, InputError
from hanlin.core.records import Message
from hanlin.inference.engine import Beam, Generation, Sampling, StreamEvent
from hanlin.serving.ui.bubbles import bubbles
from hanlin.serving.ui.growing import Shown, beams_html, grow, status_html
from hanlin.serving.ui.parameters import (
    DECODINGS,
    Parameters,
    parameters_of,
    read_parameters,
)
from hanlin.serving.ui.runs import find_runs, frame, run_named, stored_report
from hanlin.serving.ui.talking import read_conversation
from hanlin.serving.ui.words import WORDS, word


@pytest.mark.parametrize("decoding", DECODINGS)
def test_a_way_of_decoding_sets_only_what_it_uses(decoding):
    given = Parameters(decoding=decoding, temperature=0.5, top_k=3, num_beams=5, seed=9)
    sampling = given.sampling()
    is_drawn, has_beams = DECODINGS[decoding]
    assert (sampling.temperature, sampling.top_k, sampling.seed) == (
        (0.5, 3, 9) if is_drawn else (0, 0, 0)
    )
    assert sampling.num_beams == (5 if has_beams else 1)
    assert parameters_of(sampling, max_new_tokens=256).sampling() == sampling


def test_parameters_out_of_range_are_explained():
    with pytest.raises(ConfigError, match="temperature: Input should be less than or equal to 2"):
        read_parameters({"temperature": 3}, max_new_tokens=100)
    with pytest.raises(ConfigError, match="max_new_tokens is 101") as error:
        read_parameters({"max_new_tokens": 101}, max_new_tokens=100)
    assert "at most 100" in error.value.why


def saved(**sampling):
    return json.dumps({
        "kind": "hanlin conversation", "version": 1, "format": "plain", "system": None,
        "truncate": "oldest", "memory_turns": None, "sampling": {},
        "messages": [{"role": "user", "content": "问"},
                     {"role": "assistant", "content": "答", "sampling": sampling}],
    })  # fmt: skip


def test_a_saved_conversation_gives_its_last_parameters():
    kept, parameters = read_conversation(saved(num_beams=3, max_new_tokens=9), max_new_tokens=300)
    assert (parameters.decoding, parameters.num_beams, parameters.max_new_tokens) == ("beam", 3, 9)
    assert kept["messages"][1]["content"] == "答"


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("no json", InputError, "no saved conversation"),
        ("[" * 100_000, InputError, "no saved conversation"),
        ('{"kind": "other"}', InputError, "no conversation that can be read"),
        (saved(max_new_tokens=301), ConfigError, "max_new_tokens is 301"),
        (saved(num_beams=60), ConfigError, "num_beams"),
    ],
)
def test_a_file_that_is_no_conversation_is_refused(text, error, message):
    with pytest.raises(error, match=message):
        read_conversation(text, max_new_tokens=300)


def make_run(folder, report="<p>报告</p>"):
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    (folder / "report.html").write_text(report, encoding="utf-8")
    return folder


def test_runs_are_those_below_the_folder_and_no_others(tmp_path):
    root = tmp_path / "runs"
    make_run(root / "b")
    make_run(root / "group" / "a")
    make_run(root / "b" / "inside")  # of a run, not beside it
    make_run(root / ".work" / "hidden")
    outside = make_run(tmp_path / "secret")
    (root / "link").symlink_to(outside)
    assert list(find_runs(root)) == ["b", "group/a"]
    assert stored_report(run_named(root, "b")) == "<p>报告</p>"
    for name in ("../secret", "link", str(outside), "", ".", "b/../../secret"):
        with pytest.raises(InputError, match="there is no such run"):
            run_named(root, name)


def test_a_report_that_leads_elsewhere_is_not_shown(tmp_path):
    run = make_run(tmp_path / "runs" / "a")
    (tmp_path / "secret.html").write_text("secret")
    (run / "report.html").unlink()
    with pytest.raises(InputError, match="has no report card") as error:
        stored_report(run)
    assert "hanlin report a" in error.value.fix
    (run / "report.html").symlink_to(tmp_path / "secret.html")
    with pytest.raises(InputError, match="has no report card"):
        stored_report(run)


def test_a_folder_that_is_a_run_itself_has_its_own_name(tmp_path):
    run = make_run(tmp_path / "alone")
    assert find_runs(run) == {"alone": run.resolve()}


def test_a_report_cannot_leave_its_frame():
    shown = frame('</iframe><script>"${x}{{y}}`"</script>', title='"><b>')
    assert shown.count("<") == 2
    assert shown.count('"') == 8
    assert "${" not in shown
    assert "{{" not in shown


def test_texts_are_never_markup():
    text = "<b>&amp; ${1} {{2}} `x`\\n"
    html = bubbles([Message("user", text)], "en") + beams_html([Beam(text, text, -1.0)], "zh")
    assert "<b>" not in html
    for mark in "{}`$\\":
        assert mark not in html


@given(st.lists(st.text()))
def test_any_text_in_any_parts_is_shown_as_it_is(parts):
    text = "".join(parts)
    *_, last = grow(StreamEvent(part) for part in parts)
    assert last.text == text.rstrip()
    shown = bubbles([Message("user", text)], "zh", answer=Shown(text))
    inside = re.findall(r'<div class="text">(.*?)(?:<span|</div>)', shown, re.DOTALL)
    assert [unescape(one) for one in inside] == [text, text]


def test_an_answer_ends_with_its_generation_or_says_why_not():
    def events(*, has_end):
        yield StreamEvent("你", beams=(Beam("你", "好", -0.1), Beam("你", "们", -0.2)))
        if not has_end:
            return
        yield StreamEvent(
            "好 ", beams=(Beam("你好 ", "", -0.1),), generation=Generation("你好 ", (1, 2), "eos")
        )

    first, second, last = grow(events(has_end=True))
    assert (first.status, second.text, second.tail) == ("waiting", "你", "好")
    assert (last.text, last.status, last.num_tokens, len(last.beams)) == ("你好", "finished", 2, 2)
    *_, last = grow(events(has_end=False))
    assert (last.text, last.tail, last.status) == ("你", "", "stopped")


def test_an_error_is_told_below_what_came_before_it():
    def events():
        yield StreamEvent("开始")
        raise InputError("the model failed", fix="ask again")

    *_, last = grow(events())
    assert (last.text, last.status) == ("开始", "error")
    line = status_html(last, "zh", num_forgotten=2)
    assert "出错" in line
    assert "the model failed" in line
    assert "ask again" in line


def test_every_word_is_there_in_both_languages():
    for key in WORDS:
        assert word(key, "zh")
        english = word(key, "en")
        assert english
        assert not any("\u4e00" <= character <= "\u9fff" for character in english), key
    assert Sampling() == Parameters(max_new_tokens=256).sampling()
