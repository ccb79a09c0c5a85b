"""What does an engine that stands around another one pass on?"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hanlin.inference.engine import Engine, Sampling, StreamEvent, texts_of

if TYPE_CHECKING:
    from hanlin.tokenization.load import Tokenizer


class WrappedEngine:
    """Passes on what is known of the model, and streaming; scoring and answering are left open."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def tokenizer(self) -> Tokenizer:
        """Return the engine's tokenizer."""
        return self._engine.tokenizer

    @property
    def manifest(self) -> Mapping[str, Any]:
        """Return the model's hanlin.json."""
        return self._engine.manifest

    @property
    def max_length(self) -> int:
        """Return how many tokens fit."""
        return self._engine.max_length

    def events(self, prompt: Sequence[int], sampling: Sampling) -> Generator[StreamEvent]:
        """Yield what an answer is made of as it comes."""
        return self._engine.events(prompt, sampling)

    def stream(self, prompt: Sequence[int], sampling: Sampling) -> Iterator[str]:
        """Yield an answer as it comes."""
        return texts_of(self.events(prompt, sampling))

    def count_tokens(self, text: str) -> int:
        """Return how many tokens a text has."""
        return self._engine.count_tokens(text)
