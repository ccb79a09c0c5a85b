"""Where are the keys and values of a shared beginning kept while many continuations are scored?"""

from __future__ import annotations

from typing import Any

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


class PathCache(Cache):
    """Keys and values of one path from the root of a trie.

    Args:
        num_layers: of the model.
        capacity: longest path, in tokens.
    """

    def __init__(self, num_layers: int, *, capacity: int) -> None:
        super().__init__(layers=[PathLayer(capacity) for _ in range(num_layers)])

    def rewind(self, length: int) -> None:
        """Forget all but the first tokens."""
        for layer in self.layers:
            layer.length = length


def _buffer(states: torch.Tensor, capacity: int) -> torch.Tensor:
    shape = (*states.shape[:2], capacity, states.shape[-1])
    return states.new_empty(shape)
