"""Was it memory that a backend found too little of, and what does its request say then?"""

from __future__ import annotations

from hanlin.core.errors import ResourceError

TEXTS = ("out of memory", "can't allocate memory", "not enough memory")  # of torch on GPU and CPU


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether torch or Python found no memory, on a GPU or not."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in TEXTS)


def out_of_memory(reason: str) -> ResourceError:
    """Return what a request says that found no memory."""
    return ResourceError(
        "there is not enough memory for the answer",
        why=next(iter(reason.strip().splitlines()), "no memory could be had"),
        fix="shorten the prompt or the answer, use fewer beams, or answer fewer requests at once",
    )
