"""How do Parquet and Arrow files become rows? In batches, by pyarrow."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from hanlin.core.errors import InputError, ResourceError
from hanlin.core.extras import require
from hanlin.data.readers.opened import is_packed, opened
from hanlin.data.readers.rows import BadRows

BATCH = 256  # rows
BLOCK = 1 << 20
MAX_UNPACKED = 16 << 30  # bytes of a compressed file that are put on the disk
Numbered = tuple[int, Any]


def read_parquet(path: Path, bad: BadRows) -> Iterator[Numbered]:
    """Yield (1-based number, row) of a Parquet file.

    Raises:
        InputError: it is damaged.
        MissingExtraError: pyarrow is not installed.
    """
    del bad  # a damaged file is damaged as a whole
    parquet = require("pyarrow.parquet", extra="data", purpose="reading Parquet")
    with _seekable(path) as stream, _explained(path):
        yield from _rows(parquet.ParquetFile(stream).iter_batches(batch_size=BATCH))


def read_arrow(path: Path, bad: BadRows) -> Iterator[Numbered]:
    """Yield (1-based number, row) of an Arrow file or stream, as `datasets` saves them."""
    del bad
    ipc = require("pyarrow.ipc", extra="data", purpose="reading Arrow files")
    with _seekable(path) as stream, _explained(path):
        is_file = stream.read(6) == b"ARROW1"
        stream.seek(0)
        if is_file:
            reader = ipc.open_file(stream)
            yield from _rows(reader.get_batch(i) for i in range(reader.num_record_batches))
        else:
            yield from _rows(ipc.open_stream(stream))


def _rows(batches: Any) -> Iterator[Numbered]:  # noqa: ANN401 - of pyarrow's own type
    number = 0
    for batch in batches:
        for start in range(0, batch.num_rows, BATCH):
            for row in batch.slice(start, BATCH).to_pylist():
                number += 1
                yield number, row


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    lib = require("pyarrow.lib", extra="data", purpose="reading Parquet")
    try:
        yield
    except (lib.ArrowException, OSError) as error:
        raise InputError(
            f"{path} is not a readable Parquet or Arrow file",
            why=str(error).splitlines()[0] if str(error) else type(error).__name__,
            fix="fetch the file again; a Git LFS pointer is not the file itself: git lfs pull",
        ) from error


@contextmanager
def _seekable(path: Path) -> Iterator[BinaryIO]:
    """Open a file that is read from its end; a compressed one is unpacked to the disk first."""
    with opened(path) as stream:
        if not is_packed(path):
            yield stream
            return
        with tempfile.TemporaryFile() as unpacked:
            size = 0
            while block := stream.read(BLOCK):
                size += unpacked.write(block)
                if size > MAX_UNPACKED:
                    raise ResourceError(
                        f"{path} unpacks to more than {MAX_UNPACKED >> 30} GB",
                        fix="unpack it yourself, where there is room",
                    )
            unpacked.seek(0)
            yield cast("BinaryIO", unpacked)
