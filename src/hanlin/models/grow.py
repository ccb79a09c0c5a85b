"""How does a model get rows for the pieces that its tokenizer was extended by? (stage `grow`).

hanlin model grow MODEL --tokenizer EXTENDED --out GROWN
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hanlin.core.config import InputPath, ModelPath
from hanlin.core.errors import InputError
from hanlin.core.extras import require
from hanlin.core.files import read_json, size_bytes, write_json
from hanlin.core.stage import Estimate, Stage, StageConfig, StageContext
from hanlin.models import manifest
from hanlin.models.info import describe
from hanlin.models.load import check_rows, model_folder
from hanlin.models.save import disk_errors
from hanlin.tokenization.load import Tokenizer, load

if TYPE_CHECKING:
    import torch

# V rows of the old table, W of the new one, D width
ROW_TENSORS = ("model.embed_tokens.weight", "lm_head.weight")
TWIN_NOISE = 0.01  # of the table's standard deviation: enough to tell twins apart, no more
Init = Literal["mean", "random"]


class Config(StageConfig):
    """Config of the stage `grow`."""

    model: ModelPath
    """The model that gets the rows: a folder or a hub id."""
    tokenizer: InputPath
    """An extension of the model's own tokenizer."""
    init: Init = "mean"
    """New rows: "mean" of the rows of the old tokens that the piece was written with, or "random"
    with the mean and the standard deviation of the old rows."""


def run(config: Config, context: StageContext) -> None:
    """Write the grown model folder; the old rows keep every bit, all other tensors too."""
    seed = context.stream("rows")
    grow(config.model, config.tokenizer, out=context.out / "model", init=config.init, seed=seed)


def grow(
    model: str | Path, tokenizer: str | Path, *, out: Path, init: Init = "mean", seed: int = 0
) -> Path:
    """Write a copy of a model with a row for every entry of an extended tokenizer.

    Works on one weight file at a time and keeps the stored dtype; the model is never built.

    Args:
        model: a folder or a hub id.
        tokenizer: a folder whose first entries are those of the model's tokenizer.
        out: the new model folder.
        init: how new rows are made; see `Config.init`.
        seed: of random rows, and of what tells equal rows apart.

    Raises:
        InputError: no model, another tokenizer, or fewer rows than the old tokenizer has entries.
        ResourceError: the disk is full or the folder cannot be written.
    """
    folder = model_folder(model)
    old, new = load(folder), load(tokenizer)
    manifest.check_tokenizer(folder, tokenizer_sha256=old.sha256, tokenizer_path=old.path)
    config = read_json(folder / "config.json")
    info = describe(config, name=str(folder / "config.json"))
    check_rows(info.vocab_size, tokenizer=old, model_path=model)
    _check_extension(old, new)
    parts = old_parts(old, new)
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        _write_weights(folder, out, known=old.vocab_size, parts=parts, init=init, seed=seed)
    config["vocab_size"] = max(info.vocab_size, new.vocab_size)
    write_json(out / "config.json", config)
    if (folder / "generation_config.json").exists():
        write_json(out / "generation_config.json", read_json(folder / "generation_config.json"))
    new.save(out)
    manifest.write_manifest(out, tokenizer_sha256=new.sha256, base_vocab_size=old.vocab_size)
    return out


def old_parts(old: Tokenizer, new: Tokenizer) -> list[list[int]]:
    """Return for every new entry the old ids that its text was written with so far."""
    texts = [new.bytes_of(index) for index in range(old.vocab_size, new.vocab_size)]
    return [old.encode(text.decode("utf-8", "replace"), at_start=False) for text in texts]


