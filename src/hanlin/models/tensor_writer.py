"""How is a safetensors checkpoint written as a stream, and gone on with after a kill?

A safetensors header can be computed before any data is there. The caller's thread reads and
computes, one writes, two hash; `BYTES_IN_FLIGHT` may wait between them. Two, because SHA-256 is the
slowest part on a processor without instructions for it (0.3 GB/s): every other tensor each.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from hanlin.core.errors import ResourceError
from hanlin.core.files import final_place, os_error, read_json, work_journal, write_json
from hanlin.core.meter import Meter, Progress
from hanlin.models.safetensors_file import header_of
from hanlin.models.tensor_spec import DTYPES, TensorSpec, begin_sha256, raw_bytes, torch_dtype

if TYPE_CHECKING:
    import torch

SINGLE, INDEX, MANIFEST = "model.safetensors", "model.safetensors.index.json", "tensors.json"
DEFAULT_SHARD_BYTES = 5_000_000_000  # what transformers writes too; below every file system's limit
BYTES_IN_FLIGHT = 256 << 20
HASHERS = 2

Entries = dict[str, dict[str, object]]  # of the manifest: tensor -> dtype, shape, file, sha256


def write_checkpoint(
    folder: Path,
    specs: Sequence[TensorSpec],
    read: Callable[[TensorSpec], torch.Tensor | Iterable[torch.Tensor]],
    *,
    max_shard_bytes: int = DEFAULT_SHARD_BYTES,
    progress: Progress = lambda _done, _total, _text: None,
    check: Callable[[str, str], None] = lambda _name, _sha256: None,
) -> None:
    """Write tensors as a stream: the shards, their index if there are several, and `tensors.json`.

    In a folder of `core.files.resumable_directory`, shards that are finished stay as they are.

    Args:
        folder: a model folder, made if missing.
        specs: what will come, in the order of the shards.
        read: gives the data of one tensor, whole or as consecutive blocks of rows; called at most
            once for each, in the order of the files.
        max_shard_bytes: a shard is closed before it grows beyond this.
        progress: called with (tensors done, tensors in all, name, bytes and time left).
        check: called with a tensor's name and digest as soon as it is known, in another thread;
            what it raises ends the work before the shard is finished.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    shards = _plan(specs, max_shard_bytes)
    manifest: Entries = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        finished = _Finished(folder)
        left = [shard for shard in shards if finished.entries(shard) is None]
        check_space(folder, sum(shard.size_bytes for shard in left))
        steps = TensorSteps(specs, progress)
        steps.skip([spec for shard in shards if shard not in left for spec in shard.specs])
        with _Writer(finished, check) as writer:
            for shard in left:
                writer.begin(shard)
                for spec in shard.specs:
                    writer.write(spec, read(spec))
                    steps.add(spec)
                writer.end()
    except OSError as error:
        raise os_error(error, folder) from error
    for shard in shards:
        manifest |= finished.entries(shard) or {}
    if len(shards) > 1:
        weight_map = {tensor: entry["file"] for tensor, entry in sorted(manifest.items())}
        total = sum(spec.size_bytes for spec in specs)
        write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": weight_map})
    write_json(folder / MANIFEST, {"version": 1, "tensors": dict(sorted(manifest.items()))})


class TensorSteps:
    """Tells a progress function of tensors that are done: how many, and bytes and time left."""

    def __init__(self, specs: Sequence[TensorSpec], progress: Progress) -> None:
        self._count, self._done, self._name = len(specs), 0, ""
        self._progress = progress
        self._meter = Meter(sum(spec.size_bytes for spec in specs), self._tell)

    def skip(self, specs: Sequence[TensorSpec]) -> None:
        """Count tensors that were done before."""
        self._done += len(specs)
        self._meter.skip(sum(spec.size_bytes for spec in specs))

    def add(self, spec: TensorSpec) -> None:
        """Count a tensor and tell of it."""
        self._done, self._name = self._done + 1, spec.name
        self._meter.add(spec.size_bytes)
        self._meter.show(is_end=True)

    def _tell(self, done: int, total: int, text: str) -> None:
        self._progress(self._done, self._count, f"{self._name}, {done} of {total} {text}")


@dataclass(frozen=True)
class _Shard:
    file: str
    specs: tuple[TensorSpec, ...]

    @property
    def size_bytes(self) -> int:
        return len(header_of(self.specs)) + sum(spec.size_bytes for spec in self.specs)


def _plan(specs: Sequence[TensorSpec], max_shard_bytes: int) -> list[_Shard]:
    shards: list[list[TensorSpec]] = [[]]
    size = 0
    for spec in specs:
        if shards[-1] and size + spec.size_bytes > max_shard_bytes:
            shards.append([])
            size = 0
        shards[-1].append(spec)
        size += spec.size_bytes
    count = len(shards)
    # Wide types first, so that every tensor starts at a multiple of its element size.
    return [
        _Shard(
            SINGLE if count == 1 else f"model-{number:05d}-of-{count:05d}.safetensors",
            tuple(sorted(shard, key=lambda s: (-DTYPES[s.dtype][1], s.name))),
        )
        for number, shard in enumerate(shards, start=1)
    ]


