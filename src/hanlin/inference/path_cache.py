"""Where are the keys and values of a shared beginning kept while many continuations are scored?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import Cache
from transformers.cache_utils import DynamicLayer


class PathLayer(DynamicLayer):
    """One layer's keys and values in a buffer of fixed length; writing continues at `length`."""

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.capacity = capacity
        self.length = 0

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        *args: Any,  # noqa: ANN401 - what models pass to any cache
        **kwargs: Any,  # noqa: ANN401
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write new states [1, heads, tokens, size] after the old; return views of all."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys = _buffer(key_states, self.capacity)
            self.values = _buffer(value_states, self.capacity)
        start, self.length = self.length, self.length + key_states.shape[-2]
        self.keys[:, :, start : self.length] = key_states
        self.values[:, :, start : self.length] = value_states
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]

    def get_seq_length(self) -> int:
        """Return how many tokens are held."""
        return self.length

    def keep(self, parts: Sequence[slice]) -> None:
        """Hold these parts only, one after the other."""
        self.length = sum(part.stop - part.start for part in parts)
        if parts and parts != [slice(0, self.length)]:
            for states in (self.keys, self.values):  # cat copies first: the parts may overlap
                states[:, :, : self.length] = torch.cat([states[:, :, p] for p in parts], dim=2)


class PathCache(Cache):
    """Keys and values of one path from the root of a trie, and of the row that follows it.

    Args:
        num_layers: of the model.
        capacity: longest path and row together, in tokens.
    """

    def __init__(self, num_layers: int, *, capacity: int) -> None:
        super().__init__(layers=[PathLayer(capacity) for _ in range(num_layers)])

    def keep(self, columns: np.ndarray) -> None:
        """Hold the tokens of these columns only: the path to the next row."""
        parts = slices(columns)
        for layer in self.layers:
            layer.keep(parts)


def slices(columns: np.ndarray) -> list[slice]:
    """Return ascending columns as runs without a gap."""
    ends = np.flatnonzero(np.diff(columns) != 1) + 1
    return [slice(int(run[0]), int(run[-1]) + 1) for run in np.split(columns, ends) if len(run)]


def joined(states: torch.Tensor, parts: Sequence[slice]) -> torch.Tensor:
    """Return parts of states [1, heads, tokens, size] as one; a single part is not copied."""
    found = [states[:, :, part] for part in parts]
    return found[0] if len(found) == 1 else torch.cat(found, dim=2)


def _buffer(states: torch.Tensor, capacity: int) -> torch.Tensor:
    shape = (*states.shape[:2], capacity, states.shape[-1])
    return states.new_empty(shape)
