"""How do packed rows become tensors in which documents cannot see each other?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hanlin.data.pack import IGNORED, Row

if TYPE_CHECKING:
    import torch


def collate(
    rows: Sequence[Row], *, pad_id: int, seq_len: int, mask_dtype: str = "bool"
) -> dict[str, torch.Tensor]:
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
        positions[b] = np.concatenate([np.arange(length) for length in lengths])
    document_BT = torch.from_numpy(documents)
    same_BTT = document_BT[:, :, None] == document_BT[:, None, :]
    mask = same_BTT.tril()[:, None]
    if mask_dtype != "bool":
        dtype = getattr(torch, mask_dtype)
        closed = torch.full((), torch.finfo(dtype).min, dtype=dtype)
        mask = torch.where(mask, torch.zeros((), dtype=dtype), closed)
    return {
        "input_ids": torch.from_numpy(input_ids),
        "labels": torch.from_numpy(labels),
        "position_ids": torch.from_numpy(positions),
        "attention_mask": mask,
    }


def mask_dtype_for(model: object) -> str:
    """Return the mask type that a transformers model's attention reads correctly."""
    attention = getattr(getattr(model, "config", None), "_attn_implementation", "sdpa")
    return (
        "bool"
        if attention == "sdpa"
        else str(getattr(model, "dtype", "float32")).rpartition(".")[2]
    )