def check_space(folder: Path, needed: int) -> None:
    """Tell before the work what would be found out at its end."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ResourceError(
            f"the disk is full: {final_place(folder)} needs {needed / 1e9:.2f} GB, "
            f"{free / 1e9:.2f} GB are left",
            why="nothing was written: the checkpoint would not fit",
            fix="free some space or give another place for the result",
        )


class _Finished:
    """Which shards are whole, and the digests in them; kept beside a folder that is resumable."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._journal = folder, work_journal(folder)
        self._shards: dict[str, Entries] = {}
        if self._journal is not None and self._journal.is_file():
            self._shards = read_json(self._journal)

    def entries(self, shard: _Shard) -> Entries | None:
        """Return a shard's part of the manifest; None: it is not there, or not whole."""
        file, entries = self.folder / shard.file, self._shards.get(shard.file)
        if entries is None or not file.is_file() or file.stat().st_size != shard.size_bytes:
            return None
        known = {name: (entry["dtype"], entry["shape"]) for name, entry in entries.items()}
        same = known == {spec.name: (spec.dtype, list(spec.shape)) for spec in shard.specs}
        return entries if same else None

    def add(self, shard: _Shard, entries: Entries) -> None:
        self._shards[shard.file] = entries
        if self._journal is not None:
            write_json(self._journal, self._shards)


class _Writer:
    """Hashes and writes in two threads what the caller's thread makes."""

    def __init__(self, finished: _Finished, check: Callable[[str, str], None]) -> None:
        self._finished, self._check = finished, check
        self._writer = ThreadPoolExecutor(1)
        self._hashers = [ThreadPoolExecutor(1) for _ in range(HASHERS)]
        self._waiting: deque[tuple[int, tuple[Future[Any], ...]]] = deque()
        self._in_flight = 0
        self._open: dict[Path, BinaryIO] = {}

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, kind: object, *_rest: object) -> None:
        try:
            if kind is None:
                self._wait(0)
        finally:
            for thread in (*self._hashers, self._writer):
                thread.shutdown()  # what waits is finished: shards that are whole are kept
            for temporary, stream in self._open.items():
                with suppress(OSError):  # the first error is the one to tell
                    stream.close()
                temporary.unlink()

    def begin(self, shard: _Shard) -> None:
        """Open a shard under a hidden name."""
        self._shard, self._digests = shard, dict[str, Future[str]]()
        self._temporary = self._finished.folder / f".{shard.file}.part"
        self._stream = self._temporary.open("wb")
        self._open[self._temporary] = self._stream
        self._stream.write(header_of(shard.specs))

    def write(self, spec: TensorSpec, data: torch.Tensor | Iterable[torch.Tensor]) -> None:
        """Append a tensor to the shard that was begun."""
        import torch

        blocks = iter((data,) if isinstance(data, torch.Tensor) else data)
        del data
        digest, size = begin_sha256(spec), 0
        hasher, stream = self._hashers[len(self._digests) % HASHERS], self._stream
        for block in blocks:
            assert block.dtype == torch_dtype(spec.dtype), (spec, block.dtype)
            assert block.shape[1:] == spec.shape[1:], (spec, block.shape)
            size += block.nbytes
            data = raw_bytes(block)
            jobs = (hasher.submit(digest.update, data), self._writer.submit(stream.write, data))
            self._waiting.append((block.nbytes, jobs))
            self._in_flight += block.nbytes
            del block, data
            self._wait(BYTES_IN_FLIGHT)
        assert size == spec.size_bytes, (spec, size)
        self._digests[spec.name] = hasher.submit(self._checked, spec, digest)
        self._waiting.append((0, (self._digests[spec.name],)))

    def _checked(self, spec: TensorSpec, digest: hashlib._Hash) -> str:
        sha256 = digest.hexdigest()
        self._check(spec.name, sha256)
        return sha256

    def _wait(self, limit: int) -> None:
        """Wait until at most so many bytes are neither hashed nor written; raise what failed."""
        while self._in_flight > limit or (limit == 0 and self._waiting):
            size, jobs = self._waiting.popleft()
            self._in_flight -= size
            for job in jobs:
                job.result()

    def end(self) -> None:
        """Close the shard, once all of it is hashed and written; the next may begin meanwhile."""
        shard, temporary, digests = self._shard, self._temporary, self._digests

        def close() -> None:
            entries: Entries = {
                spec.name: {
                    "dtype": spec.dtype, "shape": list(spec.shape), "file": shard.file,
                    "sha256": digests[spec.name].result(),
                }
                for spec in shard.specs
            }  # fmt: skip
            stream = self._open[temporary]
            stream.flush()
            if os.fstat(stream.fileno()).st_size != shard.size_bytes:
                raise OSError(errno.EIO, "not all bytes were written")
            os.fsync(stream.fileno())
            stream.close()
            temporary.replace(self._finished.folder / shard.file)
            del self._open[temporary]
            self._finished.add(shard, entries)

        self._waiting.append((0, (self._writer.submit(close),)))
