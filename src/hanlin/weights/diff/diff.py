"""What has to be stored so that a base model becomes a tuned one again, bit by bit?

hanlin weights diff BASE TUNED OUT
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from hanlin.core.files import resumable_directory, sha256, work_key
from hanlin.core.meter import Meter, Progress
from hanlin.models.tensor_writer import check_space
from hanlin.weights.diff.inputs import Weights, copy_files, open_weights
from hanlin.weights.diff.manifest import (
    CARRIED,
    Compression,
    DiffManifest,
    DiffTensor,
    write_manifest,
)
from hanlin.weights.diff.packing import check_compression
from hanlin.weights.diff.tensors import DiffWriter, match_origins, plan_shards


@dataclass(frozen=True)
class DiffReport:
    """What was stored.

    Attributes:
        modes: "same", "difference" and "whole" -> number of tensors.
        tuned_bytes: of all tensors of the tuned model.
        stored_bytes: of the weights in the diff.
        removed: the base's tensors that nothing is made from.
        left_out: files beside the tuned weights that are no part of the diff: other weights.
    """

    modes: dict[str, int]
    tuned_bytes: int
    stored_bytes: int
    removed: tuple[str, ...]
    left_out: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """Return plain values."""
        return asdict(self)


def make_diff(
    base: str | Path,
    tuned: str | Path,
    out: Path,
    *,
    compression: Compression = "zstd",
    force: bool = False,
    progress: Progress = lambda _done, _total, _text: None,
) -> DiffReport:
    """Write a folder that makes the tuned model from the base, bit by bit.

    Memory holds some chunks of rows. An interrupted run goes on where it was when it is called
    again; `out` appears when it is complete.

    Args:
        base: folder, file or hub id of the model that was tuned.
        tuned: folder, file or hub id of what became of it.
        out: the folder to make.
        compression: "zstd" or "none".
        force: replace what is at `out`.
        progress: called with (done, total, text); the text begins with their unit.

    Raises:
        InputError: a checkpoint is missing or damaged, or `out` exists.
        ResourceError: the disk is full or the folder cannot be written.
        MissingExtraError: zstd is not installed.
    """
    check_compression(compression)
    source = open_weights(base, purpose="making a diff")
    result = open_weights(tuned, purpose="making a diff")
    key = work_key(compression, files=[*source.paths(), *result.paths()])
    inputs = [*source.inputs(), *result.inputs()]
    with resumable_directory(out, key=key, force=force, inputs=inputs) as folder:
        tensors = _write_tensors(folder, source, result, compression, progress)
        carried, left_out = result.other_files()
        copy_files(carried, result.checkpoint.folder, folder / CARRIED)
        manifest = DiffManifest(
            base=source.name,
            tuned=result.name,
            compression=compression,
            tensors=tensors,
            removed=_removed(source, tensors),
            files={name: sha256(folder / CARRIED / name) for name in carried},
        )
        write_manifest(folder, manifest)
    return DiffReport(
        modes=dict(sorted(Counter(tensor.mode for tensor in tensors.values()).items())),
        tuned_bytes=result.checkpoint.size_bytes,
        stored_bytes=sum(file.stat().st_size for file in out.glob("*.safetensors")),
        removed=manifest.removed,
        left_out=tuple(left_out),
    )


def _write_tensors(
    folder: Path, base: Weights, tuned: Weights, compression: Compression, progress: Progress
) -> dict[str, DiffTensor]:
    """Write the shards that are not there yet; return what is in all of them."""
    specs = tuned.checkpoint.specs
    origins = match_origins(base.checkpoint.specs, specs)
    shards = plan_shards(list(specs.values()))
    meter = Meter(tuned.checkpoint.size_bytes, progress)
    writer = DiffWriter(
        folder, base=base.checkpoint, tuned=tuned.checkpoint, origins=origins,
        compression=compression, meter=meter,
    )  # fmt: skip
    left = {file: specs for file, specs in shards.items() if not writer.is_finished(file)}
    todo = [spec for specs in left.values() for spec in specs]
    check_space(folder, writer.estimate_bytes(todo))
    meter.skip(tuned.checkpoint.size_bytes - sum(spec.size_bytes for spec in todo))
    for file, specs_of_shard in left.items():
        writer.write(file, specs_of_shard)
    meter.show(is_end=True)
    return {name: writer.tensors[name] for name in specs}


def _removed(base: Weights, tensors: dict[str, DiffTensor]) -> tuple[str, ...]:
    used = {tensor.base.name for tensor in tensors.values() if tensor.base}
    return tuple(sorted(base.checkpoint.specs.keys() - used))
