"""What do an adapter's changes make of a block of a tensor's rows?

Added up in float32 (float64 for a float64 base) and rounded once, at the end. The order of
operations is peft's, so that float32 results are the same bits.

Shapes: R rows of a block, D columns, O rows of the whole tensor, r rank.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from hanlin.core.errors import InputError
from hanlin.models.tensors import TensorSpec, torch_dtype
from hanlin.weights.lora import Added, Change, LowRank, Rows

if TYPE_CHECKING:
    import torch

CHUNK_BYTES = 2 << 20  # of float32 rows: they stay in a core's cache between the operations


class Readable(Protocol):
    """Where an adapter's tensors come from."""

    def read(self, name: str) -> torch.Tensor:
        """Return one tensor."""


Blocks = Callable[[], Iterable["torch.Tensor"]]


@dataclass(frozen=True)
class Term:
    """One adapter's change of one tensor, and how much it counts."""

    change: Change
    adapter: Readable
    weight: float = 1.0


Sums = Sequence[Sequence[Term]]


def changed_blocks(spec: TensorSpec, blocks: Blocks, sums: Sums) -> Iterator[torch.Tensor]:
    """Yield a tensor's consecutive blocks of rows with all changes made, in the type of `spec`.

    Each sum is `W + sum of weight * (what the adapter makes of W - W)`; the next sum starts from
    what the one before made.

    Args:
        spec: the tensor that comes out.
        blocks: gives its unchanged blocks, as often as it is called; they are written over.
        sums: the changes.

    Raises:
        InputError: a result is not a number, or does not fit into the type.
    """
    import torch

    dtype = torch.float64 if spec.dtype == "F64" else torch.float32
    steps: list[_Step] = []
    for terms in sums:  # a sum may need another look at all rows that the sums before it made
        before = _Before(spec, blocks, tuple(steps), dtype)
        steps.append(_step(terms, before))
    yield from _run(spec, blocks, steps, dtype)


_Step = Callable[["torch.Tensor", int], "torch.Tensor"]  # (rows [R, D], number of the first) -> new


@dataclass(frozen=True)
class _Before:
    """The tensor as a sum finds it."""

    spec: TensorSpec
    blocks: Blocks
    steps: tuple[_Step, ...]
    dtype: torch.dtype

    def chunks(self) -> Iterator[tuple[int, torch.Tensor]]:
        """Yield all rows in order, with the number of the first of each chunk."""
        start = 0
        for block in self.blocks():
            for chunk in _chunks(block):
                rows = chunk.to(self.dtype, copy=True)
                for step in self.steps:
                    rows = step(rows, start)
                yield start, rows
                start += len(chunk)


def _run(
    spec: TensorSpec, blocks: Blocks, steps: Sequence[_Step], dtype: torch.dtype
) -> Iterator[torch.Tensor]:
    import torch

    wanted = torch_dtype(spec.dtype)
    scratch = torch.empty(0, dtype=dtype)  # kept: new memory for each chunk took half of the speed
    start = 0
    for block in blocks():
        result = block if block.dtype == wanted else torch.empty(block.shape, dtype=wanted)
        for chunk, out in zip(_chunks(block), _chunks(result), strict=True):
            if len(scratch) < len(chunk):
                scratch = torch.empty(chunk.shape, dtype=dtype)
            rows = scratch[: len(chunk)].copy_(chunk)
            for step in steps:
                rows = step(rows, start)
            _check_finite(spec, rows, wanted)
            out.copy_(rows)
            start += len(chunk)
        yield result


