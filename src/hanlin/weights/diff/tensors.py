"""How are the differences of all tensors written, shard by shard, and gone on with after a kill?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from hanlin.core.files import read_json, work_journal, write_json
from hanlin.core.meter import Meter
from hanlin.models.grow_checks import EMBEDDINGS, LM_HEAD
from hanlin.models.tensors import Checkpoint, TensorSpec
from hanlin.weights.ahead import TensorDigest, map_ahead
from hanlin.weights.diff.manifest import BaseTensor, Compression, DiffTensor
from hanlin.weights.diff.packing import chunk_bytes, pack
from hanlin.weights.diff.shard import DiffShard

if TYPE_CHECKING:
    import torch

SHARD_BYTES = 2_000_000_000  # of the tuned tensors in a file: as much is lost by a kill at most
SAMPLES, MARGIN = 16, 1.1  # tensors looked at to tell the size of the diff before it is made


def match_origins(
    base: Mapping[str, TensorSpec], tuned: Mapping[str, TensorSpec]
) -> dict[str, TensorSpec | None]:
    """Return the base's tensor that each tuned one is stored as a difference to; None: whole.

    That is the one of the same name; for an output matrix that was one with the embeddings,
    these; for a renamed tensor the one with more or fewer words before the same name.
    """
    origins: dict[str, TensorSpec | None] = {}
    free = base.keys() - tuned.keys()
    for name, spec in tuned.items():
        names = [name] if name in base else [n for n in free if _is_renamed(n, name)]
        if not names and name == LM_HEAD and EMBEDDINGS in base:
            names = [EMBEDDINGS]
        origin = base[names[0]] if len(names) == 1 else None
        origins[name] = origin if origin and _have_same_rows(origin, spec) else None
    return origins


def _is_renamed(one: str, other: str) -> bool:
    return one.endswith(f".{other}") or other.endswith(f".{one}")


def _have_same_rows(one: TensorSpec, other: TensorSpec) -> bool:
    """Tell whether two tensors differ in nothing but their number of rows."""
    return (one.dtype, one.shape[1:], bool(one.shape)) == (
        other.dtype, other.shape[1:], bool(other.shape),
    )  # fmt: skip


def plan_shards(specs: Sequence[TensorSpec]) -> dict[str, list[TensorSpec]]:
    """Return which tensors go into which file."""
    shards: list[list[TensorSpec]] = [[]]
    size = 0
    for spec in specs:
        if shards[-1] and size + spec.size_bytes > SHARD_BYTES:
            shards.append([])
            size = 0
        shards[-1].append(spec)
        size += spec.size_bytes
    return {f"diff-{number:05d}.safetensors": shard for number, shard in enumerate(shards, 1)}


class DiffWriter:
    """Writes shards of differences into a folder of `resumable_directory`.

    Attributes:
        tensors: what has been written, now or by an interrupted run.
    """

    def __init__(
        self,
        folder: Path,
        *,
        base: Checkpoint,
        tuned: Checkpoint,
        origins: Mapping[str, TensorSpec | None],
        compression: Compression,
        meter: Meter,
    ) -> None:
        self._folder, self._base, self._tuned = folder, base, tuned
        self._origins, self._compression, self._meter = origins, compression, meter
        journal = work_journal(folder)
        assert journal is not None, f"{folder} is not resumable"
        self._journal = journal
        found = read_json(journal) if journal.is_file() else {"shards": [], "tensors": {}}
        self._shards: list[str] = found["shards"]
        self.tensors = {
            name: DiffTensor.model_validate(entry) for name, entry in found["tensors"].items()
        }

    def is_finished(self, file: str) -> bool:
        """Tell whether an interrupted run has written this shard."""
        return file in self._shards

    def write(self, file: str, specs: Sequence[TensorSpec]) -> None:
        """Write one shard and note that it is finished."""
        with DiffShard(self._folder / file, [spec.name for spec in specs]) as shard:
            for spec in specs:
                self.tensors[spec.name] = self._write_tensor(shard, spec, file)
        self._shards.append(file)
        entries = {name: entry.to_json() for name, entry in self.tensors.items()}
        write_json(self._journal, {"shards": self._shards, "tensors": entries})

    def _write_tensor(self, shard: DiffShard, spec: TensorSpec, file: str) -> DiffTensor:
        origin = self._origins[spec.name]
        digest = TensorDigest(spec)
        digest_of_base = TensorDigest(origin) if origin else None
        pairs = self._pairs(spec, origin, digest, digest_of_base)
        pieces = map_ahead(lambda pair: pack(*pair, compression=self._compression), pairs)
        shard.append(spec.name, pieces)
        fields = {"dtype": spec.dtype, "shape": spec.shape, "sha256": digest.hexdigest()}
        if origin is None or digest_of_base is None:
            return DiffTensor(mode="whole", file=file, **fields)
        base = BaseTensor(
            name=origin.name, dtype=origin.dtype, shape=origin.shape,
            sha256=digest_of_base.hexdigest(),
        )  # fmt: skip
        if base.sha256 == fields["sha256"]:  # type and shape are a part of it
            shard.drop_last()
            return DiffTensor(mode="same", base=base, **fields)
        return DiffTensor(mode="difference", base=base, file=file, **fields)

    def _pairs(
        self,
        spec: TensorSpec,
        origin: TensorSpec | None,
        digest: TensorDigest,
        digest_of_base: TensorDigest | None,
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor | None]]:
        """Yield the chunks of a tuned tensor with the base's rows, hashing both on the way."""
        size = chunk_bytes(spec)
        base = self._base.blocks(origin.name, max_bytes=size) if origin else iter(())
        tuned = self._tuned.blocks(spec.name, max_bytes=size)
        for chunk, base_chunk in zip_longest(tuned, base):
            if digest_of_base is not None and base_chunk is not None:
                digest_of_base.update(base_chunk)
            if chunk is not None:
                digest.update(chunk)
                if chunk.numel():
                    yield chunk, base_chunk
                self._meter.add(chunk.nbytes)
                self._meter.show()

    def estimate_bytes(self, specs: Sequence[TensorSpec]) -> int:
        """Return about how many bytes these tensors will have, from a chunk of some of them."""
        samples = sorted(specs, key=lambda spec: (spec.size_bytes, spec.name))
        samples = samples[:: -max(1, len(samples) // SAMPLES)]
        raw = packed = 0
        for spec in samples:
            origin = self._origins[spec.name]
            size = chunk_bytes(spec)
            chunk = next(self._tuned.blocks(spec.name, max_bytes=size))
            base = next(self._base.blocks(origin.name, max_bytes=size)) if origin else None
            raw += chunk.nbytes
            packed += len(pack(chunk, base, compression=self._compression))
        total = sum(spec.size_bytes for spec in specs)
        return int(MARGIN * total * packed / raw) if raw else 0
