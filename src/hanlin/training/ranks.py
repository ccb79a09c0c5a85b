"""Which of a stage's processes is this one, and how do they wait for each other?

torchrun sets `RANK`, `WORLD_SIZE` and `LOCAL_RANK`; without them there is one process. Only rank 0
writes events and outputs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from hanlin.core.errors import ConfigError

PATIENCE = timedelta(hours=24)  # rank 0 may prepare data or save a large model while others wait


def rank() -> int:
    """Return this process's number, from 0."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """Return how many processes work together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Tell whether this process writes events and outputs."""
    return rank() == 0


@contextmanager
def together(processes: int) -> Iterator[None]:
    """Join the stage's processes for the length of a block; leave them together.

    Raises:
        ConfigError: another number of processes runs than the config says.
    """
    if world_size() != processes:
        raise ConfigError(
            f"the stage runs in {world_size()} processes but processes is {processes}",
            why="the micro-batches of a step are shared between the processes",
            fix=f"set processes to {world_size()}, or start torchrun with that many",
        )
    if processes == 1:
        yield
        return
    import torch

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
