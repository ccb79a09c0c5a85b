"""Any conversation survives being written and read in each format, or is not written."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from hanlin.core.records import Conversation, Message, ToolCall
from hanlin.data.conversion.convert import BORDER, WHITE_SPACE, convert, trimmed
from hanlin.data.conversion.rows import FORMATS, to_messages
from hanlin.data.readers import read_conversations
from hanlin.data.readers.turns import BadRowError, checked

TEXT = st.one_of(
    st.sampled_from([
        "你好，世界！", "Hi 🙂", "</s>", "<|im_end|>", " \n", "　全角　", "Human: a\nAssistant:",
        "### Response:", "{}", "[1]", "a\x00b", "\u2028", "\ufeff", "e\u0301",
    ]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
)  # fmt: skip
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.floats(allow_nan=False), TEXT),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)
OBJECT = st.dictionaries(TEXT, JSON, max_size=3)
AS_TEXT = OBJECT.map(lambda value: json.dumps(value, ensure_ascii=False))
CALL = st.builds(
    ToolCall, TEXT, AS_TEXT | OBJECT.map(lambda value: json.dumps(value, separators=(",", ":")))
)
ANSWER = st.builds(
    Message,
    st.just("assistant"),
    TEXT,
    st.booleans(),
    st.lists(CALL, max_size=2).map(tuple),
)


@st.composite
def questions(draw):
    before, after = draw(TEXT), draw(TEXT)
    if not draw(st.booleans()):
        return Message("user", before + after)
    joined = f"{before}\n{after}"
    return Message("user", joined, input_at=len(before) + 1)


@st.composite
def conversations(draw):
    """System message, plain dialogue, or turns in any order with tools; or pairs."""
    system = [Message("system", draw(TEXT))] if draw(st.booleans()) else []
    if draw(st.booleans()):
        turns = [
            message
            for _ in range(draw(st.integers(1, 3)))
            for message in (draw(questions()), Message("assistant", draw(TEXT)))
        ]
    else:
        tool = TEXT.map(lambda text: Message("tool", text))
        turns = draw(st.lists(st.one_of(questions(), ANSWER, tool), min_size=2, max_size=5))
    return Conversation(tuple(system + turns), tools=tuple(draw(st.lists(AS_TEXT, max_size=2))))


def is_sound(conversation):
    try:
        checked(conversation.messages)
    except BadRowError:
        return False
    wrapped = [json.loads(tool) for tool in conversation.tools]
    return not any(set(tool) == {"type", "function"} for tool in wrapped)


@settings(deadline=None, max_examples=60)
@given(
    given=st.lists(conversations().filter(is_sound), min_size=1, max_size=3),
    is_packed=st.booleans(),
)
def test_written_and_read_again(given, is_packed):
    with TemporaryDirectory() as name:
        source = Path(name, "in.jsonl")
        rows = [json.dumps(to_messages(c), ensure_ascii=False) + "\n" for c in given]
        source.write_text("".join(rows), encoding="utf-8")
        assert list(map(details, read_conversations(source))) == list(map(details, given))
        # One that every format can hold: it is never the case that nothing can be written.
        source.write_text("".join(rows) + '{"instruction": "a", "output": "b"}\n', encoding="utf-8")
        every = list(read_conversations(source))
        for to in FORMATS:
            out = Path(name, f"{to}.json.zst" if is_packed else f"{to}.json")
            check(convert(source, out, to=to), every, out, to)


def check(done, every, out, to):
    back = list(read_conversations(out))
    missing = []
    if done.left_out:
        listed = Path(done.left_out).read_text(encoding="utf-8").splitlines()
        missing = [json.loads(line)["line"] for line in listed]
    wanted = [c for line, c in enumerate(every, 1) if line not in missing]
    assert done.rows == len(back) == len(wanted)
    assert sum(done.not_held.values()) == len(missing)
    assert set(done.changed) <= {WHITE_SPACE, BORDER}
    if WHITE_SPACE in done.changed:
        back, wanted = list(map(trimmed, back)), list(map(trimmed, wanted))
    same = plain if done.changed else details
    assert list(map(same, back)) == list(map(same, wanted))
    if to == "messages":
        assert not missing and not done.changed


def plain(conversation):
    return conversation.messages, conversation.tools


def details(conversation):
    return (*plain(conversation), [message.input_at for message in conversation.messages])
