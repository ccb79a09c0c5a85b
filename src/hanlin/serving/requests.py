"""What may a client ask for? The bodies of the requests, as the API's description shows them."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from hanlin.core.records import Grammar, Message
from hanlin.extraction.grammar import Constrain
from hanlin.serving.settings import MAX_CHOICES

MAX_TOP_LOGPROBS = 20
MAX_STOPS = 16
MAX_TEXTS = 64
LAST_SEED = 2**63 - 1


def _whole(value: Any) -> Any:  # noqa: ANN401 - whatever was sent
    """Take 3.0 for 3, as JSON does."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Int = Annotated[int, BeforeValidator(_whole)]
Text = Annotated[str, Field(max_length=1 << 20)]
Stop = Annotated[str, Field(min_length=1, max_length=200)]
TokenId = Annotated[Int, Field(ge=0, le=2**31 - 1)]
TokenIds = Annotated[list[TokenId], Field(min_length=1)]

# Fields of OpenAI's API that do not change an answer; they are taken and not looked at.
IGNORED = {"user", "metadata", "safety_identifier", "prompt_cache_key"}
# Fields that would change it and are not there: what their neutral value is.
NEUTRAL = {
    "tools": [], "tool_choice": "none", "functions": [], "logit_bias": {}, "best_of": 1,
    "suffix": "", "store": False, "parallel_tool_calls": True, "service_tier": "auto",
    "modalities": ["text"],
}  # fmt: skip


class Body(BaseModel):
    """Base of all bodies: unknown fields are refused, and no type is taken for another."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True,
        allow_inf_nan=False, populate_by_name=True,
    )  # fmt: skip


class StreamOptions(Body):
    """More about a stream."""

    include_usage: bool = False
    """Send one more event with the number of tokens."""
    include_beams: bool = False
    """Give all beams of a beam search in each event: text, tail that may still change, score."""


class JsonSchema(Body):
    """A JSON schema by OpenAI's rules."""

    name: Annotated[str, Field(max_length=64)]
    """Any name."""
    schema_: dict[str, Any] = Field(default_factory=lambda: {"type": "object"}, alias="schema")
    """The schema."""
    description: str | None = None
    """Not looked at."""
    strict: bool | None = None
    """Not looked at: every answer fits."""


class ResponseFormat(Body):
    """What an answer must look like."""

    type: Literal["text", "json_object", "json_schema"]
    """Free text, any JSON object, or what the schema says."""
    json_schema: JsonSchema | None = None
    """For the type json_schema."""

    @model_validator(mode="after")
    def _check(self) -> ResponseFormat:
        if (self.json_schema is None) == (self.type == "json_schema"):
            raise ValueError("json_schema and the type json_schema go together")
        return self

    def grammar(self) -> Grammar | None:
        """Return what the text must look like."""
        if self.type == "text":
            return None
        schema = self.json_schema.schema_ if self.json_schema else {"type": "object"}
        return Grammar("json_schema", json.dumps(schema, ensure_ascii=False))


