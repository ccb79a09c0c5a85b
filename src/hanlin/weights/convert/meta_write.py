"""How is a checkpoint written in Meta's layout, cut into parts for 1, 2, 4 or 8 GPUs?

All parts are written at once while every tensor is read once, block by block; what is written is
noted about every gigabyte, and an interrupted run goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hanlin.core.errors import InputError
from hanlin.core.extras import require
from hanlin.core.files import os_error, read_json, write_json
from hanlin.core.meter import Progress
from hanlin.models.grow_checks import EMBEDDINGS, LM_HEAD
from hanlin.models.tensor_writer import check_space
from hanlin.models.tensors import FLOATS, TensorSpec, raw_bytes, torch_dtype
from hanlin.weights.convert.meta import (
    FREQUENCIES,
    IN_LAYERS,
    IN_MODEL,
    PARAMS,
    cut_dimension,
    shard_name,
)
from hanlin.weights.convert.source import CONFIG, Source
from hanlin.weights.convert.torch_zip import TorchFile
from hanlin.weights.llama import (
    Llama,
    check_shapes,
    is_rotated,
    llama_of_config,
    meta_name,
    params_of_llama,
    to_neighbors,
)

if TYPE_CHECKING:
    import torch

JOURNAL = ".journal.json"
BYTES_BETWEEN_NOTES = 1_000_000_000
OLD_BUFFER = "rotary_emb.inv_freq"  # old checkpoints of transformers hold it; it is no weight


def meta_model(source: Source, *, shards: int) -> Llama:
    """Return the settings of a checkpoint that can be cut into so many parts.

    Raises:
        InputError: it is no plain LLaMA in float, a tensor is missing, unknown or of another
            shape, or heads or widths cannot be divided.
    """
    model = llama_of_config(source.config, name=str(source.path / CONFIG))
    _check_tensors(source, model)
    counts = {
        "attention heads": model.heads, "key and value heads": model.kv_heads,
        "columns (hidden_size)": model.hidden_size, "rows of the vocabulary": model.vocab_size,
        "columns of the feed-forward layer": model.intermediate_size,
    }  # fmt: skip
    for what, count in counts.items():
        if count % shards:
            fits = [n for n in (1, 2, 4, 8) if not any(c % n for c in counts.values())]
            raise InputError(
                f"{source.path}: {count} {what} cannot be cut into {shards} equal parts",
                why="every shard of Meta's layout holds whole heads and equal widths",
                fix=f"use --shards {' or '.join(map(str, fits))}",
            )
    return model


def _check_tensors(source: Source, model: Llama) -> None:
    specs = {name: spec for name, spec in source.specs.items() if not name.endswith(OLD_BUFFER)}
    if model.is_tied:
        specs.pop(LM_HEAD, None)  # transformers does not use it
    check_shapes(specs, model, where=str(source.path))
    for spec in specs.values():
        if spec.dtype not in FLOATS:
            raise InputError(
                f"{source.path}: the tensor {spec.name!r} has the type {spec.dtype}",
                why="Meta's layout holds float weights",
                fix="give the model before it was quantized",
            )


def write_meta(
    folder: Path, source: Source, model: Llama, *, shards: int, progress: Progress
) -> None:
    """Write `params.json` and `consolidated.NN.pth`, going on where an interrupted run ended.

    Args:
        folder: the folder, empty or with what the interrupted run left.
        source: a LLaMA.
        model: its settings, from `meta_model`.
        shards: number of files.
        progress: called with (tensors done, tensors in all, name).

    Raises:
        InputError: the source is damaged.
        ResourceError: the disk is full or the folder cannot be written.
    """
    targets = _targets(source, model)
    specs = [_part(target, shards) for target in targets]
    done = _noted(folder, shards)
    left = sum(spec.size_bytes for spec in specs if spec.name not in done[0])
    check_space(folder, shards * left)
    try:
        with ExitStack() as stack:
            files = [
                stack.enter_context(
                    closing(TorchFile(folder / shard_name(i), specs, checksums=checksums))
                )
                for i, checksums in enumerate(done)
            ]
            _write_all(folder, files, targets, progress=progress)
            for file in files:
                file.finish()
    except OSError as error:
        raise os_error(error, folder) from error
    write_json(folder / PARAMS, params_of_llama(model))
    (folder / JOURNAL).unlink(missing_ok=True)


@dataclass(frozen=True)
class _Target:
    """A tensor by Meta's name, where its blocks of rows come from, and along what it is cut."""

    spec: TensorSpec
    blocks: Callable[[], Iterator[torch.Tensor]]
    dimension: int | None


