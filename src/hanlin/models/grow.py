"""How does a model get rows for the pieces that its tokenizer was extended by? (stage `grow`).

hanlin model grow MODEL --tokenizer EXTENDED --out GROWN
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from hanlin.core.config import InputPath, ModelPath
from hanlin.core.files import (
    list_files,
    read_json,
    resumable_directory,
    size_bytes,
    work_key,
    write_json,
)
from hanlin.core.meter import Progress
from hanlin.core.stage import Estimate, Stage, StageConfig, StageContext, derive_seed
from hanlin.models import manifest
from hanlin.models.grow_checks import EMBEDDINGS, LM_HEAD, check_extension, check_tables
from hanlin.models.grow_table import Table, grow_table
from hanlin.models.info import describe, read_config
from hanlin.models.load import model_folder
from hanlin.models.row_init import Init, Side, old_parts, recipe
from hanlin.models.tensors import Checkpoint, TensorSpec, open_checkpoint, write_checkpoint
from hanlin.tokenization.load import Tokenizer, load

if TYPE_CHECKING:
    import torch

SIDES: dict[str, Side] = {EMBEDDINGS: "input", LM_HEAD: "output"}


class Config(StageConfig):
    """Config of the stage `grow`."""

    model: ModelPath
    """The model that gets the rows: a folder or a hub id."""
    tokenizer: InputPath
    """An extension of the model's own tokenizer."""
    init: Init = "mean"
    """New rows: "mean" of the rows of the old tokens that the piece was written with;
    "exponential": the last of these tokens counts most in the embeddings, the first one in the
    lm_head; "global-mean" of all old rows; "random" with their mean and standard deviation."""
    pad_to_multiple: int = Field(1, ge=1)
    """Fill the rows up to a multiple of this; 64 makes matrix products on a GPU faster."""
    max_shard_gb: float = Field(5.0, gt=0)
    """Size of a file of weights, in GB; a larger model becomes several."""


def run(config: Config, context: StageContext) -> None:
    """Grow into `context.out / "model"`, anew after an interruption."""
    out = context.out / "model"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    job = _open(config)
    _grow_into(out, config, job, seed=context.stream("rows"), progress=context.progress)


def grow(
    config: Config,
    out: Path,
    *,
    seed: int = 0,
    force: bool = False,
    progress: Progress = lambda _done, _total, _text: None,
) -> Path:
    """Write a copy of a model with a row for every entry of an extended tokenizer.

    The old rows keep every bit, all other tensors too. Weights pass through memory in blocks of
    rows. What was interrupted goes on when it is called again; `out` appears when it is complete.

    Args:
        config: the model, the tokenizer, and how new rows are made.
        out: the new model folder.
        seed: of random rows, and of what tells equal rows apart.
        force: replace what is at `out`.
        progress: called with (tensors done, tensors in all, name).

    Raises:
        InputError: no model, another tokenizer, fewer rows than the old tokenizer has entries, or
            `out` exists.
        ResourceError: the disk is full or the folder cannot be written.
    """
    job = _open(config)
    files = list_files(job.folder)
    key = work_key(job.new.sha256, seed, config.model_dump(mode="json"), files=files)
    with resumable_directory(
        out, key=key, force=force, inputs=[job.folder, job.new.path]
    ) as folder:
        _grow_into(folder, config, job, seed=seed, progress=progress)
    return out


@dataclass(frozen=True)
class _Job:
    """A model and the extension of its tokenizer, found to belong together.

    Attributes:
        folder: of the model.
        checkpoint: its tensors.
        config: of its `config.json`.
        old: its own tokenizer.
        new: the extended one.
        is_tied: embeddings and lm_head are one matrix.
    """

    folder: Path
    checkpoint: Checkpoint
    config: dict[str, Any]
    old: Tokenizer
    new: Tokenizer
    is_tied: bool

    def spec(self, name: str, *, multiple: int) -> TensorSpec:
        """Return what a tensor of the grown model is."""
        spec = self.checkpoint.specs[name]
        if name not in SIDES:
            return spec
        rows = max(spec.shape[0], self.new.vocab_size)
        return replace(spec, shape=(rows + -rows % multiple, *spec.shape[1:]))


