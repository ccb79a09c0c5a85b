"""How is the work of one evaluation shared between processes, so that the result stays the same?

Requests are sorted and cut into blocks, and each process computes every n-th block: a block is
computed whole by one process, as it is where there is only one. So the bytes of the result do not
depend on the number of processes (with as many threads in each).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from hanlin.core.ranks import gathered, is_first, rank, world_size
from hanlin.evaluation.cache import GENERATE_BLOCK, SCORE_BLOCK
from hanlin.inference.engine import Engine, Generation, Sampling, ScoreRequest
from hanlin.inference.wrapped_engine import WrappedEngine

if TYPE_CHECKING:
    pass

T = TypeVar("T")
Progress = Callable[[int, int, str], None]


class SharedEngine(WrappedEngine):
    """An engine whose requests are shared between the processes that torchrun started.

    Args:
        engine: computes this process's share.
        progress: called in the first process with (done, total, text) after each block.
    """

    def __init__(self, engine: Engine, *, progress: Progress | None = None) -> None:
        super().__init__(engine)
        self._progress = progress if is_first() else None

    def score(self, requests: Sequence[ScoreRequest]) -> list[float]:
        """Return for each (prefix, continuation) the continuation's log-likelihood, in nats."""
        keys = [(tuple(prefix), tuple(continuation)) for prefix, continuation in requests]
        order = sorted(set(keys))
        found = self._shared(order, SCORE_BLOCK, self._engine.score, text="options scored")
        by_key = dict(zip(order, found, strict=True))
        return [by_key[key] for key in keys]

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[Generation]:
        """Return one answer for each prompt."""
        if sampling.temperature > 0:  # a prompt's random numbers follow from its place
            return self._engine.generate(prompts, sampling)
        return self._shared(
            list(prompts), GENERATE_BLOCK, lambda block: self._engine.generate(block, sampling),
            text="answers generated",
        )  # fmt: skip

    def _shared(
        self, items: list[Any], size: int, compute: Callable[[list[Any]], Sequence[T]], *, text: str
    ) -> list[T]:
        starts = range(rank() * size, len(items), world_size() * size)
        mine: dict[int, list[T]] = {}
        for number, start in enumerate(starts, 1):
            mine[start] = list(compute(items[start : start + size]))
            if self._progress and len(starts) > 1:
                self._progress(number, len(starts), f"blocks of {size} {text}")
        everything: dict[int, list[T]] = {}
        for part in gathered(mine):
            everything |= part
        return [value for start in sorted(everything) for value in everything[start]]
