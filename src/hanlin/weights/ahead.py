"""How do reading, computing, hashing and writing of a stream overlap in threads?

What is heavy in them (system calls, numpy, SHA-256, zstd) runs outside the interpreter's lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from hanlin.core.environment import usable_cpus
from hanlin.models.tensors import TensorSpec, begin_sha256, raw_bytes

if TYPE_CHECKING:
    import torch

AHEAD = 4  # chunks that may be on their way: what bounds the memory
MAX_WORKERS = 4  # two pack as fast as one thread hashes
T = TypeVar("T")
R = TypeVar("R")


def map_ahead(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Yield `function(item)` in the order of the items, computed ahead in threads."""
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(min(MAX_WORKERS, usable_cpus())) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


class TensorDigest:
    """The digest of one tensor that comes in blocks, computed in a thread of its own."""

    def __init__(self, spec: TensorSpec) -> None:
        """Begin with type and shape."""
        self._digest = begin_sha256(spec)
        self._pool = ThreadPoolExecutor(1)
        self._waiting: deque[Future[None]] = deque()

    def update(self, block: torch.Tensor) -> None:
        """Add a block; returns at once unless many are waiting."""
        self._waiting.append(self._pool.submit(self._digest.update, raw_bytes(block)))
        if len(self._waiting) > AHEAD:
            self._waiting.popleft().result()

    def hexdigest(self) -> str:
        """Wait for all blocks and return the digest."""
        self._pool.shutdown()
        return self._digest.hexdigest()
