"""The page is one file that fetches nothing, shows every number, and trusts no text."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest
from report_folder import HOSTILE, LONG_WORD, scores, write_run

from hanlin.pipeline.report import theme
from hanlin.pipeline.report.build import build
from hanlin.pipeline.report.compare import compare
from hanlin.pipeline.report.compare_pages import comparison_html
from hanlin.pipeline.report.elements import VOID, tag
from hanlin.pipeline.report.html import render

VOID_TAGS = VOID | {"img"}


class Page(HTMLParser):
    """Collects tags, attributes and text; a tag closed out of turn is an error."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.attributes, self.words = [], [], [], []
        self.inside = {"style": "", "script": ""}
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID_TAGS:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in self.inside:
            self.inside[self.open[-1]] += data
        else:
            self.words.append(data)

    @property
    def text(self):
        return "".join(self.words)


@pytest.fixture(params=["card", "comparison", "unfinished"])
def page_text(request, run_dir, tmp_path):
    other = write_run(tmp_path / "other", until="finetune")
    if request.param == "comparison":
        return comparison_html(compare(run_dir, other))
    return render(build(run_dir if request.param == "card" else other))


def test_the_page_is_well_formed(page_text):
    page = Page(page_text)
    assert page_text.startswith('<!DOCTYPE html>\n<html lang="en">')
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_nothing_is_fetched(page_text):
    page = Page(page_text)
    for tag_name, name, value in page.attributes:
        if name in ("src", "href", "srcset", "action", "data", "poster", "xlink:href"):
            assert (tag_name, value) == ("link", "data:,"), (tag_name, name, value)
        assert not name.startswith("on") and name != "style"
    assert "url(" not in page.inside["style"] and "@import" not in page.inside["style"]
    assert not re.search(r"https?:|//[a-z]|fetch|XMLHttp", page.inside["script"])


def test_the_policy_lets_only_our_style_and_script_run(page_text):
    page = Page(page_text)
    policy = next(v for tag_, name, v in page.attributes if name == "content" and "default" in v)
    assert policy.startswith("default-src 'none';")
    for part in ("style", "script"):
        digest = hashlib.sha256(page.inside[part].encode()).digest()
        assert f"{part}-src 'sha256-{base64.b64encode(digest).decode()}'" in policy
        assert page.tags.count(part) == 1
    assert "unsafe" not in policy


def test_hostile_text_stays_text(run_dir):
    page = Page(render(build(run_dir)))
    assert "img" not in page.tags and "b" in page.tags
    assert page.text.count(HOSTILE) >= 4  # prompt, answer, type of an entity, its legend
    assert LONG_WORD in page.text
    assert "反" in page.text and "\x00" not in page.text
    languages = {value for _, name, value in page.attributes if name == "lang"}
    assert languages == {"en", "zh"}
    classes = {v for _, name, v in page.attributes if name == "class"}
    assert not [name for name in classes if re.search(r"[<>\"']", name)]


def test_a_hostile_name_of_the_run(tmp_path):
    text = render(build(write_run(tmp_path / "run", name=HOSTILE)))
    page = Page(text)
    assert page.tags.count("script") == 1 and "img" not in page.tags
    assert HOSTILE in page.text


def test_every_number_of_the_scores_is_on_the_page(run_dir):
    page = Page(render(build(run_dir)))
    exact = {value for tag_, name, value in page.attributes if (tag_, name) == ("data", "value")}
    for row in scores()["rows"]:
        for score in row["scores"].values():
            numbers = [score["value"], score["low"], score["high"], row["chance"]]
            assert {repr(number) for number in numbers if number is not None} <= exact
            assert f"n = {score['n']}" in page.text
    for shown in ("94.2 %", "0.813", "0.917", "25.0 %", "0.090"):
        assert shown in page.text


def test_the_page_has_all_its_parts(run_dir):
    page = Page(render(build(run_dir)))
    for heading in ("Results", "From stage to stage", "Training", "Tokens per character",
                    "Dialogues", "Extraction", "Exported files", "Time and memory",
                    "The recipe that was run", "Every artifact"):  # fmt: skip
        assert heading in page.text
    for fact in ("梅若溪 → 出生地 → 云溪镇", "出生 “出生于” (人: 梅若溪)", "青石公司: 公司",
                 "白塔: 城镇 (not found)", "beyond: T (exact)", "? → <r> → <tail>",
                 "step 600: 0.7", "94.2 % (95 % interval 91.1 to 97.3 %)", "(an empty answer)",
                 "Example CPU", "2.13.0", "940 MB", "greedy tokens equal: 93.8 %",
                 "Pieces of the vocabulary: added: 612"):  # fmt: skip
        assert fact in page.text, fact


def test_missing_parts_are_said_plainly(tmp_path):
    text = Page(render(build(write_run(tmp_path / "cut", until="base")))).text
    for words in ("Not evaluated: there are no scores yet.", "Nothing was exported.",
                  "Not evaluated: there are no samples.", "Tokens per character were not measured.",
                  "Bits per byte during training were not recorded."):  # fmt: skip
        assert words in text


def test_a_page_stays_small(run_dir):
    assert len(render(build(run_dir))) < 400_000


def test_tag_escapes_unless_it_is_markup():
    assert tag("p", "<b>", tag("b", "&"), title='"x"', hidden=True, class_=None) == (
        '<p title="&quot;x&quot;" hidden="">&lt;b&gt;<b>&amp;</b></p>'
    )


def contrast(first, second):
    """Return the contrast of two colors (WCAG 2.2, relative luminance)."""

    def luminance(color):
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colors", [theme.LIGHT, theme.DARK], ids=["light", "dark"])
def test_contrast(colors):
    for ground in ("paper", "card", "wash"):
        for name in ("ink", "soft", "link", "better", "worse"):
            assert contrast(colors[name], colors[ground]) >= 4.5, (name, ground)
        for name in ("before", "after", "third", "fourth", "chance"):
            assert contrast(colors[name], colors[ground]) >= 3, (name, ground)
    for i in range(theme.TYPE_COLORS):
        assert contrast(colors["ink"], colors[f"type-{i}"]) >= 4.5, i
    for name in ("before", "after"):  # the numbers inside of bars
        assert contrast(colors["card"], colors[name]) >= 4.5, name
    assert contrast("#fff8ee", colors["seal"]) >= 4.5
    assert theme.LIGHT.keys() == theme.DARK.keys()
