"""How does a request's body become prompts and samplings for the model?"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace

from hanlin.core.records import Message
from hanlin.core.stage import derive_seed
from hanlin.inference.conversation import fit_prompt
from hanlin.inference.engine import Sampling
from hanlin.prompts.encode import stop_ids
from hanlin.serving.errors import ApiError
from hanlin.serving.requests import Decoding
from hanlin.serving.service import Ask, Service

SEED_BITS = 62
LEAST_TEMPERATURE = 1e-5


def check_model(service: Service, name: str | None) -> None:
    """Refuse a model that is not served.

    Raises:
        ApiError: it is another one.
    """
    if name not in (None, service.name):
        message = f"the model {name!r} does not exist; this server has {service.name!r}"
        raise ApiError(404, message, param="model", code="model_not_found")


def chat_prompt(service: Service, messages: Sequence[Message]) -> list[int]:
    """Return a conversation's ids in the model's prompt format, no turn left out.

    Raises:
        InputError: it is too long, or the format has no place for it.
    """
    engine = service.engine
    ids, _ = fit_prompt(
        messages,
        format=service.format,
        tokenizer=engine.tokenizer,
        max_tokens=engine.max_length - 1,
        truncate="refuse",
    )
    return ids


def plain_prompt(service: Service, prompt: str | list[int]) -> list[int]:
    """Return the ids of a text without any format; ids that a client sent, as they are.

    Raises:
        ApiError: an id is none of the model's, or there is nothing to go on from.
    """
    tokenizer = service.engine.tokenizer
    if isinstance(prompt, str):
        begin = [] if tokenizer.bos_id is None else [tokenizer.bos_id]
        ids = [*begin, *tokenizer.encode(prompt, at_start=True)]
    else:
        ids = prompt
        if wrong := [i for i in ids if i >= tokenizer.vocab_size]:
            message = f"token id {wrong[0]} is none of the model's {tokenizer.vocab_size}"
            raise ApiError(400, message, param="prompt")
    if not ids:
        raise ApiError(400, "the prompt is empty", param="prompt")
    if len(ids) >= service.engine.max_length:
        raise ApiError(
            400,
            f"the prompt has {len(ids)} tokens, and the model's context holds "
            f"{service.engine.max_length}, prompt and answer together",
            param="prompt",
            code="context_length_exceeded",
        )
    return ids


def make_sampling(
    service: Service,
    body: Decoding,
    *,
    max_new_tokens: int,
    top_logprobs: int | None,
    is_chat: bool,
) -> Sampling:
    """Return how an answer is chosen; the first of `n`, see `choices`.

    Args:
        service: the model.
        body: the request.
        max_new_tokens: the longest answer.
        top_logprobs: log-probabilities to give, see `Sampling`.
        is_chat: it ends where the prompt format says.
    """
    format = service.format
    ends = stop_ids(format, service.engine.tokenizer) if is_chat else ()
    return Sampling(
        max_new_tokens=max_new_tokens,
        temperature=usable_temperature(_given(body.temperature, 1.0)),
        top_k=max(0, body.top_k or 0),
        top_p=_given(body.top_p, 1.0),
        seed=fresh_seed() if body.seed is None else body.seed,
        stop=(*body.stops, *(format.stop_strings if is_chat else ())),
        stop_ids=ends,
        min_p=body.min_p or 0.0,
        repetition_penalty=_given(body.repetition_penalty, 1.0),
        presence_penalty=body.presence_penalty or 0.0,
        frequency_penalty=body.frequency_penalty or 0.0,
        num_beams=body.num_beams or 1,
        length_penalty=_given(body.length_penalty, 1.0),
        top_logprobs=top_logprobs,
        grammar=body.grammar(),
    )


def answer_length(service: Service, max_tokens: int | None, *, default: int | None = None) -> int:
    """Return how long an answer may be, in tokens.

    Args:
        service: the model.
        max_tokens: what is asked for.
        default: what is meant where nothing is; None: as long as the server gives.

    Raises:
        ApiError: longer than the server gives.
    """
    limit = service.settings.max_new_tokens
    if max_tokens is not None and max_tokens > limit:
        message = f"max_tokens is {max_tokens}, and this server gives {limit} at most"
        raise ApiError(400, message, param="max_tokens")
    return max_tokens or min(default or limit, limit)


def usable_temperature(temperature: float) -> float:
    """Return 0 for what is next to it: logits divided by less would be no numbers any more."""
    return temperature if temperature >= LEAST_TEMPERATURE else 0.0


def fresh_seed() -> int:
    """Return a seed for a request that names none."""
    return secrets.randbits(SEED_BITS)


def choices(prompt: Sequence[int], sampling: Sampling, count: int) -> list[Ask]:
    """Return `count` asks for one prompt; the first is the same whatever their number."""
    seeds = [derive_seed(sampling.seed, f"choice/{index}") for index in range(1, count)]
    return [Ask(prompt, replace(sampling, seed=seed)) for seed in (sampling.seed, *seeds)]


def _given(value: float | None, default: float) -> float:
    return default if value is None else value
