"""How is work spread over the machines of a Ray cluster so that its results come back in order?

The counterpart of `in_order.Workers`: the same functions on the same items, so the same results.
A task whose process or machine dies is done again elsewhere. The cluster that the variable
RAY_ADDRESS names is joined (`auto`: the one that this machine belongs to); without it, one of this
machine alone is started and ended. Every machine needs Hanlin installed, and the files that tasks
read (the tokenizer) at the same path.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from hanlin.core.errors import ResourceError
from hanlin.core.extras import require
from hanlin.data.in_order import collect_seldom

AHEAD = 2  # items that wait for each processor of the cluster
KNOCK_S = 5.0
RETRIES = 5  # a task that kills its process again and again, for want of memory, is given up
NOT_WANTED = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is reported to anybody
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # what CUDA devices are seen is not Ray's affair
}

_made: dict[str, Callable[[Any], Any]] = {}  # of a worker process: what does the work


class RayWorkers:
    """Processes on a cluster that all do the same work.

        with RayWorkers(make=Encoder, settings=settings) as workers:
            for result in workers.map(items): ...

    Args:
        make: a function of `settings`, called once in each process; returns what does the work.
        settings: handed to each process once.
    """

    def __init__(self, *, make: Callable[[Any], Callable[[Any], Any]], settings: object) -> None:
        self.make, self.settings = make, settings
        self._is_ours = False

    def __enter__(self) -> Self:
        self._ray = require("ray", extra="cluster", purpose="engine: ray")
        if not self._ray.is_initialized():
            os.environ |= {key: os.environ.get(key, value) for key, value in NOT_WANTED.items()}
            self._join()
            self._is_ours = True
        self._job = self._ray.put((self.make, self.settings))
        self._do = self._ray.remote(max_retries=RETRIES)(_do)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._is_ours:
            self._ray.shutdown()

    def map(self, items: Iterable[Any]) -> Iterator[Any]:
        """Yield the result of each item, in the order of the items.

        Raises:
            ResourceError: the cluster is gone, or a task ended its process again and again.
        """
        waiting: deque[Any] = deque()
        try:
            for item in items:
                waiting.append(self._do.remote([self._job], item))
                if len(waiting) > AHEAD * self._processors():
                    yield self._ray.get(waiting.popleft())
            while waiting:
                yield self._ray.get(waiting.popleft())
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from error  # what the function itself raised
        except self._ray.exceptions.RayError as error:
            raise ResourceError(
                "the Ray cluster could not finish a part of the work",
                why=f"{type(error).__name__}: {error}".splitlines()[0],
                fix="look at the machines with ray status, then repeat the command: what is done "
                "is kept; smaller parts need less memory (shard_characters)",
            ) from error

    def _join(self) -> None:
        address = os.environ.get("RAY_ADDRESS", "")
        quiet = {"logging_level": "ERROR", "log_to_driver": False}
        try:
            if address:
                _knock(address)
                self._ray.init(address=address, **quiet)
            else:
                self._ray.init(address="local", include_dashboard=False, **quiet)
        except (OSError, RuntimeError, ValueError) as error:
            raise ResourceError(
                f"no Ray cluster answers at {address or 'this machine'}",
                why=f"{error}".partition("\n")[0],
                fix="ray start --head on one machine, ray start --address=HEAD:6379 on the others, "
                "then RAY_ADDRESS=HEAD:6379 before the command",
            ) from error

    def _processors(self) -> int:
        """Return how many processors the cluster has now; machines may come and go."""
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)))


def _knock(address: str) -> None:
    """Raise OSError where nobody listens; Ray itself would try for minutes."""
    host, _, port = address.rpartition("/")[2].rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=KNOCK_S).close()


def _do(job: list[Any], item: object) -> object:
    """Do the work on one item. The job is a reference in a list: it is fetched only once."""
    name = job[0].hex()
    if name not in _made:
        import ray

        os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the processors belong to other tasks
        collect_seldom()
        make, settings = ray.get(job[0])
        _made.clear()  # the work of an earlier command
        _made[name] = make(settings)
    return _made[name](item)