def _targets(source: Source, model: Llama) -> list[_Target]:
    """Return the tensors to write, in the order of the files."""
    origins = {name: name for name in model.shapes()}
    if model.is_tied:
        origins[LM_HEAD] = EMBEDDINGS  # Meta's code has no tied heads
    found = []
    for name, origin in origins.items():
        spec = replace(source.specs[origin], name=meta_name(name))
        cut = cut_dimension(spec.name, theta=model.theta)
        found.append(_Target(spec, _reader(source, origin, model), cut))
    return found + _frequencies(source, model)


def _reader(source: Source, name: str, model: Llama) -> Callable[[], Iterator[torch.Tensor]]:
    if is_rotated(name):
        return lambda: to_neighbors(source.blocks(name), model.head_size)
    return lambda: source.blocks(name)


def _frequencies(source: Source, model: Llama) -> list[_Target]:
    """Return the rotary frequencies, where the files that the model comes from held them."""
    torch = require("torch", extra="train", purpose="converting weights")
    names = {
        IN_MODEL: [FREQUENCIES],
        IN_LAYERS: [
            f"layers.{i}.attention.inner_attention.{FREQUENCIES}" for i in range(model.layers)
        ],
    }.get(source.rope_freqs or "", [])
    steps = torch.arange(0, model.head_size, 2).float() / model.head_size
    dtype = source.specs[EMBEDDINGS].dtype
    values = (1.0 / model.theta**steps).to(torch_dtype(dtype))
    return [
        _Target(TensorSpec(name, dtype, tuple(values.shape)), lambda: iter([values]), None)
        for name in names
    ]


def _part(target: _Target, shards: int) -> TensorSpec:
    """Return what one file holds of a tensor."""
    shape = list(target.spec.shape)
    if target.dimension is not None:
        shape[target.dimension] //= shards
    return replace(target.spec, shape=tuple(shape))


def _noted(folder: Path, shards: int) -> list[dict[str, int]]:
    """Return for each file the tensors that an interrupted run wrote, with their checksums."""
    is_there = all((folder / shard_name(i)).is_file() for i in range(shards))
    if not is_there or not (folder / JOURNAL).is_file():
        return [{} for _ in range(shards)]
    noted: list[dict[str, int]] = read_json(folder / JOURNAL)
    return noted


def _write_all(
    folder: Path, files: Sequence[TorchFile], targets: Sequence[_Target], *, progress: Progress
) -> None:
    unnoted = 0
    for done, target in enumerate(targets, start=1):
        if target.spec.name not in files[0].checksums:
            _write_one(files, target)
            unnoted += target.spec.size_bytes
        if unnoted >= BYTES_BETWEEN_NOTES:
            for file in files:
                file.sync()
            write_json(folder / JOURNAL, [file.checksums for file in files])
            unnoted = 0
        progress(done, len(targets), target.spec.name)


def _write_one(files: Sequence[TorchFile], target: _Target) -> None:
    """Write a tensor's parts into all files."""
    for file in files:
        file.begin(target.spec.name)
    rows_each, row = target.spec.shape[0] // len(files), 0
    for block in target.blocks():
        if target.dimension is None:
            for file in files:
                file.write(raw_bytes(block))
        elif target.dimension == 1:
            for file, part in zip(files, block.chunk(len(files), dim=1), strict=True):
                file.write(raw_bytes(part))
        else:
            end = row + len(block)
            for number in range(row // rows_each, -(-end // rows_each)):
                first, last = number * rows_each, (number + 1) * rows_each
                files[number].write(raw_bytes(block[max(first, row) - row : last - row]))
            row = end
