"""Who runs the parts of a work: processes of this machine, or a Ray cluster?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol

from hanlin.data.in_order import Workers

Engine = Literal["local", "ray"]


class Runner(Protocol):
    """Does the same work on many items."""

    def map(self, items: Iterable[Any]) -> Iterator[Any]:
        """Yield the result of each item, in the order of the items."""
        ...


def start_workers(
    engine: Engine,
    *,
    count: int,
    make: Callable[[Any], Callable[[Any], Any]],
    settings: object,
    threads: int = 1,
) -> AbstractContextManager[Runner]:
    """Return what runs a work; the results do not depend on it.

    Args:
        engine: processes of this machine, or all processors of a Ray cluster.
        count: how many processes, where this machine alone works.
        make: a function of `settings`, called once in each process; returns what does the work.
        settings: handed to each process, as little as possible.
        threads: of this process, where it works alone; for work that keeps nothing between items.
    """
    if engine == "ray":
        from hanlin.data.ray_workers import RayWorkers

        return RayWorkers(make=make, settings=settings)
    return Workers(count, make=make, settings=settings, threads=threads)
