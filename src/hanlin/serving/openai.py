"""How is a request of OpenAI's API answered, at once or as a stream? For chat and completions."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from hanlin.inference.engine import Beam, Generation, StreamEvent
from hanlin.serving.requests import Decoding
from hanlin.serving.service import Ask, Service
from hanlin.serving.sse import Chunk, open_stream, unless_gone

FINISH_REASONS = {"eos": "stop", "stop": "stop", "length": "length"}
Choice = dict[str, Any]


class Shape(Protocol):
    """How the answers of an endpoint look; made anew for each request."""

    head: dict[str, str]
    """Fields of every reply: the kind of object, an id, the model."""
    chunk_object: str
    """The kind of object that an event of a stream is."""

    def whole(self, index: int, generation: Generation) -> Choice:
        """Return a finished answer."""

    def pieces(self, index: int, event: StreamEvent) -> Iterator[Choice]:
        """Yield what an event adds to an answer; the last event adds its end."""


@dataclass(frozen=True)
class Job:
    """What a request asks for.

    Attributes:
        asks: the answers that are wanted.
        prompt_tokens: tokens of its prompts, each counted once.
        shape: how the answers look.
    """

    asks: Sequence[Ask]
    prompt_tokens: int
    shape: Shape


async def reply(service: Service, job: Job, body: Decoding, request: Request) -> Response:
    """Answer a request.

    Raises:
        ApiError: it is refused, or takes too long.
        HanlinError: the model cannot do it.
    """
    if body.stream:
        chunks = _chunks(service, job, body, request)
        return await open_stream(request, chunks, send_timeout_s=service.settings.timeout_s)
    generations = await unless_gone(request, service.generations(job.asks))
    rows = [job.shape.whole(index, one) for index, one in enumerate(generations)]
    usage = note_usage(request, job.prompt_tokens, generations)
    return JSONResponse({**job.shape.head, "created": _now(), "choices": rows, "usage": usage})


async def _chunks(
    service: Service, job: Job, body: Decoding, request: Request
) -> AsyncGenerator[Chunk]:
    options, shape = body.stream_options, job.shape
    head = {**shape.head, "object": shape.chunk_object, "created": _now()}
    if options and options.include_usage:
        head["usage"] = None
    generations = []
    async with service.answers(job.asks) as answers, aclosing(answers):
        async for index, event in answers:
            for choice in shape.pieces(index, event):
                if options and options.include_beams and event.beams:
                    choice["beams"] = [_beam(beam) for beam in event.beams]
                yield {**head, "choices": [choice]}
            if event.generation is not None:
                generations.append(event.generation)
    usage = note_usage(request, job.prompt_tokens, generations)
    if "usage" in head:
        yield {**head, "choices": [], "usage": usage}


def note_usage(
    request: Request, prompt_tokens: int, generations: Sequence[Generation]
) -> dict[str, int]:
    """Return the tokens of a request, and remember them for its line in the log."""
    completion_tokens = sum(len(one.ids) for one in generations)
    counts = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
    request.state.counts = counts
    return {**counts, "total_tokens": prompt_tokens + completion_tokens}


def _beam(beam: Beam) -> dict[str, Any]:
    return {"text": beam.text, "tail": beam.tail, "score": beam.score}


def _now() -> int:
    return int(time.time())
