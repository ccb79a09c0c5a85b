"""How is work spread over processes so that its results come back in order?"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from types import TracebackType
from typing import Any, Self, cast

from hanlin.core.errors import ResourceError

GARBAGE_EVERY = 1_000_000  # new objects; Python's own 700 to 2,000 cost a third of the time
AHEAD = 2  # items that wait for each process or thread: none is ever idle, few are held

_work: Callable[[Any], Any] | None = None  # of a worker process


class Workers:
    """Processes that all do the same work, or threads of this process.

    The tokenizers let go of Python while they work: meanwhile the next rows are read, and another
    thread prepares its own.

        with Workers(2, make=Encoder, settings=settings) as workers:
            for result in workers.map(items): ...

    Args:
        count: how many; 1 works in this process.
        make: a function of `settings`, called once in each process; returns what does the work.
        settings: handed to each process, as little as possible.
        threads: of this process, where it works alone; for work that keeps nothing between items.
    """

    def __init__(
        self,
        count: int,
        *,
        make: Callable[[Any], Callable[[Any], Any]],
        settings: object,
        threads: int = 1,
    ) -> None:
        self.count, self.make, self.settings, self.threads = count, make, settings, threads
        self._pool: Executor
        self._do: Callable[[Any], Any] = _do

    def __enter__(self) -> Self:
        self._threshold = collect_seldom()
        if self.count > 1:
            self._pool = ProcessPoolExecutor(
                self.count,
                mp_context=multiprocessing.get_context("spawn"),  # threads do not survive a fork
                initializer=_start,
                initargs=(self.make, self.settings),
            )
        else:
            self._pool = ThreadPoolExecutor(self.threads)
            self._do = _Alone(self.make, self.settings)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        gc.set_threshold(*self._threshold)

    def map(self, items: Iterable[Any]) -> Iterator[Any]:
        """Yield the result of each item, in the order of the items.

        Raises:
            ResourceError: a process was killed, most often because memory was short.
        """
        waiting: deque[Future[Any]] = deque()
        try:
            for item in items:
                waiting.append(self._pool.submit(self._do, item))
                if len(waiting) > max(self.count, self.threads) * AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise ResourceError(
                f"one of {self.count} worker processes ended suddenly",
                why="most often the system ends a process when memory is short",
                fix=f"repeat the command with fewer workers (workers: {self.count - 1}); what is "
                "done is kept",
            ) from error


def collect_seldom() -> tuple[int, int, int]:
    """Let Python look for circles among millions of numbers seldom; return how it was before."""
    before = gc.get_threshold()
    gc.set_threshold(GARBAGE_EVERY, *before[1:])
    return before


class _Alone:
    """Does the work in this process; what does it is made when it is first needed."""

    def __init__(self, make: Callable[[Any], Callable[[Any], Any]], settings: object) -> None:
        self._work: Callable[[Any], Any] | None = None
        self._make, self._settings, self._lock = make, settings, threading.Lock()

    def __call__(self, item: object) -> object:
        with self._lock:
            self._work = self._work or self._make(self._settings)
        return self._work(item)


def _start(make: Callable[[Any], Callable[[Any], Any]], settings: object) -> None:
    global _work
    collect_seldom()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process hears it and ends us
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the cores belong to the other workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _work = make(settings)


def _end_with_parent() -> None:
    """End this process when the first one is killed: nobody else would tell it."""
    parent = multiprocessing.parent_process()
    wait([cast(Any, parent).sentinel])
    os._exit(1)


def _do(item: object) -> object:
    assert _work is not None
    return _work(item)
