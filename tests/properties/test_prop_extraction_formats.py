"""Properties of the forms of answers: what was written is read, what is broken never raises."""

import dataclasses

from hypothesis import given, settings
from hypothesis import strategies as st

from hanlin.extraction.align import align
from hanlin.extraction.chunks import Chunking, chunks, joined
from hanlin.extraction.facts import Event, Extraction, Mention, Relation, from_row, to_row
from hanlin.extraction.formats import FORMATS
from hanlin.extraction.formats.answer_format import Asking, counts, said, write_answer
from hanlin.extraction.ground import Ground, fold_script
from hanlin.extraction.html import page
from hanlin.extraction.schema import Schema

SCHEMAS = [
    Schema(language="zh", entities=["人物", "城镇"], relations={"出生地": ("人物", "城镇")},
           events={"成立": {"roles": ["机构", "时间"]}}, attributes={"公司": ["总额"]}),
    Schema(language="en", entities=["Person", "Town: big"], relations=["born, in", "near"],
           events={"founding": {"roles": ["firm", "time=when"]},
                   "win": {"roles": ["who"], "trigger": False}}),
]  # fmt: skip
PLAIN = "王明青石镇Ab１Ａ🙂é"  # characters that no form has for a mark
HARD = "王A1(（,，:：;；#=\\'\"{}[]\n \u3000\u2028NAN"
FORMS = [name for name in FORMATS if name != "cutegpt"]


@st.composite
def cases(draw, characters: str) -> tuple[Extraction, Schema]:
    schema = draw(st.sampled_from(SCHEMAS))
    text = draw(st.text(st.sampled_from(characters), min_size=1, max_size=30))

    def mention(type_: str) -> Mention:
        start = draw(st.integers(0, len(text) - 1))
        end = draw(st.integers(start + 1, min(len(text), start + 8)))
        return Mention(text[start:end], type_, start, end)

    types = [*schema.entities, *schema.attributes]
    entities = [mention(t) for t in draw(st.lists(st.sampled_from(types), min_size=1, max_size=4))]
    index = st.integers(0, len(entities) - 1)
    relations = [
        Relation(name, draw(index), draw(index))
        for name in draw(st.lists(st.sampled_from(list(schema.relations)), max_size=3))
    ]
    events = []
    for name in draw(st.lists(st.sampled_from(list(schema.events)), max_size=2)):
        event = schema.events[name]
        roles = st.lists(st.tuples(st.sampled_from(event.roles), index), max_size=3)
        arguments = tuple(draw(roles)) or ((event.roles[0], 0),)
        trigger = mention(name) if event.trigger else Mention("", "", status="missing")
        events.append(Event(name, trigger, arguments))
    return Extraction("1", text, schema.language, tuple(entities), tuple(relations),
                      tuple(events)), schema  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(FORMS), cases(PLAIN), st.integers(0, 25))
def test_what_is_written_is_read(name, case, template):
    gold, schema = case
    form = FORMATS.get(name)
    for question in form.ask(gold.text, schema, Asking(template=template)):
        parsed = form.read(write_answer(form, gold, question), question)
        wanted = said(gold, question)
        assert not parsed.unread
        if question.task == "KG":  # names the entities that carry the attributes besides
            assert counts(dataclasses.replace(parsed, entities=())) == counts(wanted)
        else:
            assert counts(parsed) == counts(wanted)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(FORMS), cases(HARD))
def test_names_full_of_marks_are_read_or_refused(name, case):
    """Our own forms and JSON can say everything; the old text forms say when they cannot."""
    gold, schema = case
    form = FORMATS.get(name)
    for question in form.ask(gold.text, schema, Asking()):
        try:
            write_answer(form, gold, question)
        except ValueError as error:
            assert "cannot say this" in str(error)
            assert name.startswith(("deepke", "knowlm")) or "NAN" in form.write(gold, question)


@settings(deadline=None, max_examples=120)
@given(st.sampled_from(list(FORMATS)), cases(HARD + PLAIN), st.data())
def test_a_corrupted_answer_never_raises_and_can_be_kept(name, case, data):
    gold, schema = case
    if name == "cutegpt":
        schema = Schema(language="zh", attributes={"公司": ["总额"], "船": []})
    form = FORMATS.get(name)
    for question in form.ask(gold.text, schema, Asking()):
        answer = form.write(gold, question)
        start = data.draw(st.integers(0, len(answer)))
        end = data.draw(st.integers(start, len(answer)))
        broken = answer[:start] + data.draw(st.text(max_size=12)) + answer[end:]
        parsed = form.read(broken, question)
        found = align(parsed, gold.text, until="fuzzy")
        assert from_row(to_row(found)) == found
        page([found], title="t").encode("utf-8", "replace")


@settings(deadline=None, max_examples=100)
@given(
    st.sampled_from(list(FORMATS)),
    st.one_of(st.text(), st.from_regex(r"[\[{('\"]{0,9}[a-z\\ud83:,0-9\]})'\"]{0,30}")),
)
def test_any_text_at_all_can_be_read(name, answer):
    schema = (
        Schema(language="zh", attributes={"公司": ["总额"]}) if name == "cutegpt" else SCHEMAS[0]
    )
    for question in FORMATS.get(name).ask("王明", schema, Asking()):
        parsed = FORMATS.get(name).read(answer, question)
        assert all(isinstance(part, str) for part in parsed.unread)


@settings(deadline=None)
@given(st.text(st.sampled_from(PLAIN + "臺灣台湾 ，。"), max_size=30), st.data())
def test_every_part_of_a_text_is_found_in_any_width_and_script(text, data):
    start = data.draw(st.integers(0, max(0, len(text) - 1)))
    name = text[start : data.draw(st.integers(start, len(text)))]
    places, status = Ground(text, until="fuzzy").places(fold_script(name))
    assert (places and status != "missing") or not name
    assert all(0 <= s < e <= len(text) for s, e in places)


@settings(deadline=None)
@given(st.text(st.sampled_from("王明。！？\n ab."), max_size=80), st.integers(2, 30), st.data())
def test_chunks_lose_nothing(text, size, data):
    chunking = Chunking(size, data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, 3)))
    spans = list(chunks(text, chunking))
    assert {i for s in spans for i in range(s.start, s.end)} == set(range(len(text)))
    assert all(s.end - s.start <= size for s in spans)
    parts = [(s.start, Extraction("1", text[s.start : s.end], "zh")) for s in spans]
    assert joined(Extraction("1", text, "zh"), parts).text == text