def grow_rows(
    rows_VD: torch.Tensor,
    *,
    known: int,
    parts: Sequence[Sequence[int]],
    init: Init = "mean",
    seed: int = 0,
) -> torch.Tensor:
    """Return the table [W, D] with rows `known` to `known + len(parts)` made anew.

    Rows before `known` keep every bit; rows behind the new ones (padding) stay as well.

    Args:
        rows_VD: the old table, in any float dtype.
        known: entries of the old tokenizer; the table may have more rows, unused ones.
        parts: for every new entry the old ids it is made of; where there are none, or their mean
            is zero, the mean of all rows stands in: a row of zeros would never get a gradient
            as an lm_head.
        init: "mean" or "random".
        seed: of the noise.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    old_VD = rows_VD[:known].float()
    center_D, spread_D = old_VD.mean(0), old_VD.std(0) if known > 1 else old_VD.abs().mean(0)
    noise_ND = torch.randn(len(parts), rows_VD.shape[1], generator=generator) * spread_D
    if init == "random":
        new_ND = center_D + noise_ND
    else:
        new_ND = torch.stack([old_VD[list(ids)].mean(0) if ids else center_D for ids in parts])
        is_zero_N = (new_ND == 0).all(1)
        new_ND[is_zero_N] = center_D
        new_ND[twins(parts) | is_zero_N] += TWIN_NOISE * noise_ND[twins(parts) | is_zero_N]
    behind = rows_VD[known + len(parts) :]
    return torch.cat([rows_VD[:known], new_ND.to(rows_VD.dtype), behind]).contiguous()


def twins(parts: Sequence[Sequence[int]]) -> torch.Tensor:
    """Return [N] bool: entries made of the same old ids as another, whose means would be equal."""
    import torch

    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for index, ids in enumerate(parts):
        groups[tuple(sorted(ids))].append(index)
    has_twin = torch.zeros(len(parts), dtype=torch.bool)
    for members in groups.values():
        has_twin[members] = len(members) > 1
    return has_twin


def _check_extension(old: Tokenizer, new: Tokenizer) -> None:
    """Refuse a tokenizer that adds nothing, or whose first entries are not those of the old one."""
    count = min(old.vocab_size, new.vocab_size)
    same = (old.bytes_of(i) == new.bytes_of(i) for i in range(count))
    moved = next((index for index, is_same in enumerate(same) if not is_same), None)
    if new.vocab_size == old.vocab_size and moved is None:
        raise InputError(
            f"the tokenizer in {new.path} adds no piece to the one in {old.path}",
            why="both have the same entries: there is no row to grow",
            fix="take the model as it is, or give an extended tokenizer",
        )
    if new.vocab_size > old.vocab_size and moved is None:
        return
    what = (
        f"id {moved} is {old.piece_of(moved)!r} there and {new.piece_of(moved)!r} here"
        if (moved is not None)
        else f"it has {new.vocab_size} entries, the old one {old.vocab_size}"
    )
    raise InputError(
        f"the tokenizer in {new.path} does not extend the one in {old.path}",
        why=f"{what}; rows would stand for other pieces than they learned",
        fix=f"hanlin tokenizer extend {old.path} --corpus FILE --add N --out DIR",
    )


def _write_weights(
    folder: Path,
    out: Path,
    *,
    known: int,
    parts: Sequence[Sequence[int]],
    init: Init,
    seed: int,
) -> None:
    """Copy every weight file, with the two tables grown, and mend the index."""
    safetensors = require("safetensors.torch", extra="train", purpose="growing a model")
    grown_bytes, found = 0, False
    for file in sorted(folder.glob("*.safetensors")):
        tensors = _read_tensors(file)
        for name in ROW_TENSORS:
            if name in tensors:
                found = True
                table = grow_rows(tensors[name], known=known, parts=parts, init=init, seed=seed)
                grown_bytes += table.nbytes - tensors[name].nbytes
                tensors[name] = table
        safetensors.save_file(tensors, str(out / file.name), metadata={"format": "pt"})
    if not found:
        raise InputError(
            f"{folder} holds no tensor named {ROW_TENSORS[0]!r}",
            why="the names of its tensors are not those of a LLaMA in the Hugging Face layout",
            fix="convert the checkpoint to that layout first",
        )
    index = folder / "model.safetensors.index.json"
    if index.exists():
        content: dict[str, Any] = json.loads(index.read_text(encoding="utf-8"))
        sizes = content.setdefault("metadata", {})
        sizes["total_size"] = sizes.get("total_size", 0) + grown_bytes
        write_json(out / index.name, content)


def _read_tensors(file: Path) -> dict[str, torch.Tensor]:
    safetensors = require("safetensors.torch", extra="train", purpose="growing a model")
    try:
        return safetensors.load_file(str(file))
    except Exception as error:  # SafetensorError is no public name in every version
        raise InputError(
            f"{file} is no readable safetensors file",
            why=next(iter(str(error).splitlines()), ""),
            fix="copy or download the model again",
        ) from error


def estimate(config: Config) -> Estimate:
    """Estimate from the size of the weights: read and written once."""
    folder = Path(config.model)
    if not folder.is_dir():
        return Estimate()
    weights = [size_bytes(file) for file in folder.glob("*.safetensors")]
    return Estimate(
        disk_bytes=int(sum(weights) * 1.2),
        memory_bytes=400_000_000 + int(max(weights, default=0) * 2.5),
        seconds=5 + sum(weights) / 2e8,
    )


STAGE = Stage(
    summary="Give a model rows for the pieces its tokenizer was extended by.",
    config=Config,
    run=run,
    outputs={"model": ("model", "model")},
    estimate=estimate,
)
