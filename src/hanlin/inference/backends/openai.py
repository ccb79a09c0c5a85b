"""How does a model behind an OpenAI-compatible server answer and score? By prompts of token ids.

The server is asked for `/completions` with the prompt's own ids; what it answers is told in
`served_answer`. To score, it gives back what it thinks of each token of a prompt: `echo` with
`logprobs` (llama.cpp's Python server, vLLM), or vLLM's `prompt_logprobs`. Servers that return
log-probabilities of new tokens only cannot score; the first request finds that out. Texts are made
into ids here, so the model's tokenizer is needed as well.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

from hanlin.core.config import looks_like_hub_id
from hanlin.core.errors import ConfigError, HanlinError, InputError, ResourceError
from hanlin.inference.answer import answer_limit
from hanlin.inference.engine import (
    Generation,
    Sampling,
    ScoreRequest,
    StreamEvent,
    refuse_settings,
    texts_of,
)
from hanlin.inference.http_json import HttpJson, ServerError
from hanlin.inference.served_answer import ServedAnswer, request_body
from hanlin.models.manifest import read_manifest
from hanlin.tokenization.load import Tokenizer
from hanlin.tokenization.load import load as load_tokenizer

log = logging.getLogger(__name__)

PROMPTS_PER_REQUEST = 16
REQUESTS_AT_ONCE = 4  # of prompts to score; the server makes its own batches of them
SLOTS = 64  # answers asked for at once; the server queues what is too much for it
REFUSED = (400, 404, 405, 422)  # HTTP: it does not understand the request
DEFAULT_CONTEXT = 2048  # where the server does not say max_model_len
ECHO = {"echo": True, "logprobs": 1, "max_tokens": 0}
PROMPT_LOGPROBS = {"prompt_logprobs": 0, "max_tokens": 1}


class OpenAIEngine:
    """A model behind a server.

    The key is taken from the environment variable OPENAI_API_KEY, where there is one.

    Args:
        address: up to the version, for example http://127.0.0.1:8000/v1.
        tokenizer: folder or hub id of the model's tokenizer; None: where the server says that the
            model came from.
        served: name of one of its models; None: the first.

    Attributes:
        num_slots: answers that can be asked for at once.

    Raises:
        InputError: the server cannot be reached, or serves no model.
        ConfigError: its tokenizer is not known.
    """

    def __init__(
        self, address: str, *, tokenizer: str | None = None, served: str | None = None
    ) -> None:
        self._http = HttpJson(address.rstrip("/"), key=os.environ.get("OPENAI_API_KEY", ""))
        model = _served_model(self._http, served)
        self._name = str(model["id"])
        # The whole sequence is sent, and one new token may have to fit behind it.
        self._max_length = int(model.get("max_model_len") or DEFAULT_CONTEXT) - 2
        place = tokenizer or _tokenizer_place(model, address)
        self._tokenizer = load_tokenizer(place)
        self._manifest = read_manifest(place)
        self.num_slots = SLOTS
        self._kind: dict[str, Any] | None = None
        self._speaks_vllm = True  # until it refuses a request that has more than OpenAI's fields
        self._has_warned = False

    @property
    def model_name(self) -> str:
        """Return what the server calls its model."""
        return self._name

    @property
    def tokenizer(self) -> Tokenizer:
        """Return the tokenizer whose ids the server takes."""
        return self._tokenizer

    @property
    def manifest(self) -> Mapping[str, Any]:
        """Return the hanlin.json beside the tokenizer; empty where there is none."""
        return self._manifest

    @property
    def max_length(self) -> int:
        """Return how many tokens fit, prompt and answer together."""
        return self._max_length

    def score(self, requests: Sequence[ScoreRequest]) -> list[float]:
        """Return for each (prefix, continuation) the continuation's log-likelihood, in nats.

        Raises:
            InputError: the server returns no log-probabilities of a prompt, or fails again and
                again.
        """
        wanted = sorted({(tuple(map(int, p)), tuple(map(int, c))) for p, c in requests if len(c)})
        if wanted and self._kind is None:
            self._kind = self._find_kind([*wanted[0][0], *wanted[0][1]])
        starts = range(0, len(wanted), PROMPTS_PER_REQUEST)
        batches = [wanted[start : start + PROMPTS_PER_REQUEST] for start in starts]
        with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
            answers = [row for rows in pool.map(self._score_batch, batches) for row in rows]
        found = dict(zip(wanted, answers, strict=True))
        return [found.get((tuple(map(int, p)), tuple(map(int, c))), 0.0) for p, c in requests]

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[Generation]:
        """Return one answer for each prompt.

        Raises:
            ConfigError: beam search is asked for.
            InputError: the server takes no token ids as a prompt.
            ResourceError: the server broke off, or could not be reached.
        """

        def answer(index: int) -> Generation:
            *_, last = self._events(prompts[index], sampling, index)
            assert last.generation is not None
            return last.generation

        with ThreadPoolExecutor(self.num_slots) as pool:
            return list(pool.map(answer, range(len(prompts))))

    def events(self, prompt: Sequence[int], sampling: Sampling) -> Generator[StreamEvent]:
        """Yield what `generate([prompt])[0]` is made of as it comes; closing it leaves the server.

        Raises:
            ConfigError, InputError, ResourceError: as `generate`.
        """
        return self._events(prompt, sampling, 0)

    def _events(
        self, prompt: Sequence[int], sampling: Sampling, index: int
    ) -> Generator[StreamEvent]:
        refuse_settings(sampling, ("num_beams", "length_penalty", "adapter"), backend="openai")
        limit = answer_limit(prompt, sampling, max_length=self.max_length)
        answer = ServedAnswer(self._tokenizer, sampling, limit=limit)
        with closing(self._parts(prompt, sampling, index=index, limit=limit)) as parts:
            for part in parts:
                for choice in part.get("choices") or ():
                    yield answer.push(choice)
                if answer.is_over:
                    break
        if answer.has_ids is False and not self._has_warned:
            self._has_warned = True
            log.warning(
                "%s gives no token ids: those of an answer are made from its text",
                self._http.address,
            )
        yield answer.finish()

    def _parts(
        self, prompt: Sequence[int], sampling: Sampling, *, index: int, limit: int
    ) -> Generator[dict[str, Any]]:
        """Yield the events of the server's stream; a strict server is asked in OpenAI's words."""
        for speaks_vllm in [True, False] if self._speaks_vllm else [False]:
            body = request_body(prompt, sampling, index=index, limit=limit, speaks_vllm=speaks_vllm)
            try:
                yield from self._http.stream("/completions", {"model": self._name, **body})
            except ServerError as error:
                if error.status not in REFUSED or not speaks_vllm:
                    raise self._failure(error) from error
                self._speaks_vllm = False
            else:
                return

    def _failure(self, error: ServerError) -> HanlinError:
        """Return what a request that failed tells its caller."""
        if error.status in REFUSED:
            return InputError(
                f"{self._http.address} refused a prompt of token ids",
                why=str(error),
                fix="use a server that takes them at /completions (vLLM, llama.cpp's, hanlin serve)"
                ", or load the model itself",
            )
        return ResourceError(
            f"{self._http.address} did not answer",
            why=str(error),
            fix="look at the server's log, then ask again",
        )

    def stream(self, prompt: Sequence[int], sampling: Sampling) -> Iterator[str]:
        """Yield the text of `generate([prompt])[0]` as it comes, in whole characters."""
        return texts_of(self.events(prompt, sampling))

    def count_tokens(self, text: str) -> int:
        """Return how many tokens a text has, at the start of a document."""
        return len(self._tokenizer.encode(text, at_start=True))

    def _find_kind(self, ids: list[int]) -> dict[str, Any]:
        """Return the settings with which this server gives log-probabilities of a prompt."""
        reasons = []
        for kind in (ECHO, PROMPT_LOGPROBS):
            try:
                _log_probabilities(self._complete([ids], kind)[0], ids)
            except (ServerError, _NoLogProbabilitiesError) as error:
                reasons.append(f"{next(iter(kind))}: {error}")
            else:
                return kind
        raise InputError(
            f"{self._http.address} returns no log-probabilities of a prompt",
            why="; ".join(reasons),
            fix="use a server that does, such as vLLM, or load the model itself: "
            "hanlin eval run MODEL_FOLDER",
        )

    def _score_batch(self, batch: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> list[float]:
        assert self._kind is not None
        prompts = [[*prefix, *continuation] for prefix, continuation in batch]
        try:
            choices = self._complete(prompts, self._kind)
            rows = [_log_probabilities(*pair) for pair in zip(choices, prompts, strict=True)]
        except (ServerError, _NoLogProbabilitiesError) as error:
            raise InputError(
                f"{self._http.address} could not score {len(batch)} texts",
                why=str(error),
                fix="look at the server's log; the same command asks again",
            ) from error
        return [sum(row[len(prefix) :]) for row, (prefix, _) in zip(rows, batch, strict=True)]

    def _complete(self, prompts: list[list[int]], kind: dict[str, Any]) -> list[dict[str, Any]]:
        body = {"model": self._name, "prompt": prompts, "temperature": 0, **kind}
        reply = self._http.post("/completions", body)
        choices = reply.get("choices") if isinstance(reply, dict) else None
        if not isinstance(choices, list) or len(choices) != len(prompts):
            raise _NoLogProbabilitiesError(f"{len(prompts)} prompts were sent, and it gave back "
                                           f"{len(choices or [])}")  # fmt: skip
        return sorted(choices, key=lambda choice: int(choice.get("index", 0)))


class _NoLogProbabilitiesError(ValueError):
    """Why a reply holds no log-probability for each token of its prompt."""


def _log_probabilities(choice: Mapping[str, Any], ids: Sequence[int]) -> list[float]:
    """Return the log-probability of each token of a prompt; 0 for the first.

    Raises:
        _NoLogProbabilitiesError: there are none, or not as many as tokens.
    """
    prompt = choice.get("prompt_logprobs")
    if isinstance(prompt, list):
        pairs = zip(prompt, [*ids, *[-1] * (len(prompt) - len(ids))], strict=False)
        values = [_of_token(entry, token) for entry, token in pairs]
    else:
        values = list((choice.get("logprobs") or {}).get("token_logprobs") or [])
    known = sum(value is not None for value in values)
    if len(values) != len(ids) or any(value is None for value in values[1:]):
        raise _NoLogProbabilitiesError(
            f"a prompt of {len(ids)} tokens came back with {len(values)}, {known} of them with a "
            "log-probability"
        )
    return [0.0, *(float(value) for value in values[1:] if value is not None)]


def _of_token(entry: object, token: int) -> float | None:
    """Return the value of one token in vLLM's {id: {logprob, rank, decoded_token}}."""
    found = entry.get(str(token)) if isinstance(entry, dict) else None
    value = found.get("logprob") if isinstance(found, dict) else None
    return float(value) if isinstance(value, int | float) else None


