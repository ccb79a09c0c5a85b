"""When is a generated answer over, and what is its text? The same for all backends."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from hanlin.core.errors import InputError
from hanlin.inference.engine import Generation, Sampling, StoppedBy
from hanlin.inference.text_stream import TextStream
from hanlin.tokenization.load import Tokenizer


class Answer:
    """Takes one generated token after the other.

    Args:
        tokenizer: gives the bytes of each token.
        stop: strings that end the answer.
        eos_ids: tokens that end the answer.
        limit: the most tokens it may have.

    Attributes:
        stopped_by: why it is over; None while it goes on.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        stop: Sequence[str],
        eos_ids: Collection[int],
        limit: int,
    ) -> None:
        self.stopped_by: StoppedBy | None = None
        self.ids: list[int] = []
        self._tokenizer, self._eos_ids, self._limit = tokenizer, eos_ids, limit
        self._stream = TextStream(stop)
        self._text: list[str] = []
        self._shown = 0

    def push(self, token_id: int) -> None:
        """Take a token."""
        assert self.stopped_by is None, "the answer is over"
        if token_id in self._eos_ids:
            self.stopped_by = "eos"
        else:
            self.ids.append(token_id)
            self._text.append(self._stream.push(self._tokenizer.bytes_of(token_id)))
            if self._stream.stopped_by is not None:
                self.stopped_by = "stop"
            elif len(self.ids) >= self._limit:
                self.stopped_by = "length"
        if self.stopped_by is not None:
            self._text.append(self._stream.finish())

    def take(self) -> str:
        """Return the text that became certain since the last call."""
        new = "".join(self._text[self._shown :])
        self._shown = len(self._text)
        return new

    def generation(self) -> Generation:
        """Return the finished answer."""
        assert self.stopped_by is not None, "the answer goes on"
        return Generation("".join(self._text), tuple(self.ids), self.stopped_by)


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
