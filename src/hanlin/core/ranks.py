"""Which of the processes that torchrun started is this one, and how do they work together?

torchrun sets `RANK`, `WORLD_SIZE` and `LOCAL_RANK`; without them there is one process. Only rank 0
writes and prints.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

from hanlin.core.errors import ConfigError

T = TypeVar("T")
PATIENCE = timedelta(hours=24)  # rank 0 may prepare data or save a large model while others wait


def rank() -> int:
    """Return this process's number, from 0."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """Return how many processes work together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Tell whether this process writes and prints."""
    return rank() == 0


@contextmanager
def together(processes: int | None = None) -> Iterator[None]:
    """Join the processes for the length of a block, a GPU each where there are some.

    Args:
        processes: how many the config says; None: as many as there are.

    Raises:
        ConfigError: another number of processes runs than the config says.
    """
    if processes is not None and world_size() != processes:
        raise ConfigError(
            f"the stage runs in {world_size()} processes but processes is {processes}",
            why="the micro-batches of a step are shared between the processes",
            fix=f"set processes to {world_size()}, or start torchrun with that many",
        )
    if world_size() == 1:
        yield
        return
    import torch

    if not is_first():  # what there is to say is said once
        logging.getLogger("hanlin").setLevel(logging.ERROR)
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    torch.distributed.init_process_group(backend, timeout=PATIENCE)
    try:
        yield
        barrier()
    finally:
        torch.distributed.destroy_process_group()


def barrier() -> None:
    """Wait until every process is here."""
    if world_size() > 1:
        import torch

        torch.distributed.barrier()


def total(value: int) -> int:
    """Return the sum of a number over all processes; every process must call it."""
    if world_size() == 1:
        return value
    import torch

    number = torch.tensor(value)
    torch.distributed.all_reduce(number)
    return int(number)


def gathered(mine: T) -> list[T]:
    """Return what each process hands in, by rank; every process must call it."""
    if world_size() == 1:
        return [mine]
    import torch

    found: list[T | None] = [None] * world_size()
    torch.distributed.all_gather_object(found, mine)
    return [part for part in found if part is not None]