def _open(config: Config) -> _Job:
    """Open everything and refuse what does not belong together, before anything is written."""
    folder = model_folder(config.model, is_pickle_read=True)
    old, new = load(folder), load(config.tokenizer)
    content = read_config(folder)
    info = describe(content, name=str(folder / "config.json"))
    checkpoint = open_checkpoint(folder)
    check_tables(checkpoint, old, is_tied=info.is_tied)
    manifest.check_tokenizer(folder, tokenizer_sha256=old.sha256, tokenizer_path=old.path)
    check_extension(old, new)
    return _Job(folder, checkpoint, content, old, new, info.is_tied)


def _grow_into(out: Path, config: Config, job: _Job, *, seed: int, progress: Progress) -> None:
    parts = old_parts(job.old, job.new)
    specs = [job.spec(name, multiple=config.pad_to_multiple) for name in job.checkpoint.specs]

    def read(spec: TensorSpec) -> Iterable[torch.Tensor]:
        blocks = partial(job.checkpoint.blocks, spec.name)
        if spec.name not in SIDES:
            return blocks()
        table = Table(f"{job.folder}: {spec.name}", blocks, known=job.old.vocab_size)
        side: Side = "both" if job.is_tied else SIDES[spec.name]
        made = recipe(parts, config.init, side=side)
        own_seed = derive_seed(seed, "tied" if job.is_tied else spec.name)
        return grow_table(table, made, rows=spec.shape[0], seed=own_seed)

    shard_bytes = int(config.max_shard_gb * 1e9)
    write_checkpoint(out, specs, read, max_shard_bytes=shard_bytes, progress=progress)
    _write_rest(out, job, rows=next(s.shape[0] for s in specs if s.name == EMBEDDINGS))


def _write_rest(out: Path, job: _Job, *, rows: int) -> None:
    """Write both configs, the tokenizer and `hanlin.json`."""
    write_json(out / "config.json", _with_ids(job.config | {"vocab_size": rows}, job))
    generation = job.folder / "generation_config.json"
    if generation.is_file():
        write_json(out / generation.name, _with_ids(read_json(generation), job))
    job.new.save(out)
    manifest.write_manifest(
        out, tokenizer_sha256=job.new.sha256, base_vocab_size=job.old.vocab_size
    )


def _with_ids(content: dict[str, Any], job: _Job) -> dict[str, Any]:
    """Return a config whose special tokens are those of the new tokenizer.

    What its makers set otherwise stays, for example a list of end tokens.
    """
    ids = {
        key: getattr(job.new, name)
        for key, name in (("bos_token_id", "bos_id"), ("eos_token_id", "eos_id"),
                          ("pad_token_id", "pad_id"))
        if content.get(key) in (None, getattr(job.old, name))
    }  # fmt: skip
    return content | ids


def estimate(config: Config) -> Estimate:
    """Estimate from the size of the weights: read and written once, in blocks."""
    folder = Path(config.model)
    if not folder.is_dir():
        return Estimate()
    files = [*folder.glob("*.safetensors")] or [*folder.glob("pytorch_model*.bin")]
    weights = sum(map(size_bytes, files))
    return Estimate(
        disk_bytes=int(weights * 1.2),
        memory_bytes=1_200_000_000,  # torch, blocks on their way, a chunk of new rows
        seconds=5 + weights / 2e8,
    )


STAGE = Stage(
    summary="Give a model rows for the pieces its tokenizer was extended by.",
    config=Config,
    run=run,
    outputs={"model": ("model", "model")},
    estimate=estimate,
    revision=2,
)
