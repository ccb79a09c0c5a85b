"""`POST /v1/completions`: how does a text go on?"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from typing import Any

from fastapi import Request
from fastapi.responses import Response

from hanlin.inference.engine import Generation, StreamEvent, TokenLogprob
from hanlin.serving.decoding import (
    answer_length,
    check_model,
    choices,
    make_sampling,
    plain_prompt,
)
from hanlin.serving.logprobs import completion_logprobs, count_characters
from hanlin.serving.openai import FINISH_REASONS, Choice, Job, reply
from hanlin.serving.requests import CompletionBody
from hanlin.serving.service import Service

DEFAULT_MAX_TOKENS = 16  # OpenAI's


async def answer_completion(service: Service, body: CompletionBody, request: Request) -> Response:
    """Go on with texts or token ids, without any prompt format.

    Raises:
        ApiError: it is refused, or takes too long.
        HanlinError: the model cannot do it.
    """
    check_model(service, body.model)
    sampling = make_sampling(
        service,
        body,
        max_new_tokens=answer_length(service, body.max_tokens, default=DEFAULT_MAX_TOKENS),
        top_logprobs=body.logprobs,
        is_chat=False,
    )
    count = body.n or 1
    prompts = [plain_prompt(service, prompt) for prompt in body.prompts]
    asks = [ask for prompt in prompts for ask in choices(prompt, sampling, count)]
    echoes = [_shown(service, prompt) if body.echo else "" for prompt in body.prompts]
    shape = CompletionShape(
        service.name,
        echoes=[echo for echo in echoes for _ in range(count)],
        has_logprobs=body.logprobs is not None,
    )
    return await reply(service, Job(asks, sum(map(len, prompts)), shape), body, request)


class CompletionShape:
    """Completions.

    Args:
        model: its name.
        echoes: what stands before each answer.
        has_logprobs: give log-probabilities.
    """

    chunk_object = "text_completion"

    def __init__(self, model: str, *, echoes: Sequence[str], has_logprobs: bool) -> None:
        id = f"cmpl-{secrets.token_hex(12)}"
        self.head = {"id": id, "object": "text_completion", "model": model}
        self._has_logprobs = has_logprobs
        self._echoes = dict(enumerate(echoes))  # those that are still to be sent
        self._offsets = [0] * len(echoes)

    def whole(self, index: int, generation: Generation) -> Choice:
        """Return a finished answer."""
        return {
            "index": index,
            "text": self._echoes[index] + generation.text,
            "logprobs": self._logprobs(index, generation.logprobs),
            "finish_reason": FINISH_REASONS[generation.stopped_by],
        }

    def pieces(self, index: int, event: StreamEvent) -> Iterator[Choice]:
        """Yield new text, and in the end why it ended."""
        text = self._echoes.pop(index, "") + event.text
        if text or event.beams or (self._has_logprobs and event.logprobs):
            logprobs = self._logprobs(index, event.logprobs)
            yield {"index": index, "text": text, "logprobs": logprobs, "finish_reason": None}
        if event.generation is not None:
            reason = FINISH_REASONS[event.generation.stopped_by]
            yield {"index": index, "text": "", "logprobs": None, "finish_reason": reason}

    def _logprobs(self, index: int, tokens: tuple[TokenLogprob, ...]) -> dict[str, Any] | None:
        if not self._has_logprobs:
            return None
        offset = self._offsets[index]
        self._offsets[index] += sum(count_characters(token.data) for token in tokens)
        return completion_logprobs(tokens, offset=offset)


def _shown(service: Service, prompt: str | list[int]) -> str:
    """Return a prompt as text; half characters of token ids are left out."""
    if isinstance(prompt, str):
        return prompt
    data = b"".join(map(service.engine.tokenizer.bytes_of, prompt))
    return data.decode("utf-8", "ignore").replace("\ufffd", "")
