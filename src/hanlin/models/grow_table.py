"""How is a table of embeddings grown, without ever being in memory?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hanlin.core.errors import InputError
from hanlin.models.row_init import TWIN_NOISE, Recipe

if TYPE_CHECKING:
    import torch

# V rows of the old table, N new rows, E old rows that they name in all, D width
CHUNK_BYTES = 64 << 20  # of new rows in float32 that are made at once
STEP_BYTES = 16 << 20  # of old rows in float32 that are added up at once

Blocks = Callable[[], Iterable["torch.Tensor"]]


@dataclass(frozen=True)
class Table:
    """An old table, read as often as it is needed.

    Attributes:
        name: for messages.
        blocks: gives its rows from the start, as consecutive blocks, each time it is called.
        known: entries of the old tokenizer; there may be more rows, unused ones.
    """

    name: str
    blocks: Blocks
    known: int


def grow_table(table: Table, recipe: Recipe, *, rows: int, seed: int = 0) -> Iterator[torch.Tensor]:
    """Yield the grown table [rows, D] as consecutive blocks of rows, in the old type.

    Rows of known entries keep every bit, and so do unused ones behind the new ones. What is then
    missing is the mean of all rows with a little noise. No row is zero: as a row of an lm_head it
    would never learn.

    Args:
        table: the old one.
        recipe: how the new rows are made.
        rows: of the new table; at least as many as the old one has, and the new entries need.
        seed: of the noise.

    Raises:
        InputError: the old rows are all zero, or some are not numbers.
    """
    import torch

    statistics = _statistics(table)
    generator = torch.Generator().manual_seed(seed)
    end = table.known + len(recipe)
    at = 0
    for block in table.blocks():
        if at < table.known:
            yield block[: table.known - at]
        at += len(block)
    yield from _new_rows(table, recipe, statistics, generator)
    old_rows, at = at, 0
    for block in table.blocks() if old_rows > end else ():
        if at + len(block) > end:
            yield block[max(0, end - at) :]
        at += len(block)
    padding = Recipe.of_nothing(rows - max(end, old_rows), noise=TWIN_NOISE)
    yield from _new_rows(table, padding, statistics, generator)


@dataclass(frozen=True)
class _Statistics:
    """Mean and standard deviation of the old rows in each of the D places, and their type."""

    center_D: torch.Tensor
    spread_D: torch.Tensor
    dtype: torch.dtype


def _known_rows(table: Table) -> Iterator[torch.Tensor]:
    """Yield the rows of known entries, in float32, some at a time."""
    at = 0
    for block in table.blocks():
        own = block[: max(0, table.known - at)]
        at += len(block)
        step = max(1, STEP_BYTES // (4 * own[:1].numel() or 1))
        for first in range(0, len(own), step):
            yield own[first : first + step].float()


def _statistics(table: Table) -> _Statistics:
    import torch

    count, sum_D, squares_D = 0, torch.zeros((), dtype=torch.float64), torch.zeros(())
    dtype = next(iter(table.blocks())).dtype
    for rows_VD in _known_rows(table):
        wide_VD = rows_VD.double()
        count += len(rows_VD)
        sum_D = sum_D + wide_VD.sum(0)
        squares_D = squares_D + wide_VD.square().sum(0)
    if not bool(torch.isfinite(squares_D).all()):
        raise InputError(
            f"{table.name} holds values that are not numbers (NaN or infinite)",
            why="new rows are made of old ones and would not be numbers either",
            fix="check the model with hanlin weights verify, and download or copy it again",
        )
    if not bool(squares_D.any()):
        raise InputError(
            f"{table.name} holds nothing but zeros",
            why="new rows are made of old ones: they would be zero too, and never learn",
            fix="give the model's own weights; an empty checkpoint cannot be grown",
        )
    center_D = sum_D / count
    variance_D = (squares_D - count * center_D.square()) / max(1, count - 1)
    spread_D = variance_D.clamp(min=0).sqrt() if count > 1 else center_D.abs()
    return _Statistics(center_D.float(), spread_D.float(), dtype)


def _new_rows(
    table: Table, recipe: Recipe, statistics: _Statistics, generator: torch.Generator
) -> Iterator[torch.Tensor]:
    """Yield the new rows; the old table is read once for each chunk of them."""
    import torch

    width = len(statistics.center_D)
    chunk = max(1, CHUNK_BYTES // (4 * width))
    for first in range(0, len(recipe), chunk):
        part = recipe.rows(first, min(first + chunk, len(recipe)))
        rows_ND = _summed(table, part, width)
        noise_ND = torch.randn(rows_ND.shape, generator=generator) * statistics.spread_D
        lengths_N = part.starts.diff()
        rows_ND[lengths_N == 0] = statistics.center_D
        is_zero_N = (rows_ND == 0).all(1)
        rows_ND[is_zero_N] = statistics.center_D
        share_N = part.noise.clamp(min=TWIN_NOISE * is_zero_N.float())
        rows_ND += share_N[:, None] * noise_ND
        made_ND = rows_ND.to(statistics.dtype)
        if not bool((made_ND != 0).any(1).all()):
            raise InputError(
                f"{table.name}: a new row would be zero in {statistics.dtype}",
                why="the old rows are too small for this type; a row of zeros would never learn",
                fix="convert the model to float32 first",
            )
        yield made_ND


def _summed(table: Table, recipe: Recipe, width: int) -> torch.Tensor:
    """Return [N, D]: the weighted sums of old rows, in float32."""
    import torch

    rows_ND = torch.zeros(len(recipe), width)
    if not len(recipe.ids):
        return rows_ND
    ids_E, order_E = recipe.ids.sort(stable=True)
    owners_E = torch.arange(len(recipe)).repeat_interleave(recipe.starts.diff())[order_E]
    weights_E = recipe.weights[order_E]
    at, step = 0, max(1, STEP_BYTES // (4 * width))
    for block in table.blocks():
        begin, end = torch.searchsorted(ids_E, torch.tensor([at, at + len(block)])).tolist()
        for first in range(begin, end, step):
            part = slice(first, min(first + step, end))
            old_ED = block[ids_E[part] - at].float() * weights_E[part, None]
            rows_ND.index_add_(0, owners_E[part], old_ED)
        at += len(block)
    return rows_ND
