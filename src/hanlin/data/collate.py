"""How do packed rows become tensors in which documents cannot see each other?

What a model needs depends on its attention (see `collator_for`): `sdpa` and `eager` get an explicit
mask of blocks, one for each kind of layer where some look back a limited way only; flash attention
gets the borders of the documents and no padding at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hanlin.core.errors import ConfigError
from hanlin.data.pack import IGNORED, Row

if TYPE_CHECKING:
    import torch

MASKED = ("sdpa", "eager")  # take a mask; all others must take borders
FLASH = ("flash_attention_2", "flash_attention_3", "flash_attention_4")
FULL, SLIDING = "full_attention", "sliding_attention"  # kinds of layers, as transformers has them
Windows = Mapping[str, int | None]


@dataclass(frozen=True)
class Collator:
    """Turns rows into a batch for one model.

    Attributes:
        pad_id: id that stands in the padding; it is neither seen nor learned.
        seq_len: tokens of every row of a batch.
        mask_dtype: see `collate`.
        windows: see `collate`.
        is_flat: all rows one behind another, without padding, see `collate_flat`.
    """

    pad_id: int
    seq_len: int
    mask_dtype: str = "bool"
    windows: Windows | None = None
    is_flat: bool = False

    def __call__(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Return the batch."""
        if self.is_flat:
            return collate_flat(rows)
        return collate(
            rows,
            pad_id=self.pad_id,
            seq_len=self.seq_len,
            mask_dtype=self.mask_dtype,
            windows=self.windows,
        )


def collator_for(model: Any, *, pad_id: int, seq_len: int) -> Collator:  # noqa: ANN401
    """Return the collator that a transformers model reads correctly.

    Raises:
        ConfigError: the model's attention is of a kind whose packing is not proven.
    """
    attention = attention_of(model)
    if attention.startswith(FLASH) or "flash-attn" in attention:  # also from the hub's kernels
        return Collator(pad_id, seq_len, is_flat=True)
    if attention not in MASKED:
        raise ConfigError(
            f"the attention {attention!r} cannot be used for packed rows",
            why="documents in a row would see each other, or the mask would be read wrongly",
            fix="load the model with the attention sdpa, eager or flash_attention_2",
        )
    dtype = mask_dtype_for(model)
    return Collator(pad_id, seq_len, dtype, windows_of(model, seq_len=seq_len))


def collate(
    rows: Sequence[Row],
    *,
    pad_id: int,
    seq_len: int,
    mask_dtype: str = "bool",
    windows: Windows | None = None,
) -> dict[str, Any]:
    """Return a batch of B rows, padded on the right to T = seq_len tokens.

    Give it to a model together with `use_cache=False`. The mask is explicit because transformers
    finds packed documents by itself only without a cache and without any mask, and says nothing
    where it does not (logits were off by 1.9).

    Args:
        rows: the packed rows.
        pad_id: id that stands in the padding; it is neither seen nor learned.
        seq_len: tokens of every row of the batch.
        mask_dtype: "bool" for `sdpa`; the model's float type for `eager`, which *adds* the mask to
            its scores and would take True for a bonus of 1 (see `mask_dtype_for`).
        windows: kind of layer -> how many tokens, itself included, a token sees; None for all. With
            one kind there is one mask, with several a mapping; None is one kind that sees all.

    Returns:
        input_ids, labels and position_ids, int64 [B, T], and attention_mask [B, 1, T, T]: query t
        sees key s where s <= t in the same document. Positions restart with each document.
    """
    import torch

    input_ids = np.full((len(rows), seq_len), pad_id, np.int64)
    labels = np.full((len(rows), seq_len), IGNORED, np.int64)
    positions = np.zeros((len(rows), seq_len), np.int64)
    documents = np.zeros((len(rows), seq_len), np.int64)
    for b, row in enumerate(rows):
        input_ids[b, : len(row.ids)] = row.ids
        labels[b, : len(row.ids)] = row.labels
        lengths = [*row.lengths, seq_len - len(row.ids)]  # the padding is a document of its own
        documents[b] = np.repeat(np.arange(len(lengths)), lengths)
        positions[b] = _positions(lengths)
    document_BT = torch.from_numpy(documents)
    same_BTT = document_BT[:, :, None] == document_BT[:, None, :]
    causal = same_BTT.tril()[:, None]
    masks = {
        kind: _as_dtype(causal if window is None else _nearest(causal, window), mask_dtype)
        for kind, window in (windows or {FULL: None}).items()
    }
    return {
        "input_ids": torch.from_numpy(input_ids),
        "labels": torch.from_numpy(labels),
        "position_ids": torch.from_numpy(positions),
        "attention_mask": masks if len(masks) > 1 else next(iter(masks.values())),
    }


