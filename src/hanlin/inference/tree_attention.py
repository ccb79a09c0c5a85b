"""How does a token attend to its own path only, in a row that holds many branches of a trie?

The row is attended to in chunks: the queries of a chunk see the path to it and the chunk itself,
under a mask. So a long row costs little: long rows keep the matrix products fast, short chunks keep
the share of masked scores small.

Axes: T tokens of a chunk, S tokens that it may see.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, AttentionInterface

from hanlin.inference.path_cache import joined, slices
from hanlin.inference.trie import Segment, above, cut

NAME = "hanlin_tree"
ALIGNMENT = 16  # of a mask's rows: GPU kernels copy others


@dataclass(frozen=True)
class Chunk:
    """Some neighboring tokens of a row.

    Attributes:
        start: place of the first in the row.
        end: one past the last.
        sees: columns of the cached path and the row that they may see, as runs.
        mask: additive [1, 1, T, S].
    """

    start: int
    end: int
    sees: list[slice]
    mask: torch.Tensor


_CHUNKS: ContextVar[Sequence[Chunk]] = ContextVar("chunks of the row that is computed")


def chunks(row: Sequence[Segment], *, max_tokens: int, like: torch.Tensor) -> list[Chunk]:
    """Return the chunks of a row.

    Args:
        row: a stretch of a walk.
        max_tokens: of a chunk.
        like: gives the masks' type and device.
    """
    past, place = row[0].start, 0
    parts = list(cut(row, max_tokens=max_tokens))
    paths = above([segment for part in parts for segment in part])
    found = []
    for part in parts:
        path, *_ = [next(paths) for _ in part]
        end = place + sum(segment.end - segment.start for segment in part)
        sees = slices(np.concatenate([path, np.arange(past + place, past + end)]))
        found.append(Chunk(place, end, sees, as_mask(visible(part), like)))
        place = end
    return found


def visible(stretch: Sequence[Segment]) -> np.ndarray:
    """Return which token of a stretch sees which of the path to it and of the stretch [T, S]."""
    past = stretch[0].start
    total = past + sum(segment.end - segment.start for segment in stretch)
    seen_TS = np.zeros((total - past, total), dtype=bool)
    place = 0
    for segment, columns in zip(stretch, above(stretch), strict=True):
        end = place + segment.end - segment.start
        seen_TS[place:end, columns] = True
        seen_TS[place:end, past + place : past + end] = np.tri(end - place, dtype=bool)
        place = end
    return seen_TS


def as_mask(seen_TS: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    """Return an additive mask [1, 1, T, S] of the type and on the device of `like`."""
    length, width = seen_TS.shape
    padded = -(-width // ALIGNMENT) * ALIGNMENT
    mask = torch.zeros((1, 1, length, padded), dtype=like.dtype, device=like.device)[..., :width]
    hidden = torch.from_numpy(~seen_TS).to(like.device)
    return mask.masked_fill_(hidden, torch.finfo(like.dtype).min)


def takes_chunks(model: PreTrainedModel) -> bool:
    """Return whether a model's attention can be replaced by `attend`."""
    config = model.config.get_text_config()
    decoder = type(model.get_decoder())
    return config._attn_implementation == "sdpa" and decoder._supports_attention_backend


@contextmanager
def in_chunks(model: PreTrainedModel, row: Sequence[Chunk]) -> Iterator[None]:
    """Let a model's attention follow the chunks of a row."""
    config = model.config.get_text_config()
    token, before = _CHUNKS.set(row), config._attn_implementation
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before
        _CHUNKS.reset(token)


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,  # noqa: ANN401
) -> tuple[torch.Tensor, None]:
    """Attend as `sdpa` does, chunk by chunk; return [1, tokens, heads, size]."""
    sdpa = ALL_ATTENTION_FUNCTIONS["sdpa"]
    outputs = []
    for chunk in _CHUNKS.get():
        keys, values = joined(key, chunk.sees), joined(value, chunk.sees)
        queries = query[:, :, chunk.start : chunk.end]
        mask = chunk.mask.to(query.dtype)
        outputs.append(sdpa(module, queries, keys, values, mask, **options)[0])
    return torch.cat(outputs, dim=1), None


AttentionInterface.register(NAME, attend)
