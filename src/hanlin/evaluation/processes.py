"""Which of the processes that torchrun started is this one, and how do they share what they found?

torchrun sets `RANK`, `WORLD_SIZE` and `LOCAL_RANK`; without them there is one process. Only the
first one writes and prints.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

T = TypeVar("T")
PATIENCE = timedelta(hours=24)  # one process may have the longer questions


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
def together() -> Iterator[None]:
    """Join the processes for the length of a block; a GPU each, where there are some."""
    if world_size() == 1:
        yield
        return
    import torch

    if not is_first():  # what there is to say is said once
        logging.getLogger("hanlin").setLevel(logging.ERROR)
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.distributed.init_process_group("gloo", timeout=PATIENCE)
    try:
        yield
        torch.distributed.barrier()
    finally:
        torch.distributed.destroy_process_group()


def gathered(mine: T) -> list[T]:
    """Return what each process hands in, by rank; every process must call it."""
    if world_size() == 1:
        return [mine]
    import torch

    found: list[T | None] = [None] * world_size()
    torch.distributed.all_gather_object(found, mine)
    return [part for part in found if part is not None]
