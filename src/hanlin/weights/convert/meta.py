"""How is a checkpoint in Meta's layout read: params.json and consolidated.NN.pth?

Each file is the part of one GPU: matrices are cut by rows or by columns, norms are in all of them
(fairscale's ColumnParallelLinear and RowParallelLinear).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hanlin.core.errors import InputError
from hanlin.core.files import read_json
from hanlin.models.grow_checks import EMBEDDINGS, LM_HEAD
from hanlin.models.manifest import read_manifest
from hanlin.models.tensors import BLOCK_BYTES, FLOATS, Checkpoint, TensorSpec, open_checkpoint
from hanlin.weights.convert.source import MANIFEST_KEY, Source
from hanlin.weights.llama import (
    FACTOR,
    FACTOR_OF_SMALL,
    LAYER_PARTS,
    NORM,
    Llama,
    check_shapes,
    config_of_llama,
    is_rotated,
    meta_name,
    to_halves,
)

if TYPE_CHECKING:
    import torch

PARAMS = "params.json"
SHARD = re.compile(r"consolidated\.\d+\.pth")
CUT_BY_ROWS = ("wq", "wk", "wv", "w1", "w3", "output")
CUT_BY_COLUMNS = ("wo", "w2")
LLAMA_3_THETA = 500_000.0  # LLaMA-3 cuts its embeddings by rows, LLaMA-1 and 2 by columns
FREQUENCIES = "rope.freqs"  # follow from the settings; Meta's own code does not need them
IN_MODEL, IN_LAYERS = "model", "layers"  # where LLaMA-2 and LLaMA-1 have the frequencies
COPY_AGAIN = "copy or download the folder again, all files from the same place"


def shard_name(number: int) -> str:
    """Return the name of a shard's file, counted from 0."""
    return f"consolidated.{number:02d}.pth"


def shard_files(folder: Path) -> list[Path]:
    """Return the shards in a folder, in order."""
    return sorted(file for file in folder.iterdir() if SHARD.fullmatch(file.name))


def cut_dimension(name: str, *, theta: float) -> int | None:
    """Return along which dimension shards cut a tensor (by Meta's name); None: all have it."""
    part = name.split(".")[-2]
    if part == "tok_embeddings":
        return 0 if theta == LLAMA_3_THETA else 1
    if part in CUT_BY_ROWS:
        return 0
    return 1 if part in CUT_BY_COLUMNS else None


def open_meta(folder: Path, *, max_length: int | None = None) -> Source:
    """Open a folder in Meta's layout.

    Args:
        folder: with `params.json` and `consolidated.00.pth`, `consolidated.01.pth`, ...
        max_length: longest sequence, which `params.json` does not say; None: as the version of
            LLaMA has it, as far as the settings tell.

    Raises:
        InputError: a file is missing or damaged, or they do not belong together.
    """
    params, manifest = _read_params(folder), read_manifest(folder)
    own = manifest.get(MANIFEST_KEY) or {}
    parts = _Parts(folder, tuple(_open_shards(folder)), params["dim"])
    is_tied = own["is_tied"] if "is_tied" in own else parts.has_same_head()
    specs = parts.specs(with_head=not is_tied)
    rope_freqs = parts.rope_freqs()
    model = _settings(
        params,
        specs,
        is_tied=is_tied,
        max_length=max_length or own.get("max_length") or usual_length(params, rope_freqs),
    )
    check_shapes(specs, model, where=str(folder))

    def blocks(name: str) -> Iterator[torch.Tensor]:
        rows = parts.blocks(meta_name(name))
        return to_halves(rows, model.head_size) if is_rotated(name) else rows

    source = Source(
        layout="meta",
        path=folder,
        files=tuple(shard_files(folder)),
        specs={name: specs[name] for name in model.shapes()},
        blocks=blocks,
        config={},
        manifest=manifest,
        rope_freqs=rope_freqs,
    )
    return replace(source, config=config_of_llama(model, dtype=source.dtype))


