"""How does a file come whole: gone on with after a break, checked by digest, put in its place?"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

from hanlin.core.errors import HanlinError, StageFailedError
from hanlin.core.files import os_error
from hanlin.core.meter import Meter, Progress
from hanlin.weights.download.connection import (
    BLOCK_BYTES,
    Connection,
    DroppedError,
    Patience,
    RefusedError,
    blocks,
)
from hanlin.weights.download.repository import RemoteFile
from hanlin.weights.download.servers import OTHER_WAYS, explain
from hanlin.weights.download.workplace import Arrived, Workplace

AT_ONCE = 4  # files; more are slower on a disk and ruder to a server
SECONDS_BETWEEN = 0.2


class _Part:
    """A file on its way: the bytes that are there, and their digests."""

    def __init__(self, path: Path, file: RemoteFile) -> None:
        self.path, self.file, self.size = path, file, 0
        self._hashers = self._new_hashers()
        if file.digest is None:  # nobody could tell whether the rest is of the same content
            path.unlink(missing_ok=True)
        if path.is_file():
            with path.open("rb") as stream:
                while block := stream.read(BLOCK_BYTES):
                    self._count(block)

    def append(self, blocks_: Iterable[bytes]) -> Iterator[int]:
        """Write blocks at the end and yield their sizes."""
        with self.path.open("ab") as stream:
            for block in blocks_:
                stream.write(block)
                stream.flush()
                self._count(block)
                yield len(block)

    def reset(self) -> int:
        """Begin anew; return how many bytes are lost."""
        lost, self.size = self.size, 0
        self.path.write_bytes(b"")
        self._hashers = self._new_hashers()
        return lost

    def flush(self) -> None:
        """Have everything on the disk."""
        with self.path.open("ab") as stream:
            os.fsync(stream.fileno())

    @property
    def sha256(self) -> str:
        """Return the digest of the bytes that are there."""
        return self._hashers[0].hexdigest()

    @property
    def digest(self) -> str:
        """Return what is to be compared with the file's digest."""
        return self._hashers[-1].hexdigest()

    def _new_hashers(self) -> list[hashlib._Hash]:
        digest = self.file.digest
        more = [digest.hasher(self.file.size_bytes)] if digest and digest.kind != "sha256" else []
        return [hashlib.sha256(), *more]

    def _count(self, block: bytes) -> None:
        self.size += len(block)
        for hasher in self._hashers:
            hasher.update(block)


class _StoppedError(Exception):
    """Another thread failed, or the user interrupted."""


def fetch_all(
    files: Sequence[RemoteFile],
    place: Workplace,
    *,
    name: str,
    connection: Connection | None,
    progress: Progress,
) -> list[Arrived]:
    """Fetch files, several at a time; return them in the order they were given.

    Args:
        files: what to fetch.
        place: where to; files that a run before finished are left alone.
        name: of the repository, for messages.
        connection: how its server is asked, None for local files.
        progress: called with (done, total, text).

    Raises:
        StageFailedError: the line stayed broken, the server refused, or a file is damaged; what
            has come is kept for the next run.
        ResourceError: the disk is full.
    """
    arrived = place.finished(files)
    meter = Meter(sum(file.size_bytes for file in files), progress)
    meter.skip(sum(file.size_bytes for file in arrived.values()))
    stop = threading.Event()
    fetcher = _Fetcher(place, name=name, connection=connection, meter=meter, stop=stop)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        waiting = {pool.submit(fetcher.fetch, f) for f in files if f.path not in arrived}
        try:
            while waiting:
                done, waiting = wait(waiting, SECONDS_BETWEEN, FIRST_COMPLETED)
                for future in done:
                    file = future.result()
                    arrived[file.path] = file
                meter.show()
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    meter.show(is_end=True)
    return [arrived[file.path] for file in files]


