"""Does this model, as it will be trained, keep the documents of a packed row apart?

Asked once before the first step, on the real model and its real attention: libraries have let
documents see each other, or forgotten sliding windows, without a word.

Axes: T tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch

from hanlin.core.errors import StageFailedError
from hanlin.data.collate import Collator, attention_of
from hanlin.data.pack import Row

DOCUMENTS = (23, 48, 37)  # tokens; the last one is made longer where layers have a window
BEYOND = 16  # tokens behind the window
PADDING = 3
# Shares of the logits' standard deviation. In fp32 the two ways differed by at most 3e-6 for random
# models of four families; a leak, or a forgotten window, gave 0.02 and more. In 16 bits single
# logits are off by a tenth and the mean by a hundredth, so the mean is looked at.
MAX_EXACT = 1e-3
MAX_MEAN_ROUNDED = 0.05


class Rows(Protocol):
    """Training rows by number."""

    @property
    def rows_per_epoch(self) -> int:
        """Return the rows of one pass over the data."""

    def row(self, index: int) -> Row:
        """Return one row."""


@dataclass(frozen=True)
class PackingCheck:
    """How far the logits of packed documents are from those of each alone.

    Attributes:
        attention: the model's attention implementation.
        largest: largest difference, as a share of the logits' standard deviation.
        mean: mean difference, as such a share.
        is_rounded: the model computes in 16 or fewer bits.
    """

    attention: str
    largest: float
    mean: float
    is_rounded: bool

    @property
    def is_apart(self) -> bool:
        """Tell whether the documents do not see each other."""
        if self.is_rounded:
            return self.mean <= MAX_MEAN_ROUNDED
        return self.largest <= MAX_EXACT


def check_packing(model: Any, rows: Rows, collator: Collator) -> PackingCheck:  # noqa: ANN401
    """Compare packed logits with those of each document alone.

    Args:
        model: as it will be trained, on the device where it will be; it is not changed.
        rows: the training rows; tokens of the first ones are used.
        collator: what makes the batches of the training.

    Raises:
        StageFailedError: documents see each other, or the mask is wrong in another way.
    """
    probe = _probe_rows(rows, collator)
    longest = max(len(row.ids) for row in probe)
    is_rounded = _is_rounded(model)
    with _in_rest(model):
        packed = _packed_logits(model, probe, replace(collator, seq_len=longest + PADDING))
        alone = [_logits(model, {"input_ids": ids[None]})[0] for ids in _documents(probe)]
    scale = torch.cat([logits_TV.flatten() for logits_TV in alone]).std().clamp_min(1e-12)
    if not scale.isfinite():  # the model is damaged, which the first step's loss will say
        return PackingCheck(attention_of(model), 0.0, 0.0, is_rounded=is_rounded)
    gaps = [(a - b).abs() / scale for a, b in zip(packed, alone, strict=True)]
    found = PackingCheck(
        attention=attention_of(model),
        largest=float(max(gap.max() for gap in gaps)),
        mean=float(max(gap.mean() for gap in gaps)),
        is_rounded=is_rounded,
    )
    if not found.is_apart:
        raise StageFailedError(
            "documents that share a row change each other's logits in this model, by "
            f"{found.largest:.2g} of their standard deviation (mean {found.mean:.2g})",
            why=f"its attention {found.attention!r} does not keep packed documents apart here; "
            "training would teach it texts that were never there",
            fix="use the attention sdpa or eager; and report the model's name with this message",
        )
    return found


def _probe_rows(rows: Rows, collator: Collator) -> list[Row]:
    """Return two rows of real tokens: several documents, one of them beyond the window; and one."""
    windows = [w for w in (collator.windows or {}).values() if w is not None]
    lengths = list(DOCUMENTS)
    if windows:
        lengths[-1] = max(lengths[-1], max(windows) + BEYOND)
    lengths = [min(length, collator.seq_len) for length in lengths]
    needed = sum(lengths) + lengths[0]
    parts: list[np.ndarray[Any, np.dtype[np.int64]]] = []
    for index in range(rows.rows_per_epoch):
        parts.append(rows.row(index).ids)
        if sum(map(len, parts)) >= needed:
            break
    ids = np.resize(np.concatenate(parts), needed)  # repeats where the data is smaller
    first, second = ids[: sum(lengths)], ids[sum(lengths) :]
    return [Row(first, first, tuple(lengths)), Row(second, second, (len(second),))]


def _documents(rows: Sequence[Row]) -> Iterator[torch.Tensor]:
    for row in rows:
        yield from torch.from_numpy(row.ids).split(list(row.lengths))


def _packed_logits(
    model: Any,  # noqa: ANN401
    rows: Sequence[Row],
    collator: Collator,
) -> list[torch.Tensor]:
    """Return the logits [T, V] of each document in a batch of all rows."""
    batch = collator(rows)
    batch.pop("labels")
    logits_BTV = _logits(model, batch)
    if collator.is_flat:
        lengths = [length for row in rows for length in row.lengths]
        return list(logits_BTV[0].split(lengths))
    return [
        part_TV
        for row, logits_TV in zip(rows, logits_BTV, strict=True)
        for part_TV in logits_TV[: len(row.ids)].split(list(row.lengths))
    ]


def _logits(model: Any, batch: dict[str, Any]) -> torch.Tensor:  # noqa: ANN401
    batch = {name: _moved(value, model.device) for name, value in batch.items()}
    logits: torch.Tensor = model(**batch, use_cache=False).logits
    return logits.float().cpu()


def _moved(value: Any, device: Any) -> Any:  # noqa: ANN401 - a tensor, a mapping of them, a number
    if isinstance(value, dict):
        return {name: _moved(part, device) for name, part in value.items()}
    return value.to(device) if isinstance(value, torch.Tensor) else value


@contextmanager
def _in_rest(model: Any) -> Iterator[None]:  # noqa: ANN401
    """Turn dropout off, and gradients; put everything back."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True


def _is_rounded(model: Any) -> bool:  # noqa: ANN401
    device = str(model.device).partition(":")[0]
    types = {p.dtype for p in model.parameters() if p.is_floating_point() or p.dtype.itemsize == 1}
    return torch.is_autocast_enabled(device) or any(dtype.itemsize < 4 for dtype in types)
