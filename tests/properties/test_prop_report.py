"""Whatever the spans, the marked text is the text; whatever the text, it stays text."""

import html
import re

from hypothesis import given
from hypothesis import strategies as st

from hanlin.pipeline.report.card import Entity
from hanlin.pipeline.report.clean import clean
from hanlin.pipeline.report.curves import MAX_POINTS, downsample
from hanlin.pipeline.report.elements import tag
from hanlin.pipeline.report.markdown import fenced
from hanlin.pipeline.report.spans import highlighted
from hanlin.pipeline.report.svg import ticks

TEXTS = st.text(alphabet=st.sampled_from("ab<>&\"'翰林，。Ａ１😀\u202e \n`"), max_size=30)
PLACES = st.one_of(st.none(), st.integers(-3, 40))
ENTITIES = st.lists(st.builds(Entity, text=TEXTS, type=TEXTS, start=PLACES, end=PLACES), max_size=6)


@given(TEXTS, ENTITIES)
def test_marking_neither_adds_nor_loses_a_character(text, entities):
    marked = highlighted(text, entities, sorted({entity.type for entity in entities}))
    without_labels = re.sub(r'<span class="label[^>]*>[^<]*</span>', "", marked)
    assert html.unescape(re.sub(r"<[^>]*>", "", without_labels)) == text


@given(TEXTS, TEXTS)
def test_text_and_attributes_survive_escaping(text, attribute):
    written = tag("p", text, title=attribute)
    assert re.fullmatch(r'<p title="[^"<>]*">[^<>]*</p>', written)
    assert html.unescape(written[written.index(">") + 1 : -4]) == text


@given(st.text())
def test_cleaned_text_can_be_written_and_keeps_its_length(text):
    assert len(clean(text).encode("utf-8").decode("utf-8")) == len(text)


@given(TEXTS)
def test_a_fence_is_closed_by_nothing_inside(text):
    first, *middle, last = fenced(text).split("\n")
    assert first == last and not [line for line in middle if line.startswith(first)]


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_ticks_cover_the_range_and_are_few(a, b):
    low, high = min(a, b), max(a, b)
    values = ticks(low, high)
    assert 2 <= len(values) <= 12 and values == sorted(values)
    slack = 1e-6 * max(abs(low), abs(high), 1e-3)
    assert values[0] <= low + slack and values[-1] >= high - slack


@given(st.lists(st.floats(0, 10), min_size=1, max_size=3000))
def test_downsampling_keeps_the_last_step_and_the_range(values):
    points, size = downsample([(float(i), v) for i, v in enumerate(values)])
    assert len(points) <= MAX_POINTS and size >= 1
    assert points[-1][0] == len(values) - 1
    assert min(values) - 1e-9 <= min(v for _, v in points)
    assert max(v for _, v in points) <= max(values) + 1e-9