class _Fetcher:
    """What the threads share."""

    def __init__(
        self, place: Workplace, *, name: str, connection: Connection | None, meter: Meter,
        stop: threading.Event,
    ) -> None:  # fmt: skip
        self.place, self.name, self.connection = place, name, connection
        self.meter, self.stop = meter, stop
        self.patience = connection.patience if connection else Patience()

    def fetch(self, file: RemoteFile) -> Arrived:
        """Fetch one file, check it, and put it in its place."""
        try:
            part = _Part(self.place.part_of(file), file)
            self.meter.skip(part.size)
            is_good = False
            for is_last in (False, True):
                self._complete(part)
                is_good = file.digest is None or part.digest == file.digest.value
                if is_good or is_last:
                    break
                self.meter.add(-part.reset())  # the first half may be the damaged one
            if not is_good:
                raise self._damaged(part)
            part.flush()
            kind = file.digest.kind if file.digest else "size"
            arrived = Arrived(file.path, part.size, part.sha256, kind)
            self.place.finish(file, arrived)
        except OSError as error:
            raise os_error(error, self.place.folder / file.path) from error
        return arrived

    def _complete(self, part: _Part) -> None:
        """Receive what is missing, over as many lines as it takes."""
        failures, furthest = 0, part.size
        while part.size < part.file.size_bytes or not part.path.exists():
            try:
                self._receive(part)
            except DroppedError as error:
                failures = 1 if part.size > furthest else failures + 1
                furthest = max(furthest, part.size)
                if failures >= self.patience.tries:
                    raise self._broken(error, part) from error
                if self.stop.wait(self.patience.pause(failures, error)):
                    raise _StoppedError from error
            except RefusedError as error:
                raise self._broken(error, part) from error

    def _receive(self, part: _Part) -> None:
        """Receive over one line, until it ends or breaks."""
        for count in part.append(self._blocks(part)):
            self.meter.add(count)
            if self.stop.is_set():
                raise _StoppedError
            if part.size > part.file.size_bytes:
                break
        if part.size == part.file.size_bytes:
            return
        if self.connection is None:
            raise StageFailedError(
                f"{part.file.address} changed while it was copied",
                why=f"it had {part.file.size_bytes} bytes, and another number now",
                fix="repeat the command when nobody writes it any more",
            )
        if part.size > part.file.size_bytes:
            self.meter.add(-part.reset())
            raise DroppedError("more bytes came than the file has")
        raise DroppedError("the server closed the line in the middle")

    def _blocks(self, part: _Part) -> Iterator[bytes]:
        if self.connection is None:
            return _local_blocks(Path(part.file.address), offset=part.size)
        return self._remote_blocks(part, self.connection)

    def _remote_blocks(self, part: _Part, connection: Connection) -> Iterator[bytes]:
        try:
            response = connection.open(part.file.address, offset=part.size)
        except RefusedError as error:
            if error.status != 416:  # "no such range": its file is another than ours
                raise
            self.meter.add(-part.reset())
            raise DroppedError("the server has no such range") from error
        with response:
            if part.size and not _goes_on(response.headers.get("Content-Range"), part.size):
                self.meter.add(-part.reset())  # a server without ranges sends the whole file
                if response.status == 206:
                    raise DroppedError("the server sent another range")
            yield from blocks(response)

    def _broken(self, error: DroppedError | RefusedError, part: _Part) -> HanlinError:
        assert self.connection is not None
        fix = explain(error, name=self.name, connection=self.connection).fix
        return StageFailedError(
            f"{part.file.path} of {self.name} did not come whole: {error}",
            why=f"{part.size} of {part.file.size_bytes} bytes are here, and are kept",
            fix=fix,
        )

    def _damaged(self, part: _Part) -> StageFailedError:
        file, found = part.file, part.digest
        assert file.digest is not None
        part.path.unlink()
        is_hub = self.connection is not None and self.connection.token_variable
        return StageFailedError(
            f"{file.path} of {self.name} is damaged: it came twice with another digest than "
            "announced",
            why=f"{file.digest.kind} is {found[:16]}..., announced was {file.digest.value[:16]}...",
            fix="repeat the command, all other files are kept; if that does not help, the damage "
            "is at the source" + (f": {OTHER_WAYS}" if is_hub else ""),
        )


def _goes_on(content_range: str | None, offset: int) -> bool:
    return (content_range or "").replace(" ", "").startswith(f"bytes{offset}-")


def _local_blocks(path: Path, *, offset: int) -> Iterator[bytes]:
    try:
        with path.open("rb") as stream:
            stream.seek(offset)
            while block := stream.read(BLOCK_BYTES):
                yield block
    except OSError as error:
        raise os_error(error, path) from error