class Decoding(Body):
    """How an answer is chosen: OpenAI's fields, and those of other servers that it lacks."""

    model: Annotated[str, Field(max_length=300)] | None = None
    """The model's name; there is one only."""
    n: Annotated[Int, Field(ge=1, le=MAX_CHOICES)] | None = 1
    """How many answers."""
    temperature: Annotated[float, Field(ge=0, le=2)] | None = 1.0
    """0 takes the most likely token each time."""
    top_p: Annotated[float, Field(gt=0, le=1)] | None = 1.0
    """Draw from the fewest tokens that together have this probability."""
    top_k: Annotated[Int, Field(ge=-1, le=2**31 - 1)] | None = 0
    """Draw from so many most likely tokens; 0 or -1 for all."""
    min_p: Annotated[float, Field(ge=0, le=1)] | None = 0.0
    """Draw from tokens that have this share of the most likely one's probability."""
    repetition_penalty: Annotated[float, Field(gt=0, le=10)] | None = 1.0
    """Divides the logits of tokens in prompt and answer."""
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = 0.0
    """Taken from the logits of tokens that are in the answer."""
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = 0.0
    """Taken from them as often as they are in the answer."""
    num_beams: Annotated[Int, Field(ge=1, le=16)] | None = 1
    """Above 1: beam search, or beam sampling where the temperature is above 0."""
    length_penalty: Annotated[float, Field(ge=-10, le=10)] | None = 1.0
    """Of beams."""
    seed: Annotated[Int, Field(ge=-LAST_SEED, le=LAST_SEED)] | None = None
    """The same seed gives the same answer; without one each request draws its own."""
    stop: Stop | Annotated[list[Stop], Field(max_length=MAX_STOPS)] | None = None
    """Texts that end the answer and are no part of it."""
    max_tokens: Annotated[Int, Field(ge=1, le=2**31 - 1)] | None = None
    """Longest answer, in tokens."""
    stream: bool | None = False
    """Send the answer as it comes, as server-sent events."""
    stream_options: StreamOptions | None = None
    """Only with stream."""
    response_format: ResponseFormat | None = None
    """What the answer must look like."""
    guided_choice: Annotated[list[Text], Field(min_length=1, max_length=1000)] | None = None
    """The answer is one of these texts."""
    guided_regex: Annotated[str, Field(min_length=1, max_length=10_000)] | None = None
    """The whole answer fits this regular expression."""

    @model_validator(mode="before")
    @classmethod
    def _take_openai(cls, value: Any) -> Any:  # noqa: ANN401 - whatever was sent
        """Take away fields that change nothing, and say of the others what they are."""
        if not isinstance(value, dict):
            return value
        known = {name: field for name, field in value.items() if name not in IGNORED}
        for name in NEUTRAL.keys() & known.keys() - cls.model_fields.keys():
            if known.pop(name) not in (None, NEUTRAL[name]):
                raise ValueError(f"{name} is not supported by this server; leave it out")
        return known

    @model_validator(mode="after")
    def _check_decoding(self) -> Decoding:
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options is for stream: true only")
        if (self.num_beams or 1) > 1 and (self.n or 1) > 1:
            raise ValueError("num_beams above 1 gives one answer: set n to 1")
        forms = [self.response_format and self.response_format.type != "text", self.guided_choice]
        if sum(map(bool, [*forms, self.guided_regex])) > 1:
            raise ValueError("give one of response_format, guided_choice and guided_regex")
        return self

    def grammar(self) -> Grammar | None:
        """Return what the answer must look like; None for free text."""
        if self.guided_choice is not None:
            return Grammar("choice", json.dumps(self.guided_choice, ensure_ascii=False))
        if self.guided_regex is not None:
            return Grammar("regex", self.guided_regex)
        return self.response_format.grammar() if self.response_format else None

    @property
    def stops(self) -> tuple[str, ...]:
        """Return the texts that end an answer."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())


class TextPart(Body):
    """A part of a message."""

    type: Literal["text"]
    """Texts are all that the model reads."""
    text: Text
    """The text."""


class ChatMessage(Body):
    """One turn."""

    role: Literal["system", "developer", "user", "assistant"]
    """Who speaks; developer means system."""
    content: Text | list[TextPart]
    """The text, or its parts."""
    name: str | None = None
    """Not looked at."""

    def record(self) -> Message:
        """Return the message as prompts take it."""
        parts = self.content
        text = parts if isinstance(parts, str) else "".join(part.text for part in parts)
        return Message("system" if self.role == "developer" else self.role, text)


class ChatBody(Decoding):
    """OpenAI's chat request."""

    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=10_000)]
    """The conversation; its last message asks."""
    max_completion_tokens: Annotated[Int, Field(ge=1, le=2**31 - 1)] | None = None
    """OpenAI's newer name of max_tokens."""
    logprobs: bool | None = False
    """Give the log-probability of each token."""
    top_logprobs: Annotated[Int, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    """And of so many most likely ones; needs logprobs."""

    @model_validator(mode="after")
    def _check_chat(self) -> ChatBody:
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs: true")
        if self.messages[-1].role != "user":
            raise ValueError("messages: the last message must be the user's")
        if any(m.role in ("system", "developer") for m in self.messages[1:]):
            raise ValueError("messages: a system message stands first or nowhere")
        return self


class CompletionBody(Decoding):
    """OpenAI's older request: a text, or token ids, to be gone on with."""

    prompt: Text | TokenIds | list[Text] | list[TokenIds]
    """One prompt or several."""
    logprobs: Annotated[Int, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    """Give the log-probability of each token, and of so many most likely ones."""
    echo: bool | None = False
    """Put the prompt before the answer."""

    @model_validator(mode="after")
    def _check_completion(self) -> CompletionBody:
        if self.echo and self.logprobs is not None:
            raise ValueError("echo: log-probabilities of a prompt are not given; leave one out")
        if (
            isinstance(self.prompt, list)
            and not 1 <= len(self.prompts) * (self.n or 1) <= MAX_TEXTS
        ):
            raise ValueError(f"prompt: prompts and n make more than {MAX_TEXTS} answers, or none")
        return self

    @property
    def prompts(self) -> list[str | list[int]]:
        """Return each prompt: a text or token ids."""
        prompt = self.prompt
        if isinstance(prompt, str):
            return [prompt]
        return [prompt] if prompt and isinstance(prompt[0], int) else list(prompt)  # type: ignore[arg-type]


class GenerateParameters(Body):
    """KnowLM's parameters, with its defaults."""

    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Draw from the fewest tokens that together have this probability."""
    top_k: Annotated[Int, Field(ge=-1, le=2**31 - 1)] = -1
    """Draw from so many most likely tokens; -1 for all."""
    max_tokens: Annotated[Int, Field(ge=1, le=2**31 - 1)] | None = None
    """Longest answer, in tokens; 16 where it is left out."""
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.0
    """Taken from the logits of tokens that are in the answer."""
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.0
    """Taken from them as often as they are in the answer."""
    temperature: Annotated[float, Field(ge=0, le=100)] = 1.0
    """0 takes the most likely token each time."""


class GenerateBody(Body):
    """KnowLM's request; all three keys are needed, as there."""

    instruction: Text
    """What is to be done."""
    input: Text
    """What it is to be done with; may be empty."""
    parameters: GenerateParameters
    """How the answer is chosen."""


class ExtractBody(Body):
    """Texts, and what to look for in them."""

    text: Text | Annotated[list[Text], Field(min_length=1, max_length=MAX_TEXTS)]
    """One text or several."""
    types: str | dict[str, Any] = Field(alias="schema")
    """The name of a schema that the server knows, or one: language -> types, as in a file."""
    language: Annotated[str, Field(max_length=20)] | None = None
    """Language of the texts; may be left out where the schema has one only."""
    form: Annotated[str, Field(max_length=100)] = "lines"
    """How the model is asked and answers: the form that it was tuned on."""
    constrain: Constrain = "off"
    """Hold it to the types of the schema, and its names to parts of the text, by a grammar."""
    max_tokens: Annotated[Int, Field(ge=1, le=2**31 - 1)] | None = None
    """Longest answer about one text, in tokens."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    """0 takes the most likely token each time."""
    seed: Annotated[Int, Field(ge=-LAST_SEED, le=LAST_SEED)] = 0
    """The same seed gives the same answer."""
