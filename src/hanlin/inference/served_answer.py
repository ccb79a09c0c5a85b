"""How is an answer asked of an OpenAI-compatible server, and what are its tokens?

The prompt goes as token ids to `/completions`. vLLM gives the ids of the answer as well
(`return_token_ids`), from which text is made here, byte by byte; other servers give text, whose
tokens are those that the tokenizer makes of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hanlin.core.errors import InputError
from hanlin.core.stage import derive_seed
from hanlin.inference.answer import Answer
from hanlin.inference.engine import Generation, Sampling, StoppedBy, StreamEvent, TokenLogprob
from hanlin.inference.text_stream import TextStream
from hanlin.tokenization.load import Tokenizer

NAMED = "token_id:"  # how vLLM writes a token's id in its log-probabilities
LAST_SEED = 2**31 - 1
OPENAI = ("temperature", "top_p", "presence_penalty", "frequency_penalty")
MORE = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}  # name -> what need not be sent


def request_body(
    prompt: Sequence[int], sampling: Sampling, *, index: int, limit: int, speaks_vllm: bool
) -> dict[str, Any]:
    """Return the body of a request for one answer, streamed.

    Args:
        prompt: token ids.
        sampling: how the answer is chosen.
        index: of the prompt in its batch: each has a seed of its own.
        limit: the most tokens.
        speaks_vllm: ask for token ids too, and say more of what only vLLM knows.
    """
    body: dict[str, Any] = {
        "prompt": list(map(int, prompt)),
        "max_tokens": limit,
        "stream": True,
        "seed": derive_seed(sampling.seed, f"answer/{index}") & LAST_SEED,
        **{name: getattr(sampling, name) for name in OPENAI},
        **{
            name: getattr(sampling, name)
            for name, neutral in MORE.items()
            if getattr(sampling, name) != neutral
        },
    }
    if sampling.top_logprobs is not None:
        body["logprobs"] = sampling.top_logprobs
    if speaks_vllm:
        body |= {"return_token_ids": True, "stop_token_ids": list(sampling.stop_ids)}
        if sampling.top_logprobs is not None:
            body["return_tokens_as_token_ids"] = True
    return body | _form(sampling, speaks_vllm=speaks_vllm)


def _form(sampling: Sampling, *, speaks_vllm: bool) -> dict[str, Any]:
    """Return what says how the text must look."""
    grammar = sampling.grammar
    if grammar is None:
        return {}
    if grammar.kind == "json_schema":
        schema = {"name": "answer", "schema": json.loads(grammar.text), "strict": True}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}
    value = json.loads(grammar.text) if grammar.kind == "choice" else grammar.text
    kind = "grammar" if grammar.kind == "lark" else grammar.kind
    return {"structured_outputs": {kind: value}} if speaks_vllm else {f"guided_{kind}": value}


class ServedAnswer:
    """Takes the events of a server's stream.

    Args:
        tokenizer: the model's.
        sampling: how the answer is chosen.
        limit: the most tokens.

    Attributes:
        has_ids: whether the server gave token ids; None before its first event.
        is_over: a stop was met, so that no more is wanted.
    """

    def __init__(self, tokenizer: Tokenizer, sampling: Sampling, *, limit: int) -> None:
        self.has_ids: bool | None = None
        self._tokenizer, self._sampling = tokenizer, sampling
        eos_ids = {tokenizer.eos_id, *sampling.stop_ids}
        stop = () if sampling.grammar else sampling.stop
        self._answer = Answer(tokenizer, stop=stop, eos_ids=eos_ids, limit=limit)
        # Of a server that gives text, an end marker that it writes as text ends it too.
        names = [tokenizer.piece_of(i) for i in sampling.stop_ids if i != tokenizer.eos_id]
        self._texts = TextStream([*stop, *names])
        self._text: list[str] = []
        self._finish = ""

    @property
    def is_over(self) -> bool:
        """Tell whether no more is wanted."""
        return self._answer.stopped_by is not None or self._texts.stopped_by is not None

    def push(self, choice: Mapping[str, Any]) -> StreamEvent:
        """Take a choice of an event; return what became certain."""
        self._finish = choice.get("finish_reason") or self._finish
        ids = choice.get("token_ids")
        if self.has_ids is None and (ids or choice.get("text")):
            self.has_ids = bool(ids)
        if not self.has_ids:
            text = self._texts.push(str(choice.get("text") or "").encode("utf-8", "replace"))
            self._text.append(text)
            return StreamEvent(text)
        logprobs = self._logprobs(choice, ids or ())
        for token, logprob in zip(ids or (), logprobs, strict=True):
            if self._answer.stopped_by is None:
                self._answer.push(int(token), logprob)
        event = self._answer.event()
        return StreamEvent(event.text, logprobs=event.logprobs)

    def finish(self) -> StreamEvent:
        """Return the last event.

        Raises:
            InputError: the answer does not have the form that was asked for.
        """
        reason: StoppedBy = "length" if self._finish == "length" else "eos"
        if self.has_ids:
            is_whole = self._answer.stopped_by is not None
            if not is_whole:  # the server keeps the end token to itself
                self._answer.push(self._tokenizer.eos_id)
            event = self._answer.event()
            made = self._answer.generation()
            event = replace(
                event, generation=made if is_whole else replace(made, stopped_by=reason)
            )
        else:
            self._refuse_logprobs()
            rest = self._texts.finish()
            made = self._of_text("".join([*self._text, rest]), reason)
            event = StreamEvent(rest, generation=made)
        self._check_form(made)
        return event

    def _of_text(self, text: str, reason: StoppedBy) -> Generation:
        met_stop = self._texts.stopped_by in self._sampling.stop
        ids = self._tokenizer.encode(text, at_start=False)
        return Generation(text, tuple(ids), "stop" if met_stop else reason)

    def _refuse_logprobs(self) -> None:
        if self._sampling.top_logprobs is not None:
            raise InputError(
                "the server gives no ids of the tokens that it chose",
                why="log-probabilities belong to tokens",
                fix="leave log-probabilities out, use vLLM, or load the model itself",
            )

    def _logprobs(
        self, choice: Mapping[str, Any], ids: Sequence[int]
    ) -> Sequence[TokenLogprob | None]:
        if self._sampling.top_logprobs is None:
            return [None] * len(ids)
        given = choice.get("logprobs") or {}
        values, tops = given.get("token_logprobs") or [], given.get("top_logprobs") or []
        if len(values) != len(ids):
            raise InputError(
                "the server gave no log-probability for each token of its answer",
                why=f"{len(ids)} tokens came with {len(values)}",
                fix="leave log-probabilities out, or load the model itself",
            )
        tops = tops or [{}] * len(ids)
        return [self._named(*row) for row in zip(ids, values, tops, strict=True)]

    def _named(self, token: int, value: float, top: Mapping[str, float]) -> TokenLogprob:
        bytes_of = self._tokenizer.bytes_of
        named = {int(k.removeprefix(NAMED)): v for k, v in (top or {}).items() if NAMED in k}
        best = sorted(named.items(), key=lambda entry: -entry[1])[: self._sampling.top_logprobs]
        tops = tuple((i, bytes_of(i), float(v)) for i, v in best)
        return TokenLogprob(token, bytes_of(token), float(value), tops)

    def _check_form(self, made: Generation) -> None:
        """Refuse an answer of a server that does not know of grammars and says nothing."""
        grammar = self._sampling.grammar
        if grammar is None or made.stopped_by == "length" or grammar.kind in ("regex", "lark"):
            return
        try:
            is_right = grammar.kind == "json_schema" or made.text in json.loads(grammar.text)
            if grammar.kind == "json_schema":
                json.loads(made.text)
        except ValueError:
            is_right = False
        if not is_right:
            raise InputError(
                "the server's answer does not have the form that was asked for",
                why=f"it was asked for {grammar.kind}, and said {made.text[:60]!r}",
                fix="use a server that knows structured outputs, such as vLLM, or load the model",
            )
