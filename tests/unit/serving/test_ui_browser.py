"""The web page in a real browser: whatever it shows was made by a real model on this machine."""

import json
import random
import sys
import time
import unicodedata

import pytest
from ui_page import Visit, chromium, make_endless, page_of, place, teach

from hanlin.extraction.prompt import extraction_prompt
from hanlin.extraction.schema import Schema
from hanlin.inference.conversation import Talk
from hanlin.inference.engine import Sampling, open_engine
from hanlin.inference.saved_talk import saved_talk

QUESTION = "河流穿过哪里？"
# Characters of several byte tokens, and what would be markup elsewhere.
ANSWER = "河流穿过古城，向东流入大海🌊。<b>龘</b> &amp; ${1+1} {{2}} `x` \\n 再见👋🏽！"
TEXT = "画家王明华出生在青石镇。"
FOUND = "人物：王明华\n城镇：青石镇\n出生地：王明华，青石镇"
SCHEMA = Schema(language="zh", entities=["人物", "城镇"], relations={"出生地": ("人物", "城镇")})
ESCAPE = "<script>try { parent.document.title = 'bad' } catch {}</script>"
REPORT = f"<!doctype html><h1 id=card>报告 quickstart</h1>{ESCAPE}"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    (folder / "first").mkdir()
    (folder / "first" / "run.json").write_text("{}")
    (folder / "first" / "report.html").write_text(REPORT, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def shown(tmp_path_factory, runs):
    lessons = [(QUESTION, ANSWER), (extraction_prompt(TEXT, SCHEMA), FOUND)]
    engine = open_engine(str(teach(tmp_path_factory.mktemp("taught") / "taught", lessons)))
    endless = make_endless(tmp_path_factory.mktemp("endless") / "endless")
    slow = place("slow", open_engine(str(endless)))
    return place("taught", engine, other=slow, runs=runs, schemas={"people": {"zh": SCHEMA}})


@pytest.fixture(scope="module")
def address(shown):
    with page_of(shown) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def context(browser):
    return browser.new_context(locale="zh-CN", viewport={"width": 1300, "height": 900})


@pytest.fixture
def visit(context, address):
    visit = Visit(context, address)
    yield visit
    assert not visit.page.evaluate("window.isBroken"), "U+FFFD was on the page"
    visit.page.close()


def answer_of(shown, question, **sampling):
    """Return what the model answers without any page."""
    talk = Talk(shown.engine, format=shown.format, sampling=Sampling(256, **sampling))
    return "".join(talk.ask(question)).rstrip()


def test_page_is_complete_without_the_network(context, address):
    visit = Visit(context, address, is_watched=True)
    parts = {
        "对比": "#chatbot-right",
        "信息抽取": "#schema-text",
        "运行报告": "#report",
        "对话": "#chatbot",
    }
    for tab, part in parts.items():
        visit.turn_to(tab)
        visit.page.wait_for_selector(part, state="visible")
    assert visit.elsewhere == []
    assert visit.failed == []
    assert visit.complaints == []
    fonts = visit.page.evaluate("[...document.fonts].map(font => font.family)")
    assert fonts == []  # the system's own
    visit.page.close()


def test_an_answer_grows_whole_character_by_whole_character(visit, shown):
    visit.ask(QUESTION)
    visit.finished()
    assert visit.said() == [QUESTION, ANSWER]
    assert answer_of(shown, QUESTION) == ANSWER
    states = visit.page.evaluate("window.states")
    assert len(states) > 3
    assert all(ANSWER.startswith(state) for state in states)


def test_stop_ends_the_answer_and_frees_its_place(visit, shown):
    visit.talk_long_to("slow")
    assert shown.other.scheduler.num_open == 1
    visit.page.click("#stop")
    visit.finished(word="stopped")
    question, answer = visit.said()
    assert question == "一直说下去"
    assert answer
    until_free(shown.other.scheduler)


def test_leaving_frees_the_place(context, address, shown):
    visit = Visit(context, address)
    visit.talk_long_to("slow")
    assert shown.other.scheduler.num_open == 1
    visit.page.close()
    until_free(shown.other.scheduler)


def until_free(scheduler):
    for _ in range(200):
        if not scheduler.num_open:
            return
        time.sleep(0.05)
    raise AssertionError("the answer still runs")


def test_beam_search_shows_all_beams_and_ends_as_the_engine_does(visit, shown):
    visit.choose("beam")
    visit.ask("公司是谁创立的？")
    visit.page.wait_for_selector("#beams li:nth-child(4)")
    visit.page.wait_for_selector("#chat-status [data-status=finished], [data-status=length]")
    assert visit.said()[1] == answer_of(shown, "公司是谁创立的？", num_beams=4)
    scores = [float(score) for score in visit.page.locator("#beams .score").all_text_contents()]
    assert scores == sorted(scores, reverse=True)
    assert len(visit.page.evaluate("window.states")) > 1


def test_retry_takes_the_next_seed(visit, shown):
    visit.choose("sampling")
    visit.ask("你好")
    visit.page.wait_for_selector("#chat-status [data-status=finished], [data-status=length]")
    first = visit.said()[1]
    visit.page.click("#retry")
    visit.page.wait_for_function(
        "first => { const all = document.querySelectorAll('#chatbot .bubble:not(.growing) .text');"
        " return all.length === 2 && all[1].textContent !== first }", arg=first
    )  # fmt: skip
    settings = {"temperature": 0.7, "top_p": 0.9}
    assert first == answer_of(shown, "你好", seed=0, **settings)
    assert visit.said()[1] == answer_of(shown, "你好", seed=1, **settings)


def test_an_edited_question_is_asked_in_its_place(visit):
    visit.ask("谁写了这本书？")
    visit.page.wait_for_selector("#chat-status [data-status=finished], [data-status=length]")
    visit.page.hover("#chatbot .bubble.user")
    visit.page.click("#chatbot button[data-do=edit]")
    visit.page.keyboard.type(QUESTION)
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_function(
        "text => window.states[window.states.length - 1] === text", arg=ANSWER
    )
    visit.finished()
    assert visit.said() == [QUESTION, ANSWER]


def test_a_conversation_is_saved_opened_and_replayed(visit, tmp_path):
    visit.choose("sampling")
    visit.page.fill("#system textarea", "只说真话")
    visit.ask("一二三")
    visit.page.wait_for_selector("#chat-status [data-status=finished], [data-status=length]")
    said = visit.said()
    with visit.page.expect_download() as download:
        visit.page.click("#save")
    file = tmp_path / "saved.json"
    download.value.save_as(file)
    saved = saved_talk(json.loads(file.read_text(encoding="utf-8")))  # hanlin chat can load it
    assert saved.system == "只说真话"
    assert [one.message.content for one in saved.history] == said
    assert saved.history[1].sampling.temperature == 0.7

    visit.page.reload()
    visit.page.wait_for_selector("#question textarea")
    open_file(visit, file)
    assert visit.said() == said
    assert visit.page.input_value("#system textarea") == "只说真话"
    assert visit.page.is_checked("#decoding input[value=sampling]")
    visit.page.click("#replay")
    visit.page.wait_for_selector("#chat-status >> text=1 / 1")
    assert visit.said() == said


def test_characters_of_all_kinds_are_shown_as_they_are(visit, tmp_path):
    kept = ("Cc", "Cn", "Cs", "Co")  # controls, unassigned, halves of pairs, private use
    assigned = [chr(n) for n in range(sys.maxunicode) if unicodedata.category(chr(n)) not in kept]
    assigned.remove("\ufffd")
    text = "".join(random.Random(0).sample(assigned, 20_000))
    messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": text}]
    rest = {"format": "plain", "system": None, "truncate": "oldest", "memory_turns": None}
    saved = {"kind": "hanlin conversation", "version": 1, "sampling": {}, **rest}
    file = tmp_path / "all.json"
    file.write_text(json.dumps({**saved, "messages": messages}), encoding="utf-8")
    open_file(visit, file)
    assert visit.said() == ["?", text]


def open_file(visit, file):
    with visit.page.expect_file_chooser() as chooser:
        visit.page.click("#open")
    chooser.value.set_files(file)
    visit.page.wait_for_selector("#chatbot .bubble.assistant")


def test_undo_gives_the_question_back_and_clear_forgets(visit):
    visit.ask(QUESTION)
    visit.finished()
    visit.page.click("#undo")
    visit.page.wait_for_selector("#chatbot .hello")
    assert visit.page.input_value("#question textarea") == QUESTION
    visit.page.click("#send")
    visit.finished()
    visit.page.click("#clear")
    visit.page.wait_for_selector("#chatbot .hello")
    visit.page.click("#save")
    visit.page.wait_for_selector("text=还没有对话")


def test_two_models_answer_side_by_side(visit):
    visit.page.fill("#max_new_tokens input[type=number]", "40")
    visit.turn_to("对比")
    visit.ask(QUESTION, box="#compare-question")
    for side in ("left", "right"):
        visit.finished(f"#status-{side}", word="length")
        texts = visit.page.locator(f"#chatbot-{side} .bubble .text").all_text_contents()
        assert texts[0] == QUESTION
        assert texts[1]


def test_found_spans_are_marked(visit, tmp_path):
    visit.turn_to("信息抽取")
    visit.page.fill("#texts textarea", TEXT)
    visit.page.click("#extract")
    visit.finished("#extract-status")
    marked = visit.page.locator("#found mark").all_text_contents()
    assert marked == ["王明华人物", "青石镇城镇"]
    assert "王明华 → 出生地 → 青石镇" in visit.page.inner_text("#found")
    with visit.page.expect_download() as download:
        visit.page.click("#save_rows")
    download.value.save_as(tmp_path / "rows.json")
    (row,) = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))
    assert [TEXT[e["start"] : e["end"]] for e in row["entities"]] == ["王明华", "青石镇"]


