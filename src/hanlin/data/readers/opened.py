"""How is a file opened, whatever it is packed in, and however long its lines are?"""

from __future__ import annotations

import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any, BinaryIO, cast

from hanlin.core.errors import InputError
from hanlin.core.extras import require
from hanlin.core.files import os_error

MAGIC = {b"\x1f\x8b": "gz", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zst"}
HEAD_BYTES = 4096
# The longest row that is held. Memory is bounded by it, also for a file of a few kilobytes that
# unpacks to gigabytes. The longest text of the public corpora that we know has 8 MB (a law book).
MAX_ROW_BYTES = 64 << 20
# Unpacked at a time: a block of 128 KB may be packed in 4 bytes, so these give at most 32 MB.
ZSTD_BYTES = 1 << 10


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading; .gz, .xz and .zst are unpacked on the way, told by their content.

    Raises:
        InputError: the file cannot be read, or what it is packed in is damaged.
        MissingExtraError: a .zst file, and zstandard is not installed.
    """
    try:
        with path.open("rb") as raw:
            packing = _packing(raw.read(8))
            raw.seek(0)
            yield _unpacked(raw, packing)
    except OSError as error:
        if isinstance(error, gzip.BadGzipFile):
            raise _damaged(path, error) from error
        raise os_error(error, path) from error
    except (EOFError, zlib.error, lzma.LZMAError) as error:
        raise _damaged(path, error) from error
    except Exception as error:
        if type(error).__module__.startswith("zstandard"):
            raise _damaged(path, error) from error
        raise


def head(path: Path, size: int = HEAD_BYTES) -> bytes:
    """Return the first bytes of what is in a file, unpacked."""
    with opened(path) as stream:
        return stream.read(size)


def is_packed(path: Path) -> bool:
    """Tell whether a file is compressed, by its first bytes."""
    with path.open("rb") as raw:
        return bool(_packing(raw.read(8)))


def inner_name(path: Path) -> PurePath:
    """Return the name that the unpacked file would have: rows.jsonl for rows.jsonl.gz."""
    is_packed = path.suffix.lower().removeprefix(".") in MAGIC.values()
    return PurePath(path.stem if is_packed else path.name)


def bounded_lines(stream: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """Yield (1-based number, line); None stands for a line of more than 64 MB, which is skipped."""
    number = 0
    while line := stream.readline(MAX_ROW_BYTES):
        number += 1
        if len(line) < MAX_ROW_BYTES or line.endswith(b"\n"):
            yield number, line
            continue
        del line
        while (rest := stream.readline(MAX_ROW_BYTES)) and not rest.endswith(b"\n"):
            pass
        yield number, None


def too_long() -> str:
    """Return the reason why a line is left out that `bounded_lines` skips."""
    return f"longer than {MAX_ROW_BYTES >> 20} MB"


def _packing(start: bytes) -> str:
    return next((name for magic, name in MAGIC.items() if start.startswith(magic)), "")


def _unpacked(raw: BinaryIO, packing: str) -> BinaryIO:
    if packing == "gz":
        return cast("BinaryIO", gzip.GzipFile(fileobj=raw))
    if packing == "xz":
        return cast("BinaryIO", lzma.LZMAFile(raw))
    if packing == "zst":
        zstandard = require("zstandard", extra="data", purpose="reading a .zst file")
        return io.BufferedReader(_Unzstd(raw, zstandard.ZstdDecompressor().decompressobj), 1 << 20)
    return raw


class _Unzstd(io.RawIOBase):
    """Unpacks zstd frames, and notices where the last one is cut off.

    zstandard's own stream_reader (0.25) takes a cut for the end, and rows would vanish in silence.
    """

    def __init__(self, raw: BinaryIO, frame: Callable[[], Any]) -> None:
        self._raw, self._frame = raw, frame
        self._reader, self._is_begun = frame(), False
        self._packed, self._ready, self._at = b"", b"", 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - a writable buffer
        while self._at == len(self._ready) and self._fill():
            pass
        part = self._ready[self._at : self._at + len(buffer)]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)

    def _fill(self) -> bool:
        """Unpack a little more; return whether there may be more."""
        packed = self._packed or self._raw.read(ZSTD_BYTES)
        if self._reader.eof:
            self._reader, self._is_begun = self._frame(), False
        if not packed:
            if self._is_begun:
                raise EOFError("it is cut off")
            return False
        self._is_begun = True
        self._ready, self._at = self._reader.decompress(packed), 0
        self._packed = self._reader.unused_data if self._reader.eof else b""
        return True


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(
        f"{path} is a damaged compressed file",
        why=f"{error}" or type(error).__name__,
        fix="fetch or pack the file again",
    )
