"""OpenAI's own Python client talks to the server: chat, stream, log-probabilities, JSON, errors."""

import json
import math

import openai
import pytest

from hanlin.core.records import Message
from hanlin.inference.engine import Sampling
from hanlin.prompts.encode import encode_prompt, stop_ids
from hanlin.prompts.formats import get_format

QUESTION = [{"role": "user", "content": "这本书是谁写的？"}]
PLAIN = get_format("plain")


@pytest.fixture(scope="module")
def client(server):
    return openai.OpenAI(base_url=f"{server.address}/v1", api_key="none", max_retries=0)


def unserved(engine, *messages, **settings):
    """The answer of the model itself to a conversation."""
    prompt = encode_prompt(messages, format=PLAIN, tokenizer=engine.tokenizer)
    sampling = Sampling(
        stop=PLAIN.stop_strings, stop_ids=stop_ids(PLAIN, engine.tokenizer), **settings
    )
    return engine.generate([prompt], sampling)[0]


def ask(client, **settings):
    settings = {"max_tokens": 12, "temperature": 0, "messages": QUESTION, **settings}
    return client.chat.completions.create(model="tiny", **settings)


def test_a_chat_is_answered_as_the_model_answers(client, tiny_engine):
    system = {"role": "developer", "content": "请简短回答。"}
    parts = [{"type": "text", "text": "你"}, {"type": "text", "text": "好"}]
    reply = ask(client, messages=[system, {"role": "user", "content": parts}], user="somebody")
    expected = unserved(
        tiny_engine, Message("system", "请简短回答。"), Message("user", "你好"), max_new_tokens=12
    )
    assert reply.choices[0].message.content == expected.text.lstrip()
    assert reply.choices[0].message.role == "assistant"
    assert reply.choices[0].finish_reason == "length"
    assert (reply.object, reply.model) == ("chat.completion", "tiny")
    assert reply.usage.completion_tokens == 12
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + 12


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"temperature": 1.2, "seed": 5, "top_p": 0.9},
        {"temperature": 0, "extra_body": {"num_beams": 3}},
        {"temperature": 1, "seed": 3, "n": 3},
    ],
)
def test_a_stream_says_the_same(client, settings):
    whole = ask(client, max_tokens=40, **settings)
    texts, reasons, roles = {}, {}, []
    for chunk in ask(client, max_tokens=40, stream=True, **settings):
        for choice in chunk.choices:
            texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
            reasons[choice.index] = choice.finish_reason
            roles += [choice.delta.role] if choice.delta.role else []
    assert texts == {choice.index: choice.message.content for choice in whole.choices}
    assert reasons == {choice.index: choice.finish_reason for choice in whole.choices}
    assert roles == ["assistant"] * len(texts)


def test_a_stream_counts_tokens_where_it_is_asked_to(client):
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].choices == []
    assert chunks[-1].usage == ask(client).usage


def test_beams_are_shown_on_wish(client):
    options = {"num_beams": 3, "stream_options": {"include_beams": True}}
    chunks = list(ask(client, stream=True, extra_body=options))
    beams = [chunk.choices[0].beams for chunk in chunks if hasattr(chunk.choices[0], "beams")]
    assert beams and all(1 <= len(some) <= 3 for some in beams)
    assert all(set(beam) == {"text", "tail", "score"} for some in beams for beam in some)


def test_sampling_with_a_seed_repeats_and_n_gives_different_answers(client, tiny_engine):
    def texts(**settings):
        reply = ask(client, temperature=1, **settings)
        return [choice.message.content for choice in reply.choices]

    one, three = texts(seed=4), texts(seed=4, n=3)
    expected = unserved(
        tiny_engine, Message("user", "这本书是谁写的？"), max_new_tokens=12, temperature=1, seed=4
    )
    assert one == [expected.text.lstrip()] == three[:1]
    assert len(set(three)) == 3
    assert texts() != texts()  # without a seed each draws its own


def test_log_probabilities_of_a_chat(client, tiny_engine):
    reply = ask(client, logprobs=True, top_logprobs=3)
    expected = unserved(
        tiny_engine, Message("user", "这本书是谁写的？"), max_new_tokens=12, top_logprobs=3
    )
    tokens = reply.choices[0].logprobs.content
    assert [bytes(token.bytes) for token in tokens] == [one.data for one in expected.logprobs]
    for token, one in zip(tokens, expected.logprobs, strict=True):
        assert math.isclose(token.logprob, one.logprob, abs_tol=1e-4)
        assert [bytes(other.bytes) for other in token.top_logprobs] == [t[1] for t in one.top]
        assert "\ufffd" not in token.token
    streamed = [
        token
        for chunk in ask(client, logprobs=True, top_logprobs=3, stream=True)
        if chunk.choices[0].logprobs
        for token in chunk.choices[0].logprobs.content
    ]
    assert [token.token for token in streamed] == [token.token for token in tokens]
    assert ask(client, logprobs=True).choices[0].logprobs.content[0].top_logprobs == []