def usual_length(params: dict[str, Any], rope_freqs: str | None) -> int:
    """Return the context of the version of LLaMA that the settings look like."""
    theta = params.get("rope_theta", 10_000.0)
    if params.get("use_scaled_rope"):
        return 131_072  # LLaMA-3.1 to 3.3
    if theta == LLAMA_3_THETA:
        return 8192
    if theta > 10_000.0:
        return 16_384  # Code Llama
    return 2048 if rope_freqs == IN_LAYERS else 4096  # LLaMA-1, LLaMA-2


def _read_params(folder: Path) -> dict[str, Any]:
    fix = f"copy {PARAMS} from where the .pth files came from"
    if not (folder / PARAMS).is_file():
        raise InputError(
            f"{folder} has no {PARAMS}",
            why="the numbers of heads and layers cannot be told from the tensors",
            fix=fix,
        )
    params = read_json(folder / PARAMS)
    for key in ("dim", "n_layers", "n_heads"):
        value = params.get(key) if isinstance(params, dict) else None
        if not isinstance(value, int) or value < 1:
            raise InputError(
                f"{folder / PARAMS}: {key} is {value!r}", why="it must be a number", fix=fix
            )
    if params["dim"] % params["n_heads"]:
        raise InputError(
            f"{folder / PARAMS}: {params['dim']} dim over {params['n_heads']} n_heads is no whole "
            "number",
            why="every head has the same width",
            fix=fix,
        )
    return dict(params)


def _open_shards(folder: Path) -> list[Checkpoint]:
    """Open all shards; they hold the same tensors in the same shapes."""
    files = shard_files(folder)
    for number, file in enumerate(files):
        if file.name != shard_name(number):
            raise InputError(
                f"{folder / shard_name(number)} is missing",
                why=f"the next one, {file.name}, is there",
                fix=COPY_AGAIN,
            )
    shards = [open_checkpoint(file) for file in files]
    first = _outline(shards[0])
    for file, shard in zip(files[1:], shards[1:], strict=True):
        other = _outline(shard)
        for name in sorted(first.keys() | other.keys()):
            if first.get(name) != other.get(name):
                raise InputError(
                    f"{file}: the tensor {name!r} is {other.get(name, 'missing')}; "
                    f"in {files[0].name} it is {first.get(name, 'missing')}",
                    why="all shards of a model hold the same tensors in the same shapes",
                    fix=COPY_AGAIN,
                )
    return shards


def _outline(shard: Checkpoint) -> dict[str, str]:
    return {name: f"{spec.dtype} {list(spec.shape)}" for name, spec in shard.specs.items()}


