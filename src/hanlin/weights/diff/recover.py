"""How does a base model with a diff become the tuned model again?

hanlin weights recover BASE DIFF OUT

Two kinds of diffs: our own (`diff.json`), bit-exact and checked by digest, and the additive ones
of Alpaca, Vicuna and KnowLM (weights/additive.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hanlin.core.errors import ConfigError, InputError
from hanlin.core.files import resumable_directory, sha256
from hanlin.core.meter import Progress
from hanlin.models.tensors import (
    TensorSpec,
    open_checkpoint,
    write_checkpoint,
)
from hanlin.weights.ahead import TensorDigest, map_ahead
from hanlin.weights.diff.additive import AdditiveRecovery, Options, recover_additive
from hanlin.weights.diff.inputs import (
    Weights,
    copy_files,
    folder_of,
    is_weights,
    open_weights,
)
from hanlin.weights.diff.manifest import (
    CARRIED,
    FILE_NAME,
    BaseTensor,
    DiffTensor,
    is_diff,
    read_manifest,
)
from hanlin.weights.diff.packing import (
    check_compression,
    chunk_bytes,
    chunk_shapes,
    split_packed,
    unpack,
)

if TYPE_CHECKING:
    import torch

EARLY_BYTES = 64 << 20  # of small tensors, norms above all, hashed before anything is written


@dataclass(frozen=True)
class Recovery:
    """What was recovered.

    Attributes:
        tuned: what the model was called when the diff was made.
        tensors: number of tensors, each with the digest that the diff names.
        size_bytes: of all tensors.
        files: other files of the tuned model.
    """

    tuned: str
    tensors: int
    size_bytes: int
    files: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """Return plain values."""
        return {"kind": "exact", **asdict(self)}


def recover(
    base: str | Path,
    diff: str | Path,
    out: Path,
    *,
    options: Options | None = None,
    force: bool = False,
    progress: Progress = lambda _done, _total, _text: None,
) -> Recovery | AdditiveRecovery:
    """Write the tuned model that a diff was made of; checked by digests where the diff has them.

    Memory holds some chunks of rows. An interrupted run goes on where it was when it is called
    again; `out` appears when it is complete.

    Args:
        base: folder, file or hub id of the model that the diff was made from, in any shards.
        diff: folder or hub id with `diff.json`, or a checkpoint of differences.
        out: the folder to make.
        options: sizes, and how to treat an additive diff.
        force: replace what is at `out`.
        progress: called with (done, total, text).

    Raises:
        InputError: it is another base, the diff is damaged, or `out` exists.
        ConfigError: an option does not go with this kind of diff.
        ResourceError: the disk is full or the folder cannot be written.
        MissingExtraError: the diff is compressed and zstd is not installed.
    """
    options = options or Options()
    folder = folder_of(diff, purpose="recovering a model")
    source = open_weights(base, purpose="recovering a model")
    if is_diff(folder):
        _refuse_additive_options(options, folder)
        return _recover_exact(source, folder, out, options, force=force, progress=progress)
    differences = open_weights(diff, purpose="recovering a model")
    return recover_additive(source, differences, out, options, force=force, progress=progress)


def _refuse_additive_options(options: Options, folder: Path) -> None:
    for name, value in (("new-rows", options.new_rows), ("expect-sum", options.expect_sum)):
        if value is not None:
            raise ConfigError(
                f"--{name} does not go with {folder}",
                why=f"its {FILE_NAME} has a digest for each tensor and says where rows come from",
                fix=f"leave --{name} out",
            )


def _recover_exact(
    base: Weights, diff: Path, out: Path, options: Options, *, force: bool, progress: Progress
) -> Recovery:
    work = _Recovering(base, diff)
    work.check_base()
    manifest = work.manifest
    specs = [manifest.spec(name) for name in manifest.tensors]
    key = f"{sha256(diff / FILE_NAME)} {options.max_shard_bytes}"  # results are checked: any base
    with resumable_directory(out, key=key, force=force, inputs=[*base.inputs(), diff]) as folder:
        write_checkpoint(
            folder, specs, work.blocks,
            max_shard_bytes=options.max_shard_bytes, progress=progress, check=work.check_result,
        )  # fmt: skip
        copy_files(sorted(manifest.files), diff / CARRIED, folder)
    return Recovery(
        tuned=manifest.tuned,
        tensors=len(specs),
        size_bytes=sum(spec.size_bytes for spec in specs),
        files=tuple(sorted(manifest.files)),
    )


class _Recovering:
    """A base and a diff, opened."""

    def __init__(self, base: Weights, folder: Path) -> None:
        """Open the diff and look whether all of it is there.

        Raises:
            InputError: a file is missing or damaged.
        """
        self.base, self.folder = base, folder
        self.manifest = read_manifest(folder)
        check_compression(self.manifest.compression)
        names = {tensor.file for tensor in self.manifest.tensors.values() if tensor.file}
        self._stored = {name: open_checkpoint(folder / name) for name in sorted(names)}
        for name, tensor in self.manifest.tensors.items():
            spec = self._stored[tensor.file].specs.get(name) if tensor.file else None
            if tensor.file and (spec is None or spec.dtype != "U8" or len(spec.shape) != 1):
                raise self._damaged(f"{tensor.file} lacks the tensor {name!r}")
        for name, digest in self.manifest.files.items():
            if is_weights(name):
                raise self._damaged(f"{name} is no file that goes beside weights")
            if sha256(folder / CARRIED / name) != digest:
                raise self._damaged(f"{CARRIED}/{name} has another sha256 than {FILE_NAME} says")

    def check_base(self) -> None:
        """Refuse a base of other shapes or types at once, and most other bases after seconds.

        Raises:
            InputError: it is not the base that the diff was made from.
        """
        needed = [tensor.base for tensor in self.manifest.tensors.values() if tensor.base]
        for tensor in needed:
            found = self.base.checkpoint.specs.get(tensor.name)
            if found is None:
                raise self._wrong_base(tensor, "it is not there")
            if found != tensor.spec:
                what = f"it is {found.dtype} {list(found.shape)}"
                raise self._wrong_base(tensor, what)
        left = EARLY_BYTES
        for tensor in sorted(needed, key=lambda tensor: tensor.spec.size_bytes):
            left -= tensor.spec.size_bytes
            if left < 0:
                break
            self._check_digest_of_base(tensor)

    def blocks(self, spec: TensorSpec) -> Iterator[torch.Tensor]:
        """Yield a tuned tensor in blocks of rows.

        Raises:
            InputError: the diff is damaged.
        """
        tensor = self.manifest.tensors[spec.name]
        size = chunk_bytes(spec)
        base = self._base_blocks(tensor, size)
        if tensor.file is None:
            return base
        stored = self._stored[tensor.file].blocks(spec.name, max_bytes=size)
        compression = self.manifest.compression
        shapes = chunk_shapes(spec)
        packed = split_packed(stored, spec=spec, compression=compression)

        def restore(item: tuple[bytes, torch.Tensor | None, tuple[int, ...]]) -> torch.Tensor:
            piece, base_chunk, shape = item
            return unpack(piece, base_chunk, spec=spec, shape=shape, compression=compression)

        def items() -> Iterator[tuple[bytes, torch.Tensor | None, tuple[int, ...]]]:
            for piece, shape in zip(packed, shapes, strict=True):
                yield piece, next(base, None), shape

        return self._explained(map_ahead(restore, items()), spec.name)

    def _base_blocks(self, tensor: DiffTensor, size: int) -> Iterator[torch.Tensor]:
        if tensor.base is None:
            return iter(())
        return self.base.checkpoint.blocks(tensor.base.name, max_bytes=size)

    def _explained(self, blocks: Iterator[torch.Tensor], name: str) -> Iterator[torch.Tensor]:
        try:
            yield from blocks
        except ValueError as error:
            raise self._damaged(f"{name!r}: {error}") from error

    def check_result(self, name: str, digest: str) -> None:
        """Compare a recovered tensor with what the tuned model had.

        Raises:
            InputError: it is another one, because base or diff are.
        """
        tensor = self.manifest.tensors[name]
        if digest == tensor.sha256:
            return
        if tensor.base is not None:
            self._check_digest_of_base(tensor.base)
        raise self._damaged(f"the stored bytes of {name!r} do not give the tensor that they should")

    def _check_digest_of_base(self, tensor: BaseTensor) -> None:
        digest = TensorDigest(tensor.spec)
        for block in self.base.checkpoint.blocks(tensor.name):
            digest.update(block)
        if (found := digest.hexdigest()) != tensor.sha256:
            raise self._wrong_base(tensor, f"its sha256 is {found[:16]}...")

    def _wrong_base(self, tensor: BaseTensor, what: str) -> InputError:
        return InputError(
            f"{self.base.name} is not the base that {self.folder.name} was made from: "
            f"the tensor {tensor.name!r} differs",
            why=f"{what}; in the base it was {tensor.dtype} {list(tensor.shape)} "
            f"with sha256 {tensor.sha256[:16]}...",
            fix=f"give the base that was called {self.manifest.base!r} when the diff was made, "
            "in the same type; its shards may be others",
        )

    def _damaged(self, why: str) -> InputError:
        return InputError(
            f"{self.folder} is damaged", why=why, fix="download or copy the diff again"
        )
