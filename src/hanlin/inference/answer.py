"""When is a generated answer over, and what is its text? The same for all backends."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from copy import copy
from typing import TYPE_CHECKING

from hanlin.core.errors import InputError
from hanlin.inference.engine import Generation, Sampling, StoppedBy, StreamEvent, TokenLogprob
from hanlin.inference.text_stream import TextStream
from hanlin.tokenization.load import Tokenizer

if TYPE_CHECKING:
    import torch

    from hanlin.inference.constraint import Constraint


class Answer:
    """Takes one generated token after the other.

    Args:
        tokenizer: gives the bytes of each token.
        stop: strings that end the answer.
        eos_ids: tokens that end the answer.
        limit: the most tokens it may have.
        constraint: the grammar that the text follows; it is over where the grammar is.

    Attributes:
        ids: the tokens so far, without the end token.
        text: what is certain of the text.
        logprobs: of `ids`, where they were given.
        stopped_by: why it is over; None while it goes on.
        eos_ids: as given.
        constraint: as given.
        bytes_of: gives the bytes of a token.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        stop: Sequence[str],
        eos_ids: Collection[int],
        limit: int,
        constraint: Constraint | None = None,
    ) -> None:
        self.ids: list[int] = []
        self.text = ""
        self.logprobs: list[TokenLogprob] = []
        self.stopped_by: StoppedBy | None = None
        self.eos_ids, self.constraint = eos_ids, constraint
        self.bytes_of = tokenizer.bytes_of
        self._limit = limit
        self._stream = TextStream(stop)
        self._shown = (0, 0)  # characters of text, log-probabilities

    def push(self, token_id: int, logprob: TokenLogprob | None = None) -> None:
        """Take a token."""
        assert self.stopped_by is None, "the answer is over"
        if token_id in self.eos_ids and (self.constraint is None or self.constraint.may_end):
            self.stopped_by = "eos"
        else:
            self.ids.append(token_id)
            if logprob is not None:
                self.logprobs.append(logprob)
            self.text += self._stream.push(self.bytes_of(token_id))
            self.stopped_by = self._reason(token_id)
        if self.stopped_by is not None:
            self.text += self._stream.finish()

    def copy(self) -> Answer:
        """Return an answer that goes on from here by itself."""
        other = copy(self)
        other.ids, other.logprobs = self.ids.copy(), self.logprobs.copy()
        other._stream = self._stream.copy()
        other.constraint = self.constraint and self.constraint.copy()
        return other

    def allowed(self) -> torch.Tensor | None:
        """Return which tokens the grammar lets come next, bool [V]; None where there is none.

        Raises:
            ConfigError: no text satisfies the grammar.
        """
        return None if self.constraint is None else self.constraint.allowed(self.eos_ids)

    def event(self) -> StreamEvent:
        """Return what became certain since the last call."""
        text, logprobs = self._shown
        self._shown = len(self.text), len(self.logprobs)
        return StreamEvent(
            self.text[text:],
            logprobs=tuple(self.logprobs[logprobs:]),
            generation=self.generation() if self.stopped_by is not None else None,
        )

    def generation(self, score: float | None = None) -> Generation:
        """Return the finished answer.

        Args:
            score: of beam search.
        """
        assert self.stopped_by is not None, "the answer goes on"
        return Generation(self.text, tuple(self.ids), self.stopped_by, tuple(self.logprobs), score)

    def _reason(self, token_id: int) -> StoppedBy | None:
        """Return why the answer is over after a token of its text."""
        if self.constraint is not None:
            self.constraint.advance(token_id)
            if self.constraint.is_complete:
                return "eos"
        if self._stream.stopped_by is not None:
            return "stop"
        return "length" if len(self.ids) >= self._limit else None


def look_ahead(answers: Iterable[Answer]) -> None:
    """Begin to compute what the grammars of some answers will allow, beside the model's next pass.

    Args:
        answers: by one tokenizer, none of them over.
    """
    held = [(one.constraint, one.eos_ids) for one in answers if one.constraint is not None]
    if held:
        from hanlin.inference import constraint

        constraint.look_ahead([one for one, _ in held], [ends for _, ends in held])


def answer_limit(prompt: Sequence[int], sampling: Sampling, *, max_length: int) -> int:
    """Return how many tokens an answer may have: the limit, or what the context leaves.

    Raises:
        InputError: the prompt leaves no room.
    """
    assert prompt, "a prompt has at least one token"
    room = max_length - len(prompt)
    if room < 1:
        raise InputError(
            f"the prompt has {len(prompt)} tokens",
            why=f"the model's context holds {max_length}, prompt and answer together",
            fix="shorten the prompt, give fewer examples, or use a model with a longer context",
        )
    return min(sampling.max_new_tokens, room)
