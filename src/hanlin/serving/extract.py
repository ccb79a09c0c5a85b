"""`POST /v1/extract`: what is in these texts?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from fastapi import Request
from pydantic import ValidationError

from hanlin.core.records import Message
from hanlin.core.registry import did_you_mean
from hanlin.extraction.extract import Extractor
from hanlin.extraction.facts import Extraction, to_row
from hanlin.extraction.formats import FORMATS
from hanlin.extraction.formats.answer_format import Question
from hanlin.extraction.grammar import grammars, has_grammar
from hanlin.extraction.ground import farthest
from hanlin.extraction.schema import Schema, load_schemas, ready_schemas, schema_for
from hanlin.inference.engine import Generation, Sampling
from hanlin.prompts.encode import stop_ids
from hanlin.serving.decoding import answer_length, chat_prompt, usable_temperature
from hanlin.serving.errors import ApiError
from hanlin.serving.openai import note_usage
from hanlin.serving.requests import ExtractBody
from hanlin.serving.service import Ask, Service
from hanlin.serving.sse import unless_gone

DEFAULT_MAX_TOKENS = 256
Schemas = Mapping[str, Mapping[str, Schema]]


async def extract(
    service: Service, schemas: Schemas, body: ExtractBody, request: Request
) -> list[dict[str, Any]]:
    """Return what was found, a row for each text.

    Raises:
        ApiError: it is refused, or takes too long.
        HanlinError: the model cannot do it.
    """
    by_language = find_schemas(schemas, body.types)
    schema = schema_for(by_language, body.language)
    texts = [body.text] if isinstance(body.text, str) else body.text
    given = [Extraction(str(i), text, schema.language) for i, text in enumerate(texts, 1)]
    engine = _SharedEngine(service, asyncio.get_running_loop())
    extractor = Extractor(
        engine,
        lambda text: chat_prompt(service, [Message("user", text)]),
        _samplings(service, body),
        {schema.language: schema},
        form=FORMATS.get(body.form),
        until=farthest(),
    )
    try:
        found = await unless_gone(request, asyncio.to_thread(lambda: list(extractor.each(given))))
    finally:
        engine.give_up()
    note_usage(request, engine.prompt_tokens, engine.generations)
    return [to_row(one) for one in found]


def _samplings(service: Service, body: ExtractBody) -> Callable[[Question, str], Sampling]:
    """Return how the answer about a text is chosen, and what it is held to."""
    if body.constrain != "off" and not has_grammar(body.form):
        message = f"the form {body.form[:100]!r} has no grammar to hold a model to"
        raise ApiError(400, message, param="constrain")
    plain = Sampling(
        max_new_tokens=answer_length(service, body.max_tokens, default=DEFAULT_MAX_TOKENS),
        temperature=usable_temperature(body.temperature),
        seed=body.seed,
        stop=service.format.stop_strings,
        stop_ids=stop_ids(service.format, service.engine.tokenizer),
    )

    grammar_of = grammars(body.constrain, body.form)
    return lambda question, text: replace(plain, grammar=grammar_of(question, text))


def find_schemas(schemas: Schemas, wanted: str | Mapping[str, Any]) -> Mapping[str, Schema]:
    """Return the types of each language, by the name of a schema or as they were sent.

    Raises:
        ApiError: there is no such schema, or types contradict each other.
    """
    if not wanted:
        raise ApiError(400, "schema: it names no language; write one such as zh", param="schema")
    if not isinstance(wanted, str):
        return {str(name): _schema(str(name), value) for name, value in wanted.items()}
    if wanted in schemas:
        return schemas[wanted]
    if wanted in ready_schemas():  # never a path: only these names are looked up
        return load_schemas(wanted)
    known = [*schemas, *ready_schemas()]
    hint = did_you_mean(wanted, known) or f"known: {', '.join(known)}"
    raise ApiError(404, f"there is no schema {wanted[:100]!r} ({hint})", param="schema")


def _schema(language: str, value: object) -> Schema:
    try:
        return Schema.model_validate(value).model_copy(update={"language": language})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(["schema", language, *map(str, first["loc"])])[:200]
        message = f"{where}: {first['msg'].removeprefix('Value error, ')}"
        raise ApiError(400, message, param="schema") from None


class _SharedEngine:
    """What an extractor needs of an engine, for a thread: every prompt waits for its turn.

    Attributes:
        prompt_tokens: of all prompts.
        generations: all answers.
    """

    def __init__(self, service: Service, loop: asyncio.AbstractEventLoop) -> None:
        self.prompt_tokens = 0
        self.generations: list[Generation] = []
        self._service, self._loop = service, loop
        self._is_given_up = False
        self._running: Future[list[Generation]] | None = None

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[Generation]:
        """Return one answer for each prompt."""
        asks = [Ask(prompt, sampling) for prompt in prompts]
        found: list[Generation] = []
        for start in range(0, len(asks), self._service.slots):  # no more than run at once
            work = self._service.generations(asks[start : start + self._service.slots])
            self._running = asyncio.run_coroutine_threadsafe(work, self._loop)
            if self._is_given_up:
                self._running.cancel()
            found += self._running.result()
        self.prompt_tokens += sum(map(len, prompts))
        self.generations += found
        return found

    def give_up(self) -> None:
        """Let `generate` end soon; nobody waits for it any more."""
        self._is_given_up = True
        if self._running is not None:
            self._running.cancel()
