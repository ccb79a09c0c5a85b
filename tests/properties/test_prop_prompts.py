"""Whatever people and models write, the mask covers the answers, and templates give our ids."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanlin.core.records import Conversation, Message, ToolCall
from hanlin.inference.conversation import fit_prompt
from hanlin.prompts.encode import (
    encode_conversation,
    encode_conversations,
    encode_prompt,
    stop_ids,
)
from hanlin.prompts.fit import fit_conversation, split_turns
from hanlin.prompts.format import EOS
from hanlin.prompts.formats import FORMATS, get_format
from hanlin.prompts.jinja import chat_template, checked_chat_template, template_ids
from hanlin.tokenization import backend
from prompt_tokenizers import MARKERS, STYLES, make_tokenizer

NAMES = list(FORMATS)
WITH_TOOLS = [name for name in NAMES if get_format(name).tools]
LOOKS_SPECIAL = (
    "</s>", "<s>", "<unk>", "<0x0A>", *MARKERS, "<|begin_of_text|>", "<|end_of_text|>",
    "<|endoftext|>", "[INST]", "<<SYS>>",
)  # fmt: skip
PARTS = (
    "你好", "世界！", "Hello", " world", "🙂", "👩‍🏫", "Ａ１，", "\n", "  ", "\t", "User:",
    "\nAssistant:", "### Response:", "{content}", "{bos}", "{{ bos_token }}", "12.5", "问：", "¿é",
)  # fmt: skip
TEXT = st.lists(
    st.one_of(st.text(max_size=6), st.sampled_from(PARTS + LOOKS_SPECIAL)), max_size=6
).map(lambda parts: "".join(parts).replace("▁", ""))  # SentencePiece reads ▁ as a space


@st.composite
def conversations(draw, text=TEXT, answer=None, tools=False):
    answer = text if answer is None else answer
    messages = [Message("system", draw(text))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 3))):
        messages.append(Message("user", draw(text)))
        if tools and draw(st.booleans()):
            calls = tuple(draw(st.lists(CALLS, min_size=1, max_size=2)))
            messages.append(Message("assistant", draw(answer), tool_calls=calls))
            messages += [Message("tool", draw(text)) for _ in calls]
        messages.append(Message("assistant", draw(answer), is_trained=draw(st.booleans())))
    messages[-1] = Message("assistant", messages[-1].content)
    return Conversation(tuple(messages), tools=tuple(draw(TOOLS)) if tools else ())


KEY = st.sampled_from(["city", "城市", "a b", "é"])
VALUE = st.one_of(
    KEY, st.integers(), st.booleans(), st.none(), st.sampled_from(["<&'>", "\n", "🙂"])
)
JSON = st.dictionaries(KEY, VALUE, max_size=3)
CALLS = st.builds(ToolCall, st.sampled_from(["get_weather", "查天气"]), JSON.map(json.dumps))
TOOLS = st.lists(JSON.map(json.dumps), max_size=2)


@pytest.fixture(scope="module", params=STYLES)
def tokenizer(request, tmp_path_factory):
    return make_tokenizer(tmp_path_factory.mktemp(request.param), request.param)


@settings(max_examples=170, deadline=None)  # with three tokenizers 510, each in every format
@given(conversation=conversations(), last_only=st.booleans())
def test_ids_of_training_begin_with_every_prompt_and_the_mask_covers_the_answers(
    tokenizer, conversation, last_only
):
    for name in NAMES:
        check_training_ids(tokenizer, get_format(name), conversation, last_only)


def check_training_ids(tokenizer, format, conversation, last_only):
    encoded = encode_conversation(
        conversation, format=format, tokenizer=tokenizer, loss_on="last" if last_only else "all"
    )
    messages, ends = conversation.messages, stop_ids(format, tokenizer)
    wanted = [False] * len(encoded.ids)
    answers = [i for i, m in enumerate(messages) if m.role == "assistant" and m.is_trained]
    for index in answers[-1:] if last_only else answers:
        prompt = encode_prompt(messages[:index], format=format, tokenizer=tokenizer)
        assert encoded.ids[: len(prompt)] == prompt
        text = messages[index].content.strip() if format.strips else messages[index].content
        before, _, after = format.answer.partition("{content}")
        answer = tokenizer.encode(before + text + after, at_start=False)
        is_last = index == len(messages) - 1
        end = format.end if format.eos_after == "every" or is_last else ""
        count = len(format.pieces(end + (format.final if is_last else "")))
        whole = encoded.ids[len(prompt) : len(prompt) + len(answer) + count]
        assert whole[: len(answer)] == answer
        assert tokenizer.decode_continuation(answer) == before + text + after
        assert all(i in ends for i in whole[len(answer) :])
        wanted[len(prompt) : len(prompt) + len(whole)] = [True] * len(whole)
    assert encoded.trained == wanted
    assert encoded.end_tokens == sum(
        counts and i in ends for i, counts in zip(encoded.ids, encoded.trained, strict=True)
    ) > 0  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(conversation=conversations())
def test_no_text_becomes_a_special_token(tokenizer, conversation):
    special = set(backend.special_tokens(tokenizer.content).values())
    plain = Conversation(
        tuple(
            Message(m.role, "x" if m.content.strip() else "", is_trained=m.is_trained)
            for m in conversation.messages
        )
    )
    for format in map(get_format, NAMES):
        found = [
            [i for i in encode_conversation(c, format=format, tokenizer=tokenizer).ids
             if i in special]
            for c in (conversation, plain)
        ]  # fmt: skip
        if format.strips or all(m.content.strip() or not m.content for m in conversation.messages):
            assert found[0] == found[1]


@settings(max_examples=20, deadline=None)
@given(batch=st.lists(conversations(), max_size=4))
def test_many_at_once_are_the_same_as_one_by_one(tokenizer, batch):
    for format in map(get_format, NAMES):
        together = encode_conversations(batch, format=format, tokenizer=tokenizer)
        alone = [encode_conversation(c, format=format, tokenizer=tokenizer) for c in batch]
        assert together.each() == alone


@settings(max_examples=60, deadline=None)
@given(
    conversation=conversations(),
    name=st.sampled_from(NAMES),
    limit=st.integers(1, 120),
    truncate=st.sampled_from(["oldest", "keep-first", "refuse"]),
)
def test_training_and_chat_drop_the_same_turns(tokenizer, conversation, name, limit, truncate):
    format = get_format(name)
    last = conversation.messages[-1]
    fitted = fit_conversation(
        conversation, format=format, tokenizer=tokenizer, seq_len=limit, truncate=truncate
    )
    if fitted is None:
        return
    opening, *turns = split_turns(conversation.messages)
    stay = truncate == "keep-first"
    kept = turns[:stay] + turns[stay + fitted.dropped_turns :]
    assert fitted.messages == (*opening, *(message for turn in kept for message in turn))
    ids = fitted.encoded.ids
    assert len(ids) <= limit and fitted.messages[-1] == last
    prompt = encode_prompt(fitted.messages[:-1], format=format, tokenizer=tokenizer)
    found, dropped = fit_prompt(
        conversation.messages[:-1], format=format, tokenizer=tokenizer,
        max_tokens=len(prompt), truncate=truncate,
    )  # fmt: skip
    assert dropped <= fitted.dropped_turns
    assert len(found) <= len(prompt) == len(ids[: len(prompt)])


def readable(text):
    """Keep what a rendered string can tell apart: no text in it that looks like a special token."""
    while any(special in text for special in LOOKS_SPECIAL):
        for special in LOOKS_SPECIAL:
            text = text.replace(special, "")
    return text


def has_exact_borders(name, tokenizer):
    """A byte-level tokenizer joins line breaks: only a special token behind an answer is a wall."""
    format = get_format(name)
    is_walled = format.eos_after == "every" or not backend.is_byte_level(tokenizer.content)
    return format.has_exact_borders and is_walled


def answers_for(tokenizer, *, is_exact):
    """Return answers that a tokenizer cannot join with the template around them."""
    text = TEXT.map(readable)
    if not is_exact:  # nothing separates the two
        return text.map(lambda t: f"答{t}A")
    return text.map(str.lstrip) if backend.is_byte_level(tokenizer.content) else text


def check_template(tokenizer, name, conversation, template):
    format = get_format(name)
    messages, tools = conversation.messages, conversation.tools
    ours = encode_conversation(conversation, format=format, tokenizer=tokenizer).ids
    assert template_ids(template, messages, tokenizer=tokenizer, tools=tools) == ours
    prompt = encode_prompt(messages[:-1], format=format, tokenizer=tokenizer, tools=tools)
    assert prompt == template_ids(
        template, messages[:-1], tokenizer=tokenizer, tools=tools, add_generation_prompt=True
    )


@pytest.mark.parametrize("is_exact", [True, False])
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_the_chat_template_gives_the_same_ids(tokenizer, templates, is_exact, data):
    some = [name for name in NAMES if has_exact_borders(name, tokenizer) == is_exact]
    answer = answers_for(tokenizer, is_exact=is_exact)
    conversation = data.draw(conversations(TEXT.map(readable), answer))
    for name in some:
        check_template(tokenizer, name, conversation, templates[name])


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_the_chat_template_gives_the_same_ids_with_tools(tokenizer, templates, data):
    answer = answers_for(tokenizer, is_exact=True)
    conversation = data.draw(conversations(TEXT.map(readable), answer, tools=True))
    for name in WITH_TOOLS:
        check_template(tokenizer, name, conversation, templates[name])


@pytest.fixture(scope="module")
def templates(tokenizer):
    return {name: checked_chat_template(get_format(name), tokenizer) for name in NAMES}


class FirstPrefixOnly:
    """The tokenizer as transformers 5 builds it: a dummy space begins a string and no more."""

    def __init__(self, tokenizer):
        from tokenizers import normalizers, pre_tokenizers
        from transformers import PreTrainedTokenizerFast

        self.encode, self.special_id = tokenizer.encode, tokenizer.special_id
        self.bos_id, self.eos_id = tokenizer.bos_id, tokenizer.eos_id
        rust = tokenizer.hf.backend_tokenizer.from_str(tokenizer.hf.backend_tokenizer.to_str())
        rust.normalizer = normalizers.Sequence([])
        rust.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False)
        names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
        self.hf = PreTrainedTokenizerFast(tokenizer_object=rust, **names)


@pytest.fixture(scope="module")
def first_prefix_only(tmp_path_factory):
    return FirstPrefixOnly(make_tokenizer(tmp_path_factory.mktemp("first"), "sentencepiece"))


@pytest.mark.parametrize("name", ["plain", "alpaca", "vicuna", "llama2", "oneke"])
@settings(max_examples=40, deadline=None)
@given(conversation=conversations(TEXT.map(readable)))
def test_the_chat_template_for_tokenizers_with_a_space_at_the_beginning_only(
    first_prefix_only, name, conversation
):
    template = chat_template(get_format(name), writes_space=True)
    check_template(first_prefix_only, name, conversation, template)


def test_the_template_with_a_space_is_chosen_where_it_is_needed(first_prefix_only):
    format = get_format("plain")
    found = checked_chat_template(format, first_prefix_only)
    assert found == chat_template(format, writes_space=True)


@pytest.mark.parametrize("name", NAMES)
def test_what_ends_an_answer_stops_a_generation(tokenizer, name):
    format = get_format(name)
    ids = stop_ids(format, tokenizer)
    assert tokenizer.eos_id in ids
    for _, end in format.pieces(format.end):
        assert (tokenizer.eos_id if end == EOS else tokenizer.special_id(end)) in ids
