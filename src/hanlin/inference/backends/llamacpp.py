"""How does a GGUF file generate and score? Through llama.cpp on the CPU.

An answer is one request to llama.cpp, whose stream has the tokens' ids. It lacks the ids of tokens
that end within a character: those follow from the bytes (`lost_tokens`), or the few tokens of that
place are asked for once more, without a stream, where all ids come. Where an answer ends is found
by the code that all backends share. Grammars and the penalties of an answer's own tokens are
written into the logits token by token, which takes about a millisecond for each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hanlin.core.environment import available_memory_bytes
from hanlin.core.errors import ConfigError
from hanlin.core.stage import derive_seed
from hanlin.inference.answer import Answer, answer_limit
from hanlin.inference.engine import (
    Generation,
    Sampling,
    ScoreRequest,
    StreamEvent,
    TokenLogprob,
    refuse_settings,
    texts_of,
)
from hanlin.inference.gguf_metadata import GgufMetadata
from hanlin.inference.lost_tokens import LostTokens
from hanlin.models.llama_server import FORCE, LlamaServer
from hanlin.tokenization.load import Tokenizer

MAX_CONTEXT = 8192  # the cache of the whole context is allocated at once
MAX_SLOTS = 4
MEMORY_SHARE = 4  # caches take a quarter of the free memory at most
PLACE = 4  # tokens that are asked for without a stream: those of one character
SAMPLERS = ["penalties", "temperature", "top_k", "top_p", "min_p"]


@dataclass(frozen=True)
class _Request:
    """An answer that is being made.

    Attributes:
        prompt: token ids.
        sampling: how it is chosen.
        answer: what there is of it.
        limit: the most tokens it may have.
        index: of its prompt in the batch.
    """

    prompt: list[int]
    sampling: Sampling
    answer: Answer
    limit: int
    index: int

    @property
    def ids(self) -> list[int]:
        """Return the prompt and the answer so far."""
        return [*self.prompt, *self.answer.ids]


class LlamaCppEngine:
    """A GGUF file; prompts go in as token ids.

    Several threads may ask it at once. Each prompt of `generate` is answered by itself, one after
    the other: the numbers of llama.cpp depend on what else is computed in the same step.

    Args:
        path: the file.

    Attributes:
        num_slots: answers that can be made at once.

    Raises:
        MissingExtraError: xllamacpp or gguf is not installed.
        InputError: llama.cpp cannot load it, or it holds no tokenizer that can be used.
    """

    def __init__(self, path: str) -> None:
        metadata = GgufMetadata(Path(path))
        self._tokenizer = metadata.tokenizer()
        self._manifest = metadata.manifest()
        self._max_length = min(metadata.context_length(), MAX_CONTEXT)
        room = available_memory_bytes() // MEMORY_SHARE
        fitting = room // max(1, metadata.cache_bytes(self._max_length))
        self.num_slots = max(1, min(MAX_SLOTS, fitting))
        self._lost = LostTokens(self._tokenizer)
        self._constraints: Any = None
        self._server = LlamaServer(
            Path(path), context_length=self._max_length, num_slots=self.num_slots
        )

    @property
    def tokenizer(self) -> Tokenizer:
        """Return the tokenizer that is in the file."""
        return self._tokenizer

    @property
    def manifest(self) -> dict[str, Any]:
        """Return the hanlin.json that is in the file; empty where there is none."""
        return self._manifest

    @property
    def max_length(self) -> int:
        """Return how many tokens fit, prompt and answer together."""
        return self._max_length

    @property
    def pid(self) -> int:
        """Return the process that llama.cpp runs in now."""
        return self._server.pid

    def close(self) -> None:
        """End llama.cpp and free the model."""
        self._server.close()

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[Generation]:
        """Return one answer for each prompt.

        Raises:
            ResourceError: llama.cpp ended while it answered; the next request starts it anew.
        """
        requests = [self._open(prompt, sampling, index) for index, prompt in enumerate(prompts)]
        for request in requests:
            for _ in self._run(request):
                pass
        return [request.answer.generation() for request in requests]

    def events(self, prompt: Sequence[int], sampling: Sampling) -> Generator[StreamEvent]:
        """Yield what `generate([prompt])[0]` is made of as it comes; closing it frees everything.

        Raises:
            ResourceError: llama.cpp ended while it answered; the next request starts it anew.
        """
        request = self._open(prompt, sampling, 0)
        with closing(self._run(request)) as steps:
            for _ in steps:
                yield request.answer.event()

    def stream(self, prompt: Sequence[int], sampling: Sampling) -> Iterator[str]:
        """Yield the text of `generate([prompt])[0]` as it comes, in whole characters."""
        return texts_of(self.events(prompt, sampling))

    def count_tokens(self, text: str) -> int:
        """Return how many tokens a text has, at the start of a document."""
        return len(self._tokenizer.encode(text, at_start=True))

    def score(self, requests: Sequence[ScoreRequest]) -> list[float]:
        """Return for each (prefix, continuation) the continuation's log-likelihood, in nats."""
        known: dict[tuple[int, ...], float] = {}  # ids -> log-probability of the last one
        scores = [0.0] * len(requests)
        for index in sorted(range(len(requests)), key=lambda i: list(map(list, requests[i]))):
            prefix, continuation = requests[index]
            assert len(prefix), "a prefix has at least one token, for example bos"
            ids = (*prefix, *continuation)
            for end in range(len(prefix) + 1, len(ids) + 1):
                if ids[:end] not in known:
                    known[ids[:end]] = self._server.log_probability(
                        ids[: end - 1], ids[end - 1], tokenizer=self._tokenizer
                    )
                scores[index] += known[ids[:end]]
        return scores

    def _open(self, prompt: Sequence[int], sampling: Sampling, index: int) -> _Request:
        refuse_settings(sampling, ("num_beams", "length_penalty", "adapter"), backend="llamacpp")
        if _has_answer_penalty(sampling) and sampling.repetition_penalty != 1:
            raise ConfigError(
                "repetition_penalty cannot be set together with presence_penalty or "
                "frequency_penalty for this model",
                why="llama.cpp would apply them in another order than transformers",
                fix="leave one out, or load the model's Hugging Face folder (transformers)",
            )
        limit = answer_limit(prompt, sampling, max_length=self.max_length)
        constraint = None
        if sampling.grammar is not None:
            from hanlin.inference.constraint import Constraints

            self._constraints = self._constraints or Constraints(self._tokenizer)
            constraint = self._constraints.open(sampling.grammar)
        answer = Answer(
            self._tokenizer,
            stop=() if constraint else sampling.stop,
            eos_ids=[self._tokenizer.eos_id, *sampling.stop_ids],
            limit=limit,
            constraint=constraint,
        )
        return _Request([int(i) for i in prompt], sampling, answer, limit, index)

    def _run(self, request: _Request) -> Generator[None]:
        """Give the answer its next tokens until it is over; yield after each."""
        answer = request.answer
        by_token = answer.constraint is not None or _has_answer_penalty(request.sampling)
        while answer.stopped_by is None:
            if by_token:
                yield from self._ask(request, 1, logit_bias=self._bias(request))
            else:
                yield from self._stream(request)

    def _stream(self, request: _Request) -> Iterator[None]:
        """Take tokens from a stream, until the answer is over or a token was not reported."""
        answer, count = request.answer, 0
        body = self._body(request, request.limit - len(answer.ids))
        parts = self._server.stream("/completion", body)
        try:
            for part in parts:
                found = self._unreported(part, count, request.sampling)
                if found is None:
                    break
                for token in (*found, *part["tokens"]):
                    count += 1
                    answer.push(token, self._logprob(part, request.sampling))
                    yield
                    if answer.stopped_by is not None:
                        return
                if part["stop"]:
                    return  # by an end token that is none of ours
        finally:
            parts.close()
        yield from self._ask(request, PLACE)

    def _unreported(self, part: dict[str, Any], count: int, sampling: Sampling) -> list[int] | None:
        """Return the tokens between the first `count` and a part's own; None: they are not known.

        Their log-probabilities are not known either.
        """
        lost = part["tokens_predicted"] - count - len(part["tokens"])
        if lost == 0:
            return []
        if not part["tokens"] or sampling.top_logprobs is not None:
            return None
        return self._lost.find(part["content"], last=part["tokens"][0], count=lost)

    def _ask(self, request: _Request, count: int, **more: Any) -> Iterator[None]:  # noqa: ANN401
        """Take so many tokens in one piece."""
        answer = request.answer
        body = self._body(request, min(count, request.limit - len(answer.ids)))
        reply = self._server.post("/completion", {**body, **more})
        for token in reply["tokens"][:count]:
            answer.push(token, self._exact_logprob(request, token))
            yield
            if answer.stopped_by is not None:
                return

    def _body(self, request: _Request, count: int) -> dict[str, Any]:
        """Return what llama.cpp is asked for so many tokens."""
        sampling = request.sampling
        body: dict[str, Any] = {
            "prompt": request.ids,
            "n_predict": count,
            "return_tokens": True,
            "cache_prompt": True,
            "samplers": SAMPLERS,
            "temperature": sampling.temperature,
            "top_k": sampling.top_k,
            "top_p": sampling.top_p,
            "min_p": sampling.min_p,
            "repeat_penalty": sampling.repetition_penalty,
            "repeat_last_n": self._max_length,
            "seed": derive_seed(sampling.seed, f"answer/{request.index}/{len(request.answer.ids)}"),
        }
        if sampling.top_logprobs is not None:
            body["n_probs"] = max(1, sampling.top_logprobs)
        return body

    def _bias(self, request: _Request) -> list[tuple[int, float | bool]]:
        """Return what is added to the logits: penalties, and no token that the grammar forbids."""
        sampling, answer = request.sampling, request.answer
        bias: dict[int, float | bool] = {
            token: -sampling.presence_penalty - sampling.frequency_penalty * times
            for token, times in Counter(answer.ids).items()
        }
        if answer.constraint is not None:
            mask_V = answer.constraint.allowed(answer.eos_ids)
            is_small = int(mask_V.sum()) <= len(mask_V) // 2 and sampling.repetition_penalty == 1
            if is_small:  # the shorter list; a repetition penalty would divide FORCE too
                allowed = mask_V.nonzero().flatten().tolist()
                bias = {token: FORCE + bias.get(token, 0.0) for token in allowed}
            else:
                bias |= dict.fromkeys((~mask_V).nonzero().flatten().tolist(), False)
        return list(bias.items())

    def _logprob(self, part: dict[str, Any], sampling: Sampling) -> TokenLogprob | None:
        if sampling.top_logprobs is None:
            return None
        entry = part["completion_probabilities"][0]
        likely = {top["id"]: top["logprob"] for top in entry["top_logprobs"]}
        return self._named(entry["id"], entry["logprob"], likely, sampling.top_logprobs)

    def _exact_logprob(self, request: _Request, token: int) -> TokenLogprob | None:
        """Return the log-probability of the token after the answer so far, asked for by itself."""
        top = request.sampling.top_logprobs
        if top is None:
            return None
        ids = request.ids
        logprob = self._server.log_probability(ids, token, tokenizer=self._tokenizer)
        likely = self._server.next_log_probs(
            ids, tokenizer=self._tokenizer, top=max(1, top), reuse=True
        )
        return self._named(token, logprob, likely, top)

    def _named(
        self, token: int, logprob: float, likely: dict[int, float], top: int
    ) -> TokenLogprob:
        bytes_of = self._tokenizer.bytes_of
        best = sorted(likely.items(), key=lambda entry: -entry[1])[:top]
        tops = tuple((other, bytes_of(other), value) for other, value in best)
        return TokenLogprob(token, bytes_of(token), logprob, tops)


def _has_answer_penalty(sampling: Sampling) -> bool:
    """Tell whether tokens of the answer, and only those, are less likely."""
    return sampling.presence_penalty != 0 or sampling.frequency_penalty != 0
