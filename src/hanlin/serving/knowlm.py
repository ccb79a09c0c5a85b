"""`POST /generate`: how is a request of KnowLM's vLLM server answered, exactly as published?"""

from __future__ import annotations

from fastapi import Request

from hanlin.data.readers.turns import question
from hanlin.inference.engine import Generation, Sampling
from hanlin.prompts.encode import stop_ids
from hanlin.serving.decoding import answer_length, chat_prompt, fresh_seed, usable_temperature
from hanlin.serving.openai import note_usage
from hanlin.serving.replies import GenerateReply
from hanlin.serving.requests import GenerateBody
from hanlin.serving.service import Ask, Service
from hanlin.serving.sse import unless_gone

DEFAULT_MAX_TOKENS = 16  # KnowLM's


async def generate(service: Service, body: GenerateBody, request: Request) -> GenerateReply:
    """Answer an instruction in the model's prompt format.

    As there, the end token's text closes an answer that the model ended itself, and is counted.

    Raises:
        ApiError: it is refused, or takes too long.
        HanlinError: the model cannot do it.
    """
    prompt = chat_prompt(service, [question(body.instruction, body.input)])
    wanted, format, tokenizer = body.parameters, service.format, service.engine.tokenizer
    sampling = Sampling(
        max_new_tokens=answer_length(service, wanted.max_tokens, default=DEFAULT_MAX_TOKENS),
        temperature=usable_temperature(wanted.temperature),
        top_k=max(0, wanted.top_k),
        top_p=wanted.top_p,
        seed=fresh_seed(),
        stop=format.stop_strings,
        stop_ids=stop_ids(format, tokenizer),
        presence_penalty=wanted.presence_penalty,
        frequency_penalty=wanted.frequency_penalty,
    )
    generations = await unless_gone(request, service.generations([Ask(prompt, sampling)]))
    note_usage(request, len(prompt), generations)
    return _reply(generations[0], end=tokenizer.piece_of(tokenizer.eos_id))


def _reply(generation: Generation, *, end: str) -> GenerateReply:
    is_ended = generation.stopped_by == "eos"
    return GenerateReply(
        generated_text=generation.text.lstrip() + (end if is_ended else ""),
        num_output_tokens_cf=len(generation.ids) + is_ended,
    )