def _served_model(http: HttpJson, name: str | None) -> dict[str, Any]:
    try:
        reply = http.get("/models")
    except ServerError as error:
        raise InputError(
            f"{http.address} could not be reached",
            why=str(error),
            fix="give the address up to the version, such as http://127.0.0.1:8000/v1",
        ) from error
    models = reply.get("data") if isinstance(reply, dict) else None
    if not isinstance(models, list) or not models or not isinstance(models[0], dict):
        raise InputError(f"{http.address} serves no model", why="its list of models is empty")
    found = next((model for model in models if model.get("id") == name), models[0])
    # vLLM does not repeat the context of a base model at its adapters.
    return {**found, "max_model_len": found.get("max_model_len") or models[0].get("max_model_len")}


def _tokenizer_place(model: Mapping[str, Any], address: str) -> str:
    """Return the folder or hub id that a server says its model came from."""
    for place in (model.get("root"), model.get("id")):
        if isinstance(place, str) and (Path(place).is_dir() or looks_like_hub_id(place)):
            return place
    raise ConfigError(
        f"the tokenizer of {model.get('id')!r} at {address} is not known",
        why="the server does not say where its model came from, and prompts are sent as token ids",
        fix="name it: --tokenizer FOLDER_OR_HUB_ID",
    )
