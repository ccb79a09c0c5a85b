"""Whatever people and models write, the mask covers the answers, and templates give our ids."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanlin.core.records import Conversation, Message
from hanlin.models.tiny import make_tiny
from hanlin.prompts.encode import encode_conversation, encode_prompt
from hanlin.prompts.formats import FORMATS, get_format
from hanlin.prompts.jinja import chat_template, checked_chat_template, template_ids
from hanlin.tokenization.load import load

TEXT = st.lists(
    st.one_of(
        st.text(max_size=6),
        st.sampled_from(
            [
                "你好",
                "世界！",
                "Hello",
                " world",
                "</s>",
                "<s>",
                "<unk>",
                "🙂",
                "Ａ１，",
                "\n",
                "  ",
                "User:",
                "\nAssistant:",
                "### Response:",
                "{content}",
                "<0x0A>",
                "12.5",
            ]
        ),
    ),
    max_size=6,
).map(lambda parts: "".join(parts).replace("▁", ""))  # fmt: skip - SentencePiece reads ▁ as a space
SPECIALS = ("<s>", "</s>", "<unk>")


@st.composite
def conversations(draw, text=TEXT):
    messages = [Message("system", draw(text))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 3))):
        messages += [Message("user", draw(text)), Message("assistant", draw(text))]
    return Conversation(tuple(messages))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return load(make_tiny(tmp_path_factory.mktemp("tiny")))


@pytest.mark.parametrize("name", list(FORMATS))
@settings(max_examples=60, deadline=None)
@given(conversation=conversations(), last_only=st.booleans())
def test_the_mask_covers_exactly_the_answers_and_their_end_tokens(
    tokenizer, name, conversation, last_only
):
    format = get_format(name)
    encoded = encode_conversation(
        conversation, format=format, tokenizer=tokenizer, loss_on="last" if last_only else "all"
    )
    answers = [m.content for m in conversation.messages if m.role == "assistant"]
    answers = answers[-1:] if last_only else answers
    every = format.eos_after == "every"
    ends = len(answers) if every else 1
    trained = [i for i, counts in zip(encoded.ids, encoded.trained, strict=True) if counts]
    assert trained.count(tokenizer.eos_id) == ends
    if every:
        parts = split_at(trained, tokenizer.eos_id)
        found = [format.answer_text(tokenizer.decode_continuation(part)) for part in parts]
        assert found == answers
    else:
        assert tokenizer.decode_continuation(trained) == "".join(answers)
    untrained = [i for i, counts in zip(encoded.ids, encoded.trained, strict=True) if not counts]
    assert untrained.count(tokenizer.bos_id) == 1
    if not last_only:
        assert tokenizer.eos_id not in untrained


def split_at(ids, end):
    parts, part = [], []
    for i in ids:
        if i == end:
            parts, part = [*parts, part], []
        else:
            part.append(i)
    assert not part
    return parts


@pytest.mark.parametrize("name", list(FORMATS))
@settings(max_examples=40, deadline=None)
@given(conversation=conversations())
def test_training_ids_begin_with_every_prompt(tokenizer, name, conversation):
    format = get_format(name)
    ids = encode_conversation(conversation, format=format, tokenizer=tokenizer).ids
    for index, message in enumerate(conversation.messages):
        if message.role == "assistant":
            before = conversation.messages[:index]
            prompt = encode_prompt(before, format=format, tokenizer=tokenizer)
            assert ids[: len(prompt)] == prompt


def without_specials(text):
    while any(special in text for special in SPECIALS):
        for special in SPECIALS:
            text = text.replace(special, "")
    return text


@pytest.mark.parametrize("name", [n for n in FORMATS if get_format(n).has_exact_borders])
@settings(max_examples=60, deadline=None)
@given(conversation=conversations(TEXT.map(without_specials)))
def test_the_chat_template_gives_the_same_ids(tokenizer, name, conversation):
    # A rendered string cannot tell special tokens from texts that look like them, hence none here.
    format = get_format(name)
    template = checked_chat_template(format, tokenizer)
    messages = conversation.messages
    ours = encode_conversation(conversation, format=format, tokenizer=tokenizer).ids
    assert template_ids(template, messages, tokenizer=tokenizer) == ours
    prompt = encode_prompt(messages[:-1], format=format, tokenizer=tokenizer)
    assert prompt == template_ids(
        template, messages[:-1], tokenizer=tokenizer, add_generation_prompt=True
    )


class FirstPrefixOnly:
    """The tokenizer as transformers 5 builds it: a dummy space begins a string and no more."""

    def __init__(self, tokenizer):
        from tokenizers import normalizers, pre_tokenizers
        from transformers import PreTrainedTokenizerFast

        self.encode, self.bos_id, self.eos_id = tokenizer.encode, tokenizer.bos_id, tokenizer.eos_id
        rust = tokenizer.hf.backend_tokenizer.from_str(tokenizer.hf.backend_tokenizer.to_str())
        rust.normalizer = normalizers.Sequence([])
        rust.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False)
        names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
        self.hf = PreTrainedTokenizerFast(tokenizer_object=rust, **names)


@settings(max_examples=40, deadline=None)
@given(conversation=conversations(TEXT.map(without_specials)))
def test_the_chat_template_for_tokenizers_with_a_space_at_the_beginning_only(
    tokenizer, conversation
):
    format, other = get_format("plain"), FirstPrefixOnly(tokenizer)
    template = checked_chat_template(format, other)
    assert template == chat_template(format, writes_space=True)
    ours = encode_conversation(conversation, format=format, tokenizer=tokenizer).ids
    assert template_ids(template, conversation.messages, tokenizer=other) == ours
