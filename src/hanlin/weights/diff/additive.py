"""How is a model recovered from an additive diff, as Alpaca, Vicuna and KnowLM published them?

Such a diff is a checkpoint of its own, tuned - base, and recovered = diff + base in the diff's
type. The sum is rounded: what comes out need not be the tuned model bit by bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hanlin.core.errors import InputError
from hanlin.core.files import resumable_directory, work_key
from hanlin.core.meter import Progress
from hanlin.models.grow_checks import EMBEDDINGS, LM_HEAD
from hanlin.models.tensor_blocks import block_rows
from hanlin.models.tensors import (
    DEFAULT_SHARD_BYTES,
    FLOATS,
    Checkpoint,
    TensorSpec,
    open_checkpoint,
    torch_dtype,
    write_checkpoint,
)
from hanlin.weights.diff.inputs import Weights, copy_files

if TYPE_CHECKING:
    import torch

# The sum of all values of a recovered model, as the authors' own scripts check it.
PUBLISHED_SUMS = {
    # https://github.com/zjunlp/KnowLM/blob/main/tools/weight_diff.py
    "ZhiXi-13B in float32": 94052.2891,
    "ZhiXi-13B in float16": 94046.1875,
    # https://github.com/tatsu-lab/stanford_alpaca/blob/main/weight_diff.py
    "Alpaca-7B": 50637.1836,
}
# Their scripts add some 400 sums in float32, where one step is 0.008 at 94,052; other bases and
# damaged files are off by far more.
SUM_TOLERANCE = 0.1
BLOCK_BYTES = 8 << 20
INV_FREQ = "rotary_emb.inv_freq"  # stored by transformers before 4.32; follows from the config
FINAL_NORM = "model.norm.weight"

NewRows = Literal["mean", "zero"]


@dataclass(frozen=True)
class Options:
    """How a model is to be recovered.

    Attributes:
        max_shard_bytes: size of a file of weights.
        new_rows: additive diffs: "mean" or "zero", what the base's rows are continued with.
        expect_sum: additive diffs: refuse a result with another sum of all values.
    """

    max_shard_bytes: int = DEFAULT_SHARD_BYTES
    new_rows: NewRows | None = None
    expect_sum: float | None = None


@dataclass(frozen=True)
class AdditiveRecovery:
    """What was recovered.

    Attributes:
        tensors: number of tensors.
        size_bytes: of all tensors.
        check_sum: of all values, added in float64.
        published: the model whose published sum that is, None for any other.
        unused: the base's tensors that the diff does not have.
        files: the diff's other files, which go along.
    """

    tensors: int
    size_bytes: int
    check_sum: float
    published: str | None
    unused: tuple[str, ...]
    files: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """Return plain values."""
        values = {"kind": "additive", **asdict(self)}
        return values if math.isfinite(self.check_sum) else values | {"check_sum": None}


def recover_additive(
    base: Weights,
    diff: Weights,
    out: Path,
    options: Options,
    *,
    force: bool = False,
    progress: Progress = lambda _done, _total, _text: None,
) -> AdditiveRecovery:
    """Write diff + base in the diff's type, block by block, and add up all values.

    Args:
        base: the model that the diff was made from; it is cast to the diff's type first.
        diff: the checkpoint with the differences.
        out: the folder to make.
        options: sizes, and what the diff does not say itself.
        force: replace what is at `out`.
        progress: of `write_checkpoint`.

    Raises:
        InputError: base and diff do not belong together, the sum is another, or `out` exists.
        ResourceError: the disk is full or the folder cannot be written.
    """
    addition = _Addition(base, diff, options.new_rows)
    specs = list(diff.checkpoint.specs.values())
    carried, _ = diff.other_files()
    settings = ("additive", options.new_rows, options.max_shard_bytes)
    key = work_key(*settings, files=[*base.paths(), *diff.paths()])
    inputs = [*base.inputs(), *diff.inputs()]
    with resumable_directory(out, key=key, force=force, inputs=inputs) as folder:
        write_checkpoint(
            folder, specs, addition.blocks,
            max_shard_bytes=options.max_shard_bytes, progress=progress,
        )  # fmt: skip
        check_sum = addition.check_sum(open_checkpoint(folder))
        if options.expect_sum is not None:
            _require_sum(check_sum, options.expect_sum, diff=diff.name)
        copy_files(carried, diff.checkpoint.folder, folder)
    close = (n for n, value in PUBLISHED_SUMS.items() if abs(value - check_sum) <= SUM_TOLERANCE)
    return AdditiveRecovery(
        tensors=len(specs),
        size_bytes=diff.checkpoint.size_bytes,
        check_sum=check_sum,
        published=next(close, None),
        unused=tuple(sorted(base.checkpoint.specs.keys() - diff.checkpoint.specs.keys())),
        files=tuple(carried),
    )


def _require_sum(found: float, expected: float, *, diff: str) -> None:
    if abs(found - expected) <= SUM_TOLERANCE:
        return
    raise InputError(
        f"the values of {diff} + base add up to {found:.4f}, not to {expected:.4f}",
        why="a file is damaged, or it is another base than the diff was made from",
        fix="give the base that the diff's authors name, converted as they say; "
        "or leave --expect-sum out",
    )


class _Addition:
    """A base and a diff that fit together."""

    def __init__(self, base: Weights, diff: Weights, new_rows: NewRows | None) -> None:
        """Compare names, types and shapes.

        Raises:
            InputError: something does not fit.
        """
        self._base, self._diff, self._new_rows = base, diff, new_rows
        self._sums: dict[str, float] = {}
        for spec in diff.checkpoint.specs.values():
            self._check_fit(spec, self._origin(spec))
        self._refuse_model()

    def blocks(self, spec: TensorSpec) -> Iterator[torch.Tensor]:
        """Yield a recovered tensor in blocks of rows and add up its values on the way."""
        rows, total = block_rows(spec, BLOCK_BYTES), 0.0
        differences = self._diff.checkpoint.blocks(spec.name, max_bytes=BLOCK_BYTES)
        for difference, base in zip(differences, self._base_blocks(spec, rows), strict=True):
            recovered = difference + base
            total += _sum(recovered)
            yield recovered
        self._sums[spec.name] = total

    def check_sum(self, written: Checkpoint) -> float:
        """Return the sum of all values; what an interrupted run has written is read again."""
        for name in written.specs.keys() - self._sums.keys():
            self._sums[name] = sum(_sum(b) for b in written.blocks(name, max_bytes=BLOCK_BYTES))
        return math.fsum(self._sums[name] for name in sorted(self._sums))

    def _origin(self, spec: TensorSpec) -> TensorSpec | None:
        """Return the base's tensor to add; None for rotary frequencies that it does not store.

        Raises:
            InputError: there is none.
        """
        specs, name = self._base.checkpoint.specs, spec.name
        if name in specs:
            return specs[name]
        if name == LM_HEAD and EMBEDDINGS in specs:
            return specs[EMBEDDINGS]  # one matrix, stored under one name
        if name.endswith(INV_FREQ) and len(spec.shape) == 1:
            return None
        raise self._unfit(name, f"{self._base.name} has no such tensor")

    def _check_fit(self, spec: TensorSpec, origin: TensorSpec | None) -> None:
        for found in (spec, origin or spec):
            if found.dtype not in FLOATS:
                raise self._unfit(spec.name, f"one cannot add to the type {found.dtype}")
        if origin is None or origin.shape == spec.shape:
            return
        is_grown = bool(spec.shape) and origin.shape[1:] == spec.shape[1:]
        if not is_grown or origin.shape[0] > spec.shape[0]:
            shapes = f"{list(spec.shape)} in the diff, {list(origin.shape)} in the base"
            raise self._unfit(spec.name, f"it is {shapes}")
        if self._new_rows is None:
            raise InputError(
                f"{spec.name!r} has {spec.shape[0]} rows in {self._diff.name}, "
                f"{origin.shape[0]} in {self._base.name}",
                why="the diff does not say what its authors continued the base's rows with",
                fix="add --new-rows mean (Alpaca and what follows its weight_diff.py) or "
                "--new-rows zero (Vicuna and what follows FastChat's apply_delta.py)",
            )

    def _refuse_model(self) -> None:
        """Refuse a model in the place of a diff: norms are near 1, differences of norms near 0."""
        pair = [
            weights.checkpoint.read(FINAL_NORM).double().norm().item()
            for weights in (self._diff, self._base)
            if FINAL_NORM in weights.checkpoint.specs
        ]
        if len(pair) == 2 and pair[0] > pair[1] / 2:
            raise InputError(
                f"{self._diff.name} is no diff: it looks like a model itself",
                why=f"its {FINAL_NORM!r} is as large as that of {self._base.name}",
                fix="give BASE, then DIFF; make a diff with: hanlin weights diff BASE TUNED OUT",
            )

    def _base_blocks(self, spec: TensorSpec, rows: int) -> Iterator[torch.Tensor]:
        """Yield the base's tensor in the diff's type, in blocks of so many rows."""
        dtype, origin = torch_dtype(spec.dtype), self._origin(spec)
        if origin is None:
            return iter(_frequencies(spec.shape[0]).to(dtype).split(rows))
        blocks = (block.to(dtype) for block in self._blocks_of(origin, rows))
        if origin.shape == spec.shape:
            return blocks
        filler = self._new_row(origin, rows).to(dtype)
        return _continued(blocks, filler, count=spec.shape[0], rows=rows)

    def _blocks_of(self, origin: TensorSpec, rows: int) -> Iterator[torch.Tensor]:
        row_bytes = origin.size_bytes // max(1, origin.shape[0] if origin.shape else 1)
        return self._base.checkpoint.blocks(origin.name, max_bytes=rows * row_bytes)

    def _new_row(self, origin: TensorSpec, rows: int) -> torch.Tensor:
        """Return what the base's rows are continued with, in float64."""
        import torch

        total = torch.zeros(origin.shape[1:], dtype=torch.float64)
        if self._new_rows == "mean":
            for block in self._blocks_of(origin, rows):
                total += block.sum(0, dtype=torch.float64)
        return total / origin.shape[0]

    def _unfit(self, name: str, why: str) -> InputError:
        return InputError(
            f"{self._diff.name} is no diff to {self._base.name}: {name!r} does not fit",
            why=why,
            fix="give the base that the diff's authors name, in Hugging Face layout",
        )


def _continued(
    blocks: Iterator[torch.Tensor], row: torch.Tensor, *, count: int, rows: int
) -> Iterator[torch.Tensor]:
    """Yield blocks of `rows` rows, `count` rows in all; `row` stands behind the last one."""
    import torch

    for start in range(0, count, rows):
        block = next(blocks, row.expand(0, *row.shape))
        missing = min(rows, count - start) - len(block)
        yield torch.cat([block, row.expand(missing, *row.shape)])


def _frequencies(count: int) -> torch.Tensor:
    """Return the rotary frequencies of LLaMA-1, which all these diffs were made of."""
    import torch

    return 1.0 / (10_000.0 ** (torch.arange(count, dtype=torch.float32) / count))


def _sum(block: torch.Tensor) -> float:
    import torch

    return float(block.sum(dtype=torch.float64))
