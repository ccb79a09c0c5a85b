"""`POST /v1/chat/completions`: what is the answer in a conversation?"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

from fastapi import Request
from fastapi.responses import Response

from hanlin.inference.engine import Generation, StreamEvent, TokenLogprob
from hanlin.serving.decoding import (
    answer_length,
    chat_prompt,
    check_model,
    choices,
    make_sampling,
)
from hanlin.serving.logprobs import chat_logprobs
from hanlin.serving.openai import FINISH_REASONS, Choice, Job, reply
from hanlin.serving.requests import ChatBody
from hanlin.serving.service import Service


async def answer_chat(service: Service, body: ChatBody, request: Request) -> Response:
    """Answer a conversation in the model's prompt format.

    Raises:
        ApiError: it is refused, or takes too long.
        HanlinError: the model cannot do it.
    """
    check_model(service, body.model)
    prompt = chat_prompt(service, [message.record() for message in body.messages])
    sampling = make_sampling(
        service,
        body,
        max_new_tokens=answer_length(service, body.max_completion_tokens or body.max_tokens),
        top_logprobs=(body.top_logprobs or 0) if body.logprobs else None,
        is_chat=True,
    )
    shape = ChatShape(service.name, has_logprobs=bool(body.logprobs))
    job = Job(choices(prompt, sampling, body.n or 1), len(prompt), shape)
    return await reply(service, job, body, request)


class ChatShape:
    """Chat answers; white space that opens one is left out, as in the terminal.

    Args:
        model: its name.
        has_logprobs: give log-probabilities.
    """

    chunk_object = "chat.completion.chunk"

    def __init__(self, model: str, *, has_logprobs: bool) -> None:
        id = f"chatcmpl-{secrets.token_hex(12)}"
        self.head = {"id": id, "object": "chat.completion", "model": model}
        self._has_logprobs = has_logprobs
        self._opened: set[int] = set()  # answers whose role was sent
        self._begun: set[int] = set()  # answers with text

    def whole(self, index: int, generation: Generation) -> Choice:
        """Return a finished answer."""
        content = generation.text.lstrip()
        return {
            "index": index,
            "message": {"role": "assistant", "content": content, "refusal": None},
            "logprobs": self._logprobs(generation.logprobs),
            "finish_reason": FINISH_REASONS[generation.stopped_by],
        }

    def pieces(self, index: int, event: StreamEvent) -> Iterator[Choice]:
        """Yield the role once, new text, and in the end why it ended."""
        if index not in self._opened:
            self._opened.add(index)
            yield _piece(index, {"role": "assistant", "content": ""})
        text = event.text if index in self._begun else event.text.lstrip()
        if text:
            self._begun.add(index)
        if text or event.beams or (self._has_logprobs and event.logprobs):
            yield _piece(index, {"content": text}, logprobs=self._logprobs(event.logprobs))
        if event.generation is not None:
            yield _piece(index, {}, finish_reason=FINISH_REASONS[event.generation.stopped_by])

    def _logprobs(self, tokens: tuple[TokenLogprob, ...]) -> dict[str, Any] | None:
        return chat_logprobs(tokens) if self._has_logprobs else None


def _piece(
    index: int,
    delta: dict[str, str],
    *,
    logprobs: dict[str, Any] | None = None,
    finish_reason: str | None = None,
) -> Choice:
    return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