@pytest.mark.parametrize(
    ("choice", "is_held"), [("不约束", False), ("只用模式中的类型", True), ("类型与原文片段", True)]
)
def test_answers_are_held_to_the_schema_where_one_wishes(visit, choice, is_held):
    visit.turn_to("信息抽取")
    visit.page.fill("#texts textarea", "没有教过的句子。")
    visit.page.fill("#schema-text textarea", "zh: {entities: [没有学过的类型]}")
    visit.page.click(f"#constrain label:has-text('{choice}')")
    visit.page.click("#extract")
    visit.finished("#extract-status")
    assert visit.page.inner_text("#extract-status").endswith("无法读取 0") == is_held


def test_a_schema_that_is_wrong_is_explained(visit):
    visit.turn_to("信息抽取")
    visit.page.fill("#texts textarea", TEXT)
    visit.page.fill("#schema-text textarea", "zh: {entitie: [人物]}")
    visit.page.click("#extract")
    visit.page.wait_for_selector("text=unknown key")


def test_report_cards_are_shown_and_shut_in(visit):
    visit.turn_to("运行报告")
    frame = visit.page.frame_locator("#report iframe")
    assert frame.locator("#card").text_content() == "报告 quickstart"
    assert visit.page.get_attribute("#report iframe", "sandbox") == "allow-scripts"
    assert visit.page.title() != "bad"


def test_the_language_is_the_browsers_until_another_is_chosen(browser, address, visit):
    assert visit.page.inner_text("#send") == "发送"
    context = browser.new_context(locale="en-US")
    english = Visit(context, address)
    english.page.wait_for_selector("#send:has-text('Send')")
    labels = english.page.locator("button, label, [data-testid=block-info]").all_inner_texts()
    chinese = [text for text in labels if any("\u4e00" <= c <= "\u9fff" for c in text)]
    assert [text for text in chinese if "中文" not in text and "语言" not in text] == []
    english.page.click("#language input[value=zh]")
    english.page.wait_for_selector("#send:has-text('发送')")
    english.page.reload()
    english.page.wait_for_selector("#send:has-text('发送')")
    context.close()