def test_log_probabilities_of_a_completion(client):
    settings = {"model": "tiny", "prompt": "河流", "max_tokens": 20, "temperature": 0}
    choice = client.completions.create(**settings, logprobs=2).choices[0]
    found = choice.logprobs
    assert len(found.tokens) == len(found.token_logprobs) == len(found.text_offset) == 20
    assert all(1 <= len(top) <= 2 for top in found.top_logprobs)
    assert found.text_offset[0] == 0 and found.text_offset == sorted(found.text_offset)
    streamed = []
    for chunk in client.completions.create(**settings, logprobs=2, stream=True):
        streamed += chunk.choices[0].logprobs.text_offset if chunk.choices[0].logprobs else []
    assert streamed == found.text_offset


SCHEMA = {
    "type": "object",
    "properties": {"人物": {"enum": ["王明华", "李雪"]}, "年": {"type": "integer", "maximum": 9}},
    "required": ["人物", "年"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("temperature", [0, 1])
def test_an_answer_fits_its_json_schema(client, temperature):
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}}
    reply = ask(client, response_format=form, max_tokens=100, temperature=temperature, seed=1)
    value = json.loads(reply.choices[0].message.content)
    assert value["人物"] in ("王明华", "李雪") and value["年"] <= 9
    assert reply.choices[0].finish_reason == "stop"


def test_an_answer_is_one_of_the_choices_or_fits_an_expression(client):
    choices = ["是", "否", "不知道"]
    reply = ask(client, extra_body={"guided_choice": choices}, n=4, temperature=2, seed=1)
    assert {choice.message.content for choice in reply.choices} <= set(choices)
    reply = ask(client, extra_body={"guided_regex": "[0-9]{4}年"})
    assert reply.choices[0].message.content.removesuffix("年").isdigit()
    form = {"type": "json_object"}
    assert ask(client, response_format=form).choices[0].message.content.startswith("{")


def test_a_stop_text_ends_the_answer_and_is_no_part_of_it(client):
    whole = ask(client, max_tokens=30).choices[0].message.content
    stop = whole[3:5]
    choice = ask(client, max_tokens=30, stop=stop).choices[0]
    assert choice.message.content == whole[: whole.index(stop)]
    assert choice.finish_reason == "stop"


def test_completions_go_on_with_texts_and_token_ids(client, tiny_engine):
    tokenizer = tiny_engine.tokenizer
    ids = [[tokenizer.bos_id, *tokenizer.encode(text, at_start=True)] for text in ("河流", "Who")]
    settings = {"model": "tiny", "max_tokens": 6, "temperature": 0}
    expected = [one.text for one in tiny_engine.generate(ids, Sampling(max_new_tokens=6))]
    by_text = client.completions.create(prompt=["河流", "Who"], **settings)
    by_ids = client.completions.create(prompt=ids, **settings)
    echoed = client.completions.create(prompt=ids[0], echo=True, n=2, **settings)
    assert [choice.text for choice in by_text.choices] == expected
    assert [choice.text for choice in by_ids.choices] == expected
    assert [choice.index for choice in by_text.choices] == [0, 1]
    assert {choice.text.lstrip() for choice in echoed.choices} == {"河流" + expected[0]}
    assert by_text.usage.prompt_tokens == sum(map(len, ids))


def test_special_tokens_in_a_text_stay_text(client, tiny_engine):
    content = "</s><s>你好</s>"
    reply = ask(client, messages=[{"role": "user", "content": content}])
    expected = unserved(tiny_engine, Message("user", content), max_new_tokens=12)
    assert reply.choices[0].message.content == expected.text.lstrip()
    eos = tiny_engine.tokenizer.eos_id
    prompt = encode_prompt(
        [Message("user", content)], format=PLAIN, tokenizer=tiny_engine.tokenizer
    )
    assert eos not in prompt
    assert reply.usage.prompt_tokens == len(prompt)


def test_models(client):
    assert [model.id for model in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").max_model_len == 512
    with pytest.raises(openai.NotFoundError, match="'big' does not exist") as error:
        client.models.retrieve("big")
    assert error.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("settings", "kind", "message", "param"),
    [
        ({"temperature": 3}, openai.BadRequestError, "less than or equal to 2", "temperature"),
        ({"top_logprobs": 2}, openai.BadRequestError, "needs logprobs", None),
        ({"extra_body": {"color": 1}}, openai.BadRequestError, "unrecognized", "color"),
        ({"logit_bias": {"5": 1}}, openai.BadRequestError, "logit_bias is not supported", None),
        ({"max_tokens": 9000}, openai.BadRequestError, "gives 4096 at most", "max_tokens"),
        ({"messages": []}, openai.BadRequestError, "at least 1 item", "messages"),
        (
            {"messages": [{"role": "user", "content": "汉" * 600}]},
            openai.BadRequestError, "tokens", None,
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {
                "name": "x", "schema": {"type": "nonsense"}}}},
            openai.BadRequestError, "grammar", None,
        ),
    ],
)  # fmt: skip
def test_errors_are_openais(client, settings, kind, message, param):
    for stream in (False, True):
        with pytest.raises(kind, match=message) as error:
            ask(client, stream=stream, **settings)
        assert error.value.type == "invalid_request_error"
        assert error.value.param == param


def test_a_prompt_that_is_too_long_has_openais_code(client):
    with pytest.raises(openai.BadRequestError) as error:
        client.completions.create(model="tiny", prompt="汉" * 600)
    assert error.value.code == "context_length_exceeded"
