"""How are rows written to a file that is complete or absent, packed as its name says?"""

from __future__ import annotations

import gzip
import json
import lzma
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

from hanlin.core.errors import ConfigError, InputError
from hanlin.core.extras import require
from hanlin.core.files import os_error

PACKINGS = (".gz", ".xz", ".zst")
LAYOUTS = (".json", ".jsonl")


def check_target(path: Path, *, force: bool, is_list: bool = False) -> None:
    """Refuse a place that rows cannot be written to.

    Args:
        path: the place.
        force: replace what is there.
        is_list: the rows are lists themselves, and one of them alone would look like a file of
            rows: only one list of all (.json) can be told from it.

    Raises:
        ConfigError: the name does not say JSON or JSON lines.
        InputError: something is there and `force` is not set, or it is a folder.
    """
    if _layout(path) not in LAYOUTS:
        raise ConfigError(
            f"{path} does not say how rows are written",
            why="the name ends in .jsonl (a row on each line) or .json (one list); .gz, .xz or "
            ".zst may follow",
            fix=f"{path}.jsonl",
        )
    if is_list and _layout(path) != ".json":
        raise ConfigError(
            f"{path}: this format is one list of dialogues, not a row on each line",
            fix="give a name that ends in .json, or in .json.gz, .json.xz or .json.zst",
        )
    if path.is_dir():
        raise InputError(f"{path} is a folder", fix=f"give a file in it: {path / 'rows.jsonl'}")
    if path.exists() and not force:
        raise InputError(
            f"{path} exists already",
            why="nothing is overwritten unless it is asked for",
            fix="give another place for the result, or add --force to replace it",
        )


def write_rows(path: Path, rows: Iterable[Any]) -> int:
    """Write rows as JSON lines or as one list, atomically; return how many.

    The same rows give the same bytes: no name and no time is stored in a .gz file.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
        MissingExtraError: a .zst file, and zstandard is not installed.
    """
    is_list = _layout(path) == ".json"
    count = 0
    with _atomic(path) as stream:
        stream.write(b"[\n" if is_list else b"")
        for row in rows:
            if is_list and count:
                stream.write(b",\n")
            stream.write(json.dumps(row, ensure_ascii=False).encode())
            stream.write(b"" if is_list else b"\n")
            count += 1
        stream.write(b"\n]\n" if is_list and count else b"]\n" if is_list else b"")
    return count


def _layout(path: Path) -> str:
    return Path(path.stem if path.suffix.lower() in PACKINGS else path.name).suffix.lower()


@contextmanager
def _atomic(path: Path) -> Iterator[BinaryIO]:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as raw:
            with _packed(raw, path.suffix.lower()) as stream:
                yield stream
            raw.flush()
            os.fsync(raw.fileno())
        temporary.replace(path)
    except OSError as error:
        raise os_error(error, path) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def _packed(raw: BinaryIO, suffix: str) -> Iterator[BinaryIO]:
    if suffix == ".gz":
        with gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0) as stream:
            yield cast("BinaryIO", stream)
    elif suffix == ".xz":
        with lzma.LZMAFile(raw, "wb") as stream:
            yield cast("BinaryIO", stream)
    elif suffix == ".zst":
        zstandard = require("zstandard", extra="data", purpose="writing a .zst file")
        with zstandard.ZstdCompressor().stream_writer(raw, closefd=False) as stream:
            yield stream
    else:
        yield raw
