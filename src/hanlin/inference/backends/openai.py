"""How does a model behind an OpenAI-compatible server score? By the log-probabilities of prompts.

The server is asked for `/completions` with the prompt's own token ids and gives back what it thinks
of each of them: `echo` with `logprobs` (llama.cpp's Python server, vLLM), or vLLM's
`prompt_logprobs`. Servers that return log-probabilities of new tokens only cannot score; the first
request finds that out. Texts are made into ids here, so the model's tokenizer is needed as well.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hanlin.core.config import looks_like_hub_id
from hanlin.core.errors import ConfigError, InputError
from hanlin.inference.engine import Generation, Sampling, ScoreRequest
from hanlin.inference.http_json import HttpJson, ServerError
from hanlin.tokenization.load import Tokenizer
from hanlin.tokenization.load import load as load_tokenizer

PROMPTS_PER_REQUEST = 16
REQUESTS_AT_ONCE = 4  # the server makes its own batches of them
DEFAULT_CONTEXT = 2048  # where the server does not say max_model_len
ECHO = {"echo": True, "logprobs": 1, "max_tokens": 0}
PROMPT_LOGPROBS = {"prompt_logprobs": 0, "max_tokens": 1}


class OpenAIEngine:
    """A model behind a server; it scores, and does not generate.

    The key is taken from the environment variable OPENAI_API_KEY, where there is one.

    Args:
        address: up to the version, for example http://127.0.0.1:8000/v1.
        tokenizer: folder or hub id of the model's tokenizer; None: where the server says that the
            model came from.

    Raises:
        InputError: the server cannot be reached, or serves no model.
        ConfigError: its tokenizer is not known.
    """

    def __init__(self, address: str, *, tokenizer: str | None = None) -> None:
        self._http = HttpJson(address.rstrip("/"), key=os.environ.get("OPENAI_API_KEY", ""))
        model = _served_model(self._http)
        self._name = str(model["id"])
        # The whole sequence is sent, and one new token may have to fit behind it.
        self._max_length = int(model.get("max_model_len") or DEFAULT_CONTEXT) - 2
        self._tokenizer = load_tokenizer(tokenizer or _tokenizer_place(model, address))
        self._kind: dict[str, Any] | None = None

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
        """Return nothing: a server says no more of its model than its name."""
        return {}

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
        """Refuse: a server's answers are texts, and ours are token ids.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(
            f"the server {self._http.address} is asked for scores only",
            why="generated answers come back as texts, whose tokens are not known",
            fix="choose a scorer that compares options, such as --scorer letter or text, "
            "or load the model itself",
        )

    def stream(self, prompt: Sequence[int], sampling: Sampling) -> Iterator[str]:
        """Refuse, as `generate` does."""
        self.generate([prompt], sampling)
        yield ""

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


def _served_model(http: HttpJson) -> dict[str, Any]:
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
    return models[0]


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