@dataclass(frozen=True)
class _Parts:
    """The shards of a folder, seen as whole tensors by Meta's names."""

    folder: Path
    shards: tuple[Checkpoint, ...]
    hidden_size: int

    def rope_freqs(self) -> str | None:
        """Return where the files hold rotary frequencies, if they do."""
        if FREQUENCIES in self.shards[0].specs:
            return IN_MODEL
        return IN_LAYERS if any(n.endswith(FREQUENCIES) for n in self.shards[0].specs) else None

    def specs(self, *, with_head: bool) -> dict[str, TensorSpec]:
        """Return the whole tensors by transformers' names, without the frequencies.

        Raises:
            InputError: one is not of a plain float LLaMA, or the shards do not belong together.
        """
        held = self.shards[0].specs
        layers = sorted({int(n.split(".")[1]) for n in held if re.match(r"layers\.\d+\.", n)})
        names = [EMBEDDINGS, NORM, LM_HEAD]
        names += [f"model.layers.{i}.{part}.weight" for i in layers for part in LAYER_PARTS]
        known = {meta_name(name): name for name in names}
        for name, spec in held.items():
            if not name.endswith(FREQUENCIES) and (name not in known or spec.dtype not in FLOATS):
                raise InputError(
                    f"{self.folder}: the tensor {name!r} ({spec.dtype}) is none of a plain LLaMA",
                    why="quantized models and models that see images have other tensors",
                    fix="give a text model in float",
                )
        self._check_count()
        self._check_copies()
        found = {known[name]: self._whole(name) for name in held if name in known}
        if not with_head:
            found.pop(LM_HEAD, None)
        return {name: replace(spec, name=name) for name, spec in found.items()}

    def blocks(self, name: str) -> Iterator[torch.Tensor]:
        """Yield a whole tensor's blocks of rows."""
        import torch

        dimension = self._dimension(name)
        if dimension is None:
            yield from self.shards[0].blocks(name)
        elif dimension == 0:
            for shard in self.shards:
                yield from shard.blocks(name)
        else:
            limit = BLOCK_BYTES // len(self.shards)
            parts = [shard.blocks(name, max_bytes=limit) for shard in self.shards]
            for row in zip(*parts, strict=True):
                yield torch.cat(row, dim=1)

    def has_same_head(self) -> bool:
        """Tell whether the head is missing, or is the embeddings once more, bit by bit."""
        embedding, head = meta_name(EMBEDDINGS), meta_name(LM_HEAD)
        if head not in self.shards[0].specs or embedding not in self.shards[0].specs:
            return True
        if self._whole(head).shape != self._whole(embedding).shape:
            return False
        return _are_equal(self.blocks(head), self.blocks(embedding))

    def _whole(self, name: str) -> TensorSpec:
        spec, dimension = self.shards[0].specs[name], self._dimension(name)
        shape = list(spec.shape)
        if dimension is not None:
            shape[dimension] *= len(self.shards)
        return replace(spec, shape=tuple(shape))

    def _dimension(self, name: str) -> int | None:
        """Return along which dimension a tensor is cut; the width of embeddings tells."""
        shape = self.shards[0].specs[name].shape
        if len(self.shards) == 1 or len(shape) < 2:
            return None
        by_rows = LLAMA_3_THETA if shape[1] == self.hidden_size else 0.0
        return cut_dimension(name, theta=by_rows)

    def _check_count(self) -> None:
        """Refuse a folder whose last shards are missing."""
        query = self.shards[0].specs.get("layers.0.attention.wq.weight")
        rows, count = query.shape[0] if query else self.hidden_size, len(self.shards)
        if rows * count < self.hidden_size:
            raise InputError(
                f"{self.folder} has {count} of {self.hidden_size // rows} shards",
                why=f"each holds {rows} of the {self.hidden_size} rows of the queries",
                fix=f"copy or download the missing {shard_name(count)} and those behind it",
            )

    def _check_copies(self) -> None:
        """Refuse shards of different models: their norms differ."""
        for name, spec in self.shards[0].specs.items():
            if len(spec.shape) != 1:
                continue
            for number, shard in enumerate(self.shards[1:], start=1):
                if not _are_equal(shard.blocks(name), self.shards[0].blocks(name)):
                    raise InputError(
                        f"{self.folder / shard_name(number)}: the tensor {name!r} has other values "
                        f"than in {shard_name(0)}",
                        why="norms are the same in all shards of a model",
                        fix=COPY_AGAIN,
                    )


def _are_equal(left: Iterator[torch.Tensor], right: Iterator[torch.Tensor]) -> bool:
    """Compare two tensors bit by bit, however they are cut into blocks of rows."""
    import torch

    one, other = next(left, None), next(right, None)
    while one is not None and other is not None:
        rows = min(len(one), len(other))
        if not torch.equal(one[:rows].view(torch.uint8), other[:rows].view(torch.uint8)):
            return False
        one = one[rows:] if rows < len(one) else next(left, None)
        other = other[rows:] if rows < len(other) else next(right, None)
    return one is None and other is None


def _settings(
    params: dict[str, Any], specs: dict[str, TensorSpec], *, is_tied: bool, max_length: int
) -> Llama:
    """Return the settings; widths that `params.json` says indirectly are taken from the tensors."""
    wide = specs.get("model.layers.0.mlp.gate_proj.weight")
    embedding = specs.get(EMBEDDINGS)
    factor = params.get("rope_scaling_factor") or (FACTOR_OF_SMALL if is_tied else FACTOR)
    return Llama(
        hidden_size=params["dim"],
        layers=params["n_layers"],
        heads=params["n_heads"],
        kv_heads=params.get("n_kv_heads") or params["n_heads"],
        intermediate_size=wide.shape[0] if wide else 0,
        vocab_size=embedding.shape[0] if embedding else 0,
        epsilon=params.get("norm_eps", 1e-5),
        theta=float(params.get("rope_theta", 10_000.0)),
        scale=float(factor) if params.get("use_scaled_rope") else None,
        max_length=max_length,
        is_tied=is_tied,
    )
