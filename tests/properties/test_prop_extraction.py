"""Properties of extraction: nothing is lost between example, answer, parse and alignment."""

from hypothesis import given
from hypothesis import strategies as st

from hanlin.extraction.align import align
from hanlin.extraction.facts import Event, Extraction, Mention, Relation, from_row, to_row
from hanlin.extraction.metrics import f1, items
from hanlin.extraction.parse import Parsed, parse_answer
from hanlin.extraction.prompt import format_answer
from hanlin.extraction.schema import Schema
from hanlin.text.normalize import fold_width

ZH = Schema(
    language="zh",
    entities=["人物", "城镇"],
    relations={"出生地": ("人物", "城镇")},
    events={"成立": {"roles": ["机构", "时间"]}},
)
EN = Schema(
    language="en",
    entities=["Person", "Town"],
    relations={"birthplace": ("Person", "Town")},
    events={"founding": {"roles": ["firm", "time"]}},
)

# Chinese, English, full-width, emoji, every mark that answers use, white space of several kinds.
characters = st.one_of(
    st.sampled_from("王明青石镇 Ab１Ａ：:；;，,=\\n\n\t\r\u3000\u2028-🙂é"), st.characters()
)
texts = st.text(characters, min_size=1, max_size=40)


@st.composite
def extractions(draw, schema: Schema) -> Extraction:
    text = draw(texts)

    def mention(type_: str) -> Mention:
        start = draw(st.integers(0, len(text) - 1))
        end = draw(st.integers(start + 1, len(text)))
        return Mention(text[start:end], type_, start, end)

    types = draw(st.lists(st.sampled_from(schema.entities), min_size=1, max_size=5))
    entities = tuple(mention(type_) for type_ in types)
    indices = st.integers(0, len(entities) - 1)
    (relation,), (event,) = schema.relations, schema.events
    roles = st.sampled_from(schema.events[event].roles)
    relations = draw(st.lists(st.builds(Relation, st.just(relation), indices, indices), max_size=3))
    arguments = st.lists(st.tuples(roles, indices), max_size=3)
    events = [
        Event(event, mention(event), tuple(draw(arguments))) for _ in range(draw(st.integers(0, 2)))
    ]
    return Extraction("1", text, schema.language, entities, tuple(relations), tuple(events))


cases = st.sampled_from([ZH, EN]).flatmap(lambda s: st.tuples(st.just(s), extractions(s)))


@given(cases)
def test_a_formatted_answer_reads_back_to_the_same_items(case):
    schema, gold = case
    parsed = parse_answer(format_answer(gold, schema), schema)
    assert parsed.unreadable == 0
    found = align(parsed, gold.text, id="1", language=schema.language)
    for part in ("entities", "relations", "events"):
        assert sorted(items(found, part)) == sorted(items(gold, part))
    assert all(mention.text in gold.text for mention in found.entities)
    assert f1([gold], [found], samples=10)["overall"].f1 == 1


@given(cases)
def test_gold_scores_one_against_itself(case):
    _, gold = case
    assert all(score.f1 == 1 for score in f1([gold], [gold], samples=10).values())


@given(cases, st.data())
def test_a_corrupted_answer_never_fails(case, data):
    schema, gold = case
    answer = format_answer(gold, schema)
    start = data.draw(st.integers(0, len(answer)))
    end = data.draw(st.integers(start, len(answer)))
    broken = answer[:start] + data.draw(st.text(characters, max_size=10)) + answer[end:]
    found = align(parse_answer(broken, schema), gold.text)
    assert from_row(to_row(found), number=0).entities == found.entities


@given(st.text(characters))
def test_any_text_at_all_can_be_parsed(answer):
    assert parse_answer(answer, ZH).unreadable >= 0


@given(texts, st.data())
def test_every_substring_is_found(text, data):
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    name = text[start:end]
    (mention,) = align(Parsed((("人物", name),)), text).entities
    assert (mention.status, text[mention.start : mention.end]) == ("exact", name)


@given(texts, st.data())
def test_every_substring_is_found_when_widths_were_changed(text, data):
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    (mention,) = align(Parsed((("人物", fold_width(text[start:end])),)), text).entities
    assert mention.status in ("exact", "folded")
    assert fold_width(text[mention.start : mention.end]) == fold_width(text[start:end])


@given(st.text(characters))
def test_folding_keeps_every_place_and_is_done_once(text):
    folded = fold_width(text)
    assert len(folded) == len(text)
    assert fold_width(folded) == folded