def collate_flat(rows: Sequence[Row]) -> dict[str, Any]:
    """Return all rows as one row of N tokens without padding, for variable-length attention.

    Give it to a model together with `use_cache=False` and no mask. Flash attention reads where the
    documents begin from `cu_seq_lens`; `sdpa` and `eager` find it in the positions.

    Returns:
        input_ids, labels and position_ids, int64 [1, N]; cu_seq_lens_q and cu_seq_lens_k, int32
        [documents + 1]; max_length_q and max_length_k.
    """
    import torch

    lengths = [length for row in rows for length in row.lengths]
    borders = torch.from_numpy(np.cumsum([0, *lengths]).astype(np.int32))
    return {
        "input_ids": torch.from_numpy(np.concatenate([row.ids for row in rows]))[None],
        "labels": torch.from_numpy(np.concatenate([row.labels for row in rows]))[None],
        "position_ids": torch.from_numpy(_positions(lengths))[None],
        "cu_seq_lens_q": borders,
        "cu_seq_lens_k": borders,
        "max_length_q": max(lengths),
        "max_length_k": max(lengths),
    }


def attention_of(model: Any) -> str:  # noqa: ANN401 - a PreTrainedModel, or one with an adapter
    """Return the name of a model's attention implementation."""
    return str(getattr(getattr(model, "config", None), "_attn_implementation", None) or "sdpa")


def mask_dtype_for(model: Any) -> str:  # noqa: ANN401
    """Return the mask type that a transformers model's attention reads correctly."""
    if attention_of(model) == "sdpa":
        return "bool"
    return str(getattr(model, "dtype", "float32")).rpartition(".")[2]


def windows_of(model: Any, *, seq_len: int) -> Windows | None:  # noqa: ANN401
    """Return how far the layers of a model look back, in rows of `seq_len` tokens.

    None where all see everything. transformers takes a ready mask as it is and would forget the
    windows of Mistral, Gemma and some of Qwen.

    Raises:
        ConfigError: the model has layers of another kind.
    """
    config: Any = getattr(model, "config", None)
    config = config.get_text_config() if hasattr(config, "get_text_config") else config
    window = getattr(config, "sliding_window", None)
    kinds = sorted(set(getattr(config, "layer_types", None) or [FULL if not window else SLIDING]))
    unknown = [kind for kind in kinds if kind not in (FULL, SLIDING)]
    if unknown:
        raise ConfigError(
            f"the model has layers of the kind {unknown[0]!r}",
            why="it is not known how documents in a packed row are kept apart there",
            fix="use a model whose layers see everything or a sliding window",
        )
    if SLIDING not in kinds or window is None or window >= seq_len:
        return None
    if not getattr(config, "layer_types", None):  # one kind of layers, as in Mistral
        return {SLIDING: window}
    return {FULL: None, SLIDING: window}


def _positions(lengths: Sequence[int]) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.concatenate([np.arange(length, dtype=np.int64) for length in lengths])


def _nearest(causal: torch.Tensor, window: int) -> torch.Tensor:
    """Keep what lies in the last `window` tokens; documents are contiguous, so rows may count."""
    return causal.triu(1 - window)


def _as_dtype(mask: torch.Tensor, name: str) -> torch.Tensor:
    import torch

    if name == "bool":
        return mask
    dtype = getattr(torch, name)
    closed = torch.full((), torch.finfo(dtype).min, dtype=dtype)
    return torch.where(mask, torch.zeros((), dtype=dtype), closed)
