"""Has exactly this text come before?"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

Digests = npt.NDArray[np.uint64]


def digest(data: bytes) -> int:
    """Return 64 bits of the BLAKE2b digest of a text's UTF-8 bytes."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest())


class SeenDigests:
    """Remembers digests, 8 bytes for each and as much again for a moment while it grows.

    Among ten million texts two different ones are taken for the same with a probability of 3 in a
    million. The digests lie in sorted runs, each at least twice as long as the next, as in a
    log-structured merge tree.
    """

    def __init__(self) -> None:
        self._runs: list[Digests] = []

    def add(self, digests: Digests) -> npt.NDArray[np.bool_]:
        """Remember digests; return for each whether it is new, also among those given with it."""
        unique, first = np.unique(digests, return_index=True)
        is_known = np.zeros(len(unique), np.bool_)
        for run in self._runs:
            at = np.minimum(np.searchsorted(run, unique), len(run) - 1)
            is_known |= run[at] == unique
        is_new = np.zeros(len(digests), np.bool_)
        is_new[first[~is_known]] = True
        run = unique[~is_known]
        while self._runs and len(self._runs[-1]) < 2 * len(run):
            run = np.sort(np.concatenate([self._runs.pop(), run]))
        if len(run):
            self._runs.append(run)
        return is_new
