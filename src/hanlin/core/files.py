"""Files and folders that are either complete or absent, and their digests."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hanlin.core.errors import HanlinError, InputError, ResourceError


def write_atomic(path: Path, data: bytes) -> None:
    """Write through a temporary sibling, fsync, rename: a crash never leaves half a file.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        _remove(temporary)
        raise os_error(error, path) from error


def write_json(path: Path, value: object) -> None:
    """Write readable JSON (Chinese stays Chinese), atomically."""
    write_atomic(path, (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode())


def read_json(path: Path) -> Any:  # noqa: ANN401 - any JSON value
    """Read one JSON document.

    Raises:
        InputError: the file is missing or is not JSON; the message has the line.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist", fix="check the path") from error
    except (OSError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise InputError(f"{path}{line} is not readable JSON", why=str(error)) from error


def write_jsonl(path: Path, rows: Iterable[object]) -> int:
    """Stream rows to a JSON-lines file, atomically; return how many were written."""
    count = 0
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8") as stream:
            for row in rows:
                stream.write(json.dumps(row, ensure_ascii=False) + "\n")
                count += 1
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        raise os_error(error, path) from error
    finally:
        _remove(temporary)
    return count


def _remove(temporary: Path) -> None:
    with suppress(OSError):  # the first error is the one to tell
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: Path, *, force: bool = False) -> Iterator[Path]:
    """Yield a hidden sibling to write in; rename it to `path` when the block ends well.

    Raises:
        InputError: `path` exists, is not empty and `force` is not set.
        ResourceError: the disk is full or the folder cannot be written.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())) and not force:
        raise InputError(
            f"{path} exists already",
            why="nothing is overwritten unless it is asked for",
            fix="give another --out, or add --force to replace it",
        )
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        fsync_tree(temporary)
        move_into_place(temporary, path)
    except OSError as error:
        raise os_error(error, path) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def move_into_place(source: Path, target: Path) -> None:
    """Rename a finished folder (or file) into place; an older folder is moved aside first."""
    aside = target.with_name(f".{target.name}.old")
    shutil.rmtree(aside, ignore_errors=True)
    if target.is_dir():
        target.rename(aside)
    source.replace(target)
    _fsync(target.parent)
    shutil.rmtree(aside, ignore_errors=True)


def fsync_tree(folder: Path) -> None:
    """Flush every file below a folder to the disk."""
    for file in list_files(folder):
        _fsync(file)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def list_files(path: Path) -> list[Path]:
    """Return the files below a folder in a fixed order, or the file itself."""
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    return [path]


def sha256(path: Path) -> str:
    """Return the hex digest of a file, or of a folder (relative names and contents, sorted).

    Raises:
        InputError: nothing is there, or it cannot be read.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist", fix="check the path")
    digest = hashlib.sha256()
    try:
        for file in list_files(path):
            if path.is_dir():
                digest.update(file.relative_to(path).as_posix().encode() + b"\0")
            with file.open("rb") as stream:
                for block in iter(lambda: stream.read(1 << 20), b""):
                    digest.update(block)
    except OSError as error:
        raise os_error(error, path) from error
    return digest.hexdigest()


def size_bytes(path: Path) -> int:
    """Return the bytes that a file or a folder holds."""
    return sum(file.stat().st_size for file in list_files(path))


def os_error(error: OSError, path: Path) -> HanlinError:
    """Turn an operating-system error into one that says what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResourceError(
            f"the disk is full: {path} could not be written",
            why=f"{error.strerror}; {_free(path)} left",
            fix="free some space or choose another --out, then repeat the command: it goes on",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ResourceError(
            f"no permission for {path}",
            why=str(error.strerror),
            fix="choose another --out, or change the folder's owner or mode",
        )
    return InputError(f"{path}: {error.strerror or error}")


def _free(path: Path) -> str:
    existing = next((p for p in (path, *path.parents) if p.exists()), Path())
    return f"{shutil.disk_usage(existing).free / 1e6:.0f} MB"
