"""What does one request make of the logits of its rows? The next tokens, and events.

`SingleDecoder` follows one answer, greedy or sampled; `beam.BeamDecoder` several. Each has its own
random numbers, penalties and grammar, so that requests of any kind share a batch
(`batch.RunningBatch`). Axes: R rows, V entries of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Protocol

import torch

from hanlin.core.errors import HanlinError
from hanlin.inference.answer import Answer, look_ahead
from hanlin.inference.engine import Sampling, StreamEvent
from hanlin.inference.sampling import choose, penalized, token_logprob

NextRow = tuple[int, int]  # the row that goes on, and its next token


class Decoder(Protocol):
    """One request.

    Attributes:
        prompt: its token ids.
        error: why it broke off, if it did.
    """

    prompt: Sequence[int]
    error: HanlinError | None

    @property
    def is_over(self) -> bool:
        """Tell whether the answer is there, or broke off."""

    def advance(self, logits_RV: torch.Tensor) -> list[NextRow]:
        """Take the logits after its rows (one, after the prompt); return the rows that go on."""

    def event(self) -> StreamEvent:
        """Return what is new since the last call."""


class SingleDecoder:
    """One answer, each token of it the best one or drawn.

    Args:
        prompt: its token ids.
        sampling: how tokens are chosen.
        answer: takes them.
        stream: random numbers.
    """

    def __init__(
        self, prompt: Sequence[int], sampling: Sampling, *, answer: Answer, stream: torch.Generator
    ) -> None:
        self.prompt, self.sampling, self.answer, self.stream = prompt, sampling, answer, stream
        self.error: HanlinError | None = None
        self._known = set(prompt) if sampling.repetition_penalty != 1 else set()

    @property
    def is_over(self) -> bool:
        """Tell whether the answer is there, or broke off."""
        return self.error is not None or self.answer.stopped_by is not None

    def advance(self, logits_RV: torch.Tensor) -> list[NextRow]:
        """Take the logits after its last token; return its row, if it goes on."""
        return advance_singles([self], logits_RV)[0]

    def event(self) -> StreamEvent:
        """Return what is new since the last call."""
        return self.answer.event()

    def penalized(self, logits_V: torch.Tensor) -> torch.Tensor:
        """Return the logits with penalties."""
        answer = self.answer
        return penalized(logits_V, self.sampling, prompt=self._known, answer=answer.ids)

    def accept(self, token_id: int, logits_V: torch.Tensor) -> list[NextRow]:
        """Take the token that was chosen; return the row if it goes on."""
        logprob, num_top = None, self.sampling.top_logprobs
        if num_top is not None:
            logprob = token_logprob(
                logits_V.log_softmax(-1), token_id, num_top=num_top, bytes_of=self.answer.bytes_of
            )
        try:
            self.answer.push(token_id, logprob)
        except HanlinError as error:
            self.error = error
        return [] if self.is_over else [(0, token_id)]


def masked(scores_RV: torch.Tensor, allowed: Mapping[int, torch.Tensor]) -> torch.Tensor:
    """Return scores that are -inf where a row's grammar allows no token.

    Args:
        scores_RV: scores.
        allowed: of the rows that have a grammar, bool [V].
    """
    if not allowed:
        return scores_RV
    allowed_RV = torch.stack(list(allowed.values())).to(scores_RV.device)
    if len(allowed) == len(scores_RV):
        return scores_RV.masked_fill(~allowed_RV, -torch.inf)
    rows = torch.tensor(list(allowed), device=scores_RV.device)
    return scores_RV.index_copy(0, rows, scores_RV[rows].masked_fill(~allowed_RV, -torch.inf))


def advance_singles(
    decoders: Sequence[SingleDecoder], logits_RV: torch.Tensor
) -> list[list[NextRow]]:
    """Advance many requests with one row each; what can be computed together is.

    A grammar that cannot be satisfied is the error of its own request.
    """
    scores_RV = torch.stack(
        [decoder.penalized(row_V) for decoder, row_V in zip(decoders, logits_RV, strict=True)]
    )
    allowed: dict[int, torch.Tensor] = {}
    for row, decoder in enumerate(decoders):
        try:
            allowed_V = decoder.answer.allowed()
            if allowed_V is not None:
                allowed[row] = allowed_V
        except HanlinError as error:
            decoder.error = error
    scores_RV = masked(scores_RV, allowed)
    tokens = choose(scores_RV, [d.sampling for d in decoders], [d.stream for d in decoders])
    going = [
        [] if decoder.error else decoder.accept(token, logits_V)
        for decoder, token, logits_V in zip(decoders, tokens, logits_RV, strict=True)
    ]
    look_ahead([d.answer for d in decoders if not d.is_over])
    return going


def advance_all(
    decoders: Sequence[Decoder], logits_RV: torch.Tensor, num_rows: Sequence[int]
) -> list[list[NextRow]]:
    """Advance every request of a batch; return the rows of each that go on.

    Args:
        decoders: the requests.
        logits_RV: of all rows, request after request.
        num_rows: how many rows each request has.
    """
    starts = [0, *accumulate(num_rows)]
    found: dict[int, list[NextRow]] = {}
    singles = {i: d for i, d in enumerate(decoders) if isinstance(d, SingleDecoder)}
    if singles:
        together_RV = logits_RV[[starts[i] for i in singles]]
        rows = advance_singles(list(singles.values()), together_RV)
        found = dict(zip(singles, rows, strict=True))
    for index, decoder in enumerate(decoders):
        if index not in singles:
            try:
                found[index] = decoder.advance(logits_RV[starts[index] : starts[index + 1]])
            except HanlinError as error:
                decoder.error, found[index] = error, []
    return [found[index] for index in range(len(decoders))]
