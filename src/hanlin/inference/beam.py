"""Which of several answers is the most likely one, and what can be shown of it meanwhile?

Beam search and beam sampling as transformers' `generate(num_beams=N)` does them (its defaults:
early_stopping off, one answer returned), one step at a time. Every answer that can still win begins
with the common beginning of all beams that are followed and of the best one that is finished: that
text can no longer change, and is streamed.
Axes: R rows, one for each running beam; V entries of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile

import torch
from torch.nn.functional import pad

from hanlin.core.errors import HanlinError
from hanlin.inference.answer import Answer, look_ahead
from hanlin.inference.decoder import NextRow, masked
from hanlin.inference.engine import Beam, Sampling, StreamEvent, TokenLogprob
from hanlin.inference.sampling import penalized, token_logprob, warp


@dataclass(frozen=True)
class _Beam:
    """One answer that is followed, or finished.

    Attributes:
        answer: its tokens and text.
        total: log-likelihood as the search counts it; of a finished one, its score.
        row: the beam that it continues by its last token.
        token_id: that token.
    """

    answer: Answer
    total: float
    row: int = 0
    token_id: int = -1


class BeamDecoder:
    """Several answers to one prompt, of which the best is given.

    Args:
        prompt: its token ids.
        sampling: num_beams and length_penalty; beams are drawn where temperature is above 0.
        answer: an empty one, copied for each beam.
        stream: random numbers.
    """

    def __init__(
        self, prompt: Sequence[int], sampling: Sampling, *, answer: Answer, stream: torch.Generator
    ) -> None:
        self.prompt, self.sampling = prompt, sampling
        self.error: HanlinError | None = None
        self._known = set(prompt) if sampling.repetition_penalty != 1 else set()
        self._stream, self._num_ends = stream, len(answer.eos_ids)
        self._running = [_Beam(answer, 0.0)]  # best first
        self._finished: list[_Beam] = []  # best first
        self._length = 0  # tokens of each running beam
        self._shown, self._num_logprobs = "", 0

    @property
    def is_over(self) -> bool:
        """Tell whether the answer is there, or broke off."""
        return self.error is not None or not self._running

    def advance(self, logits_RV: torch.Tensor) -> list[NextRow]:
        """Take the logits after each beam; return the beams that go on."""
        num_beams = self.sampling.num_beams
        log_probs_RV = logits_RV.float().log_softmax(-1)
        found = self._continued(self._totals(log_probs_RV), log_probs_RV)
        self._length += 1
        self._finished = _best(
            [*self._finished, *(self._scored(beam) for beam in found[:num_beams] if _ended(beam))],
            num_beams,
        )
        self._running = _best((beam for beam in found if not _ended(beam)), num_beams)
        if not self._can_improve():
            self._running = []
        look_ahead(beam.answer for beam in self._running)
        return [(beam.row, beam.token_id) for beam in self._running]

    def event(self) -> StreamEvent:
        """Return what became certain since the last call, and all beams as they are now."""
        if self.is_over:
            return self._last_event()
        possible = [*map(self._scored, self._running), *self._finished[:1]]
        texts = [beam.answer.text for beam in possible]
        certain = texts[0][: _num_same(texts, start=len(self._shown))]
        shown = [
            Beam(certain, beam.answer.text[len(certain) :], beam.total)
            for beam in _best(possible, len(possible))
        ]
        num_same = _num_same([beam.answer.logprobs for beam in possible], start=self._num_logprobs)
        logprobs = possible[0].answer.logprobs[self._num_logprobs : num_same]
        return self._new(certain, shown, logprobs)

    def _last_event(self) -> StreamEvent:
        best = self._finished[0]
        shown = [Beam(best.answer.text, "", best.total)]
        event = self._new(best.answer.text, shown, best.answer.logprobs[self._num_logprobs :])
        return StreamEvent(
            event.text, event.beams, event.logprobs, best.answer.generation(best.total)
        )

    def _new(
        self, certain: str, shown: Sequence[Beam], logprobs: Sequence[TokenLogprob]
    ) -> StreamEvent:
        assert certain.startswith(self._shown), "what was certain has changed"
        text, self._shown = certain[len(self._shown) :], certain
        self._num_logprobs += len(logprobs)
        return StreamEvent(text, tuple(shown), tuple(logprobs))

    def _totals(self, log_probs_RV: torch.Tensor) -> torch.Tensor:
        """Return the log-likelihood [R, V] of each beam with each next token."""
        rows, allowed = [], {}
        for row, (beam, row_V) in enumerate(zip(self._running, log_probs_RV, strict=True)):
            ids = beam.answer.ids
            rows.append(penalized(row_V, self.sampling, prompt=self._known, answer=ids))
            allowed_V = beam.answer.allowed()
            if allowed_V is not None:
                allowed[row] = allowed_V
        scores_RV = masked(torch.stack(rows), allowed)
        if self.sampling.temperature > 0:
            scores_RV = warp(scores_RV, self.sampling, min_keep=self._num_ends + 1)
        totals_R = torch.tensor([beam.total for beam in self._running], device=scores_RV.device)
        return scores_RV + totals_R[:, None]

    def _continued(self, totals_RV: torch.Tensor, log_probs_RV: torch.Tensor) -> list[_Beam]:
        """Return the best continuations, or some that are drawn; more than are needed to go on.

        Of each beam, every end token may be among the best, so there are that many times more.
        """
        num_beams, num_entries = self.sampling.num_beams, totals_RV.shape[-1]
        flat, wanted = totals_RV.flatten(), max(2, 1 + self._num_ends) * num_beams
        if self.sampling.temperature > 0:
            # transformers draws from dead beams as well: the same draws need as many places.
            flat = pad(flat, (0, (num_beams - len(totals_RV)) * num_entries), value=-torch.inf)
            shares = flat.softmax(-1).cpu()
            places = torch.multinomial(shares, min(wanted, len(flat)), generator=self._stream)
            values = flat[places.to(flat.device)]
        else:
            values, places = flat.topk(min(wanted, len(flat)))
        drawn = zip(values.tolist(), places.tolist(), strict=True)
        return [
            self._child(value, place // num_entries, place % num_entries, log_probs_RV)
            for value, place in drawn
            if value > -torch.inf
        ]

    def _child(self, total: float, row: int, token_id: int, log_probs_RV: torch.Tensor) -> _Beam:
        """Return a beam that continues a running one by a token."""
        answer, logprob = self._running[row].answer.copy(), None
        num_top = self.sampling.top_logprobs
        if num_top is not None:
            logprob = token_logprob(
                log_probs_RV[row], token_id, num_top=num_top, bytes_of=answer.bytes_of
            )
        answer.push(token_id, logprob)
        return _Beam(answer, total, row, token_id)

    def _scored(self, beam: _Beam) -> _Beam:
        """Return a beam with its score: log-likelihood over length, an end token included."""
        score = beam.total / self._length**self.sampling.length_penalty
        return _Beam(beam.answer, score)

    def _can_improve(self) -> bool:
        """Tell whether a running beam may still be better than a finished one.

        transformers' guess: the best running beam, scored as if it ended now.
        """
        if not self._running or len(self._finished) < self.sampling.num_beams:
            return bool(self._running)
        return self._scored(self._running[0]).total > self._finished[-1].total


def _ended(beam: _Beam) -> bool:
    return beam.answer.stopped_by is not None


def _best(beams: Iterable[_Beam], count: int) -> list[_Beam]:
    return sorted(beams, key=lambda beam: -beam.total)[:count]


def _num_same(rows: Sequence[Sequence[object]], *, start: int) -> int:
    """Return how many items all rows begin with; the first `start` are known to be the same."""
    columns = zip(*(row[start:] for row in rows), strict=False)
    same = takewhile(lambda column: all(item == column[0] for item in column), columns)
    return start + sum(1 for _ in same)