def _chunks(block: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield views of a few rows; never one row alone, whose product would be rounded otherwise."""
    row_bytes = 4 * max(1, math.prod(block.shape[1:]))
    count = max(16, CHUNK_BYTES // row_bytes // 16 * 16)
    start = 0
    while start < len(block):
        end = start + count if start + count + 16 < len(block) else len(block)
        yield block[start:end]
        start = end


def _check_finite(spec: TensorSpec, rows: torch.Tensor, dtype: torch.dtype) -> None:
    import torch

    if not rows.numel():
        return
    lowest, highest = (float(value) for value in torch.aminmax(rows))
    limit = torch.finfo(dtype).max
    if -limit <= lowest and highest <= limit:  # False for NaN too
        return
    largest = max(-lowest, highest)
    if math.isfinite(largest):
        raise InputError(
            f"the merged {spec.name!r} does not fit into {spec.dtype}: it has {largest:.3g}",
            why=f"{spec.dtype} ends at {limit:.3g}",
            fix="convert the base to bfloat16 or float32 first: hanlin weights convert",
        )
    raise InputError(
        f"the merged {spec.name!r} is not finite",
        why="the base's tensor holds NaN or infinite values, or the sum became infinite",
        fix="look for damage with hanlin weights verify BASE, and download the base again",
    )


def _step(terms: Sequence[Term], before: _Before) -> _Step:
    parts = [_part(term, before) for term in terms]
    if len(parts) == 1 or not any(_rescales(term) for term in terms):
        return lambda rows, start: _one_after_another(parts, rows, start)

    def together(rows: torch.Tensor, start: int) -> torch.Tensor:
        """Measure every change from the same rows: DoRA's depends on what it finds."""
        total = rows.clone()
        for part in parts:
            total += part(rows.clone(), start) - rows
        return total

    return together


def _one_after_another(parts: Sequence[_Step], rows: torch.Tensor, start: int) -> torch.Tensor:
    for part in parts:
        rows = part(rows, start)
    return rows


def _rescales(term: Term) -> bool:
    return isinstance(term.change, LowRank) and term.change.magnitude is not None


def _part(term: Term, before: _Before) -> _Step:
    change, adapter, dtype = term.change, term.adapter, before.dtype
    if isinstance(change, LowRank):
        if change.magnitude is None:
            delta = _delta(change, adapter, change.scale * term.weight, dtype)
            return lambda rows, start: rows.add_(delta(start, len(rows)))
        return _dora(change, term, before)
    if isinstance(change, Rows):
        return _row_writer(change, term, dtype)
    assert isinstance(change, Added), change  # a whole tensor is a source, not a term
    added = adapter.read(change.name).to(dtype) * (change.scale * term.weight)
    return lambda rows, start: rows.add_(added[start : start + len(rows)])


def _delta(
    change: LowRank, adapter: Readable, scale: float, dtype: torch.dtype
) -> Callable[[int, int], torch.Tensor]:
    """Return a function for `scale * B @ A` of some rows."""
    import torch

    a, b = adapter.read(change.a).to(dtype), adapter.read(change.b).to(dtype)
    if math.frexp(scale)[0] in (0.5, -0.5):  # a power of two: the same bits, and A is smaller
        a, scale = a * scale, 1.0

    def delta(start: int, count: int) -> torch.Tensor:
        end = start + count
        product = torch.mm(b, a[:, start:end]).T if change.is_transposed else b[start:end] @ a
        return product if scale == 1.0 else product.mul_(scale)

    return delta


def _dora(change: LowRank, term: Term, before: _Before) -> _Step:
    """Return W + delta with each row brought to its learned length (each column, transposed)."""
    import torch

    assert change.magnitude is not None
    delta = _delta(change, term.adapter, change.scale, before.dtype)
    lengths_O = term.adapter.read(change.magnitude).to(before.dtype).reshape(-1)
    factors_D = lengths_O / _column_norms(before, delta) if change.is_transposed else None

    def part(rows: torch.Tensor, start: int) -> torch.Tensor:
        change_RD = delta(start, len(rows))
        moved = rows.add_(change_RD) if term.weight == 1.0 else rows + change_RD
        if factors_D is not None:
            merged = moved.mul_(factors_D)
        else:
            norms_R = torch.linalg.norm(moved, dim=1)
            merged = moved.mul_((lengths_O[start : start + len(rows)] / norms_R)[:, None])
        return merged if term.weight == 1.0 else torch.lerp(rows, merged, term.weight)

    return part


def _column_norms(before: _Before, delta: Callable[[int, int], torch.Tensor]) -> torch.Tensor:
    """Return the lengths of the columns of W + delta, over all rows."""
    import torch

    squares_D: torch.Tensor | float = 0.0
    for start, rows in before.chunks():
        squares_D = squares_D + (rows + delta(start, len(rows))).double().square().sum(0)
    return torch.as_tensor(squares_D).sqrt().to(before.dtype)


def _row_writer(change: Rows, term: Term, dtype: torch.dtype) -> _Step:
    import torch

    new = term.adapter.read(change.name).to(dtype)
    indices = torch.tensor(change.indices, dtype=torch.long)

    def part(rows: torch.Tensor, start: int) -> torch.Tensor:
        is_here = (indices >= start) & (indices < start + len(rows))
        here = indices[is_here] - start
        rows[here] = torch.lerp(rows[here], new[is_here], term.weight)  # exact for a weight of 1
        return rows

    return part
