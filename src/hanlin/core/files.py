"""Files and folders that are either complete or absent, and their digests."""

from __future__ import annotations

import errno
import fcntl
import glob
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hanlin import __version__
from hanlin.core.errors import ConfigError, HanlinError, InputError, ResourceError

WORK_MARK = "key.json"  # in the work folder of `resumable_directory`


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
    except (OSError, ValueError, RecursionError) as error:
        line = f":{error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise InputError(
            f"{path}{line} is not readable JSON",
            why=str(error),
            fix="mend it there, or copy or download the file again",
        ) from error


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
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield the name of a hidden sibling to write; rename it to `path` when the block ends well.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        yield temporary
        _fsync(temporary)
        temporary.replace(path)
    except OSError as error:
        raise os_error(error, path) from error
    finally:
        _remove(temporary)


@contextmanager
def atomic_directory(
    path: Path, *, force: bool = False, inputs: Iterable[Path] = ()
) -> Iterator[Path]:
    """Yield a hidden sibling to write in; rename it to `path` when the block ends well.

    Args:
        path: where the finished folder appears.
        force: replace what is at `path`.
        inputs: files and folders that are read: `path` must neither be nor hold one of them.

    Raises:
        ConfigError: `path` is the current folder or one above it.
        InputError: `path` exists, is not empty and `force` is not set; or it is a file, or an
            input would be replaced.
        ResourceError: the disk is full or the folder cannot be written.
    """
    _refuse_place(path, inputs)
    _refuse_existing(path, force=force)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        temporary.mkdir()
        yield temporary
        fsync_tree(temporary)
        move_into_place(temporary, path)
    except OSError as error:
        raise os_error(error, path) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _sweep(path: Path) -> None:
    """Remove what processes that were killed left of the same file or folder."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        process = left.name.split(".")[-2]
        if process.isdecimal() and not _is_alive(int(process)):
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else _remove(left)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


@contextmanager
def resumable_directory(
    path: Path, *, key: str, force: bool = False, inputs: Iterable[Path] = ()
) -> Iterator[Path]:
    """Yield a hidden folder to write in, that survives a kill; rename it to `path` at the end.

    The folder is `.NAME.work/out`. The same command finds there what it had written before; what
    another command left is thrown away, and so is a folder in which a failure left nothing.

    Args:
        path: where the finished folder appears.
        key: what the content depends on: the same key promises the same bytes.
        force: replace what is at `path`.
        inputs: files and folders that are read: `path` must neither be nor hold one of them.

    Raises:
        ConfigError: `path` is the current folder or one above it.
        InputError: `path` exists, is not empty and `force` is not set; or it is a file, or an
            input would be replaced.
        ResourceError: another process writes it, the disk is full, the folder cannot be written.
    """
    _refuse_place(path, inputs)
    work = path.with_name(f".{path.name}.work")
    out = work / "out"
    if path.exists() and (work / WORK_MARK).is_file() and not out.exists():
        shutil.rmtree(work, ignore_errors=True)  # killed between the last two steps
    _refuse_existing(path, force=force)
    try:
        with _held(work, what=path):
            _begin_or_go_on(work, mark=json.dumps([key, __version__]).encode())
            out.mkdir(exist_ok=True)
            is_hopeless = False
            try:
                yield out
                fsync_tree(out)
                move_into_place(out, path)
            except InputError:
                is_hopeless = True  # mended input is other input: it would begin anew
                raise
            finally:
                if is_hopeless or not out.is_dir() or not list_files(out):
                    shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise os_error(error, path) from error


def work_key(*settings: object, files: Iterable[Path]) -> str:
    """Return what tells a job from another one that is begun at the same place.

    Args:
        settings: plain values that the result depends on; others count as their text.
        files: what is read; another size or time of change makes another job.
    """
    stamps = [[str(f.resolve()), f.stat().st_size, f.stat().st_mtime_ns] for f in files]
    text = json.dumps([settings, stamps], default=str, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def work_journal(folder: Path) -> Path | None:
    """Return the file that may say what is finished in a folder; None: nothing there is kept.

    It lies beside a folder that `resumable_directory` handed out, and goes when that is done.
    """
    works = (p for p in folder.parents if p.suffix == ".work" and (p / WORK_MARK).is_file())
    work = next(works, None)
    return work / "finished.json" if work else None


@contextmanager
def _held(work: Path, *, what: Path) -> Iterator[None]:
    """Make a folder and keep other processes out of it."""
    work.mkdir(parents=True, exist_ok=True)
    with (work / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ResourceError(
                f"another process is writing {what}",
                fix="wait for it, stop it, or give another place for the result",
            ) from error
        yield


def _begin_or_go_on(work: Path, *, mark: bytes) -> None:
    """Empty a work folder that another command left; of the same one, only half-written files."""
    file = work / WORK_MARK
    if file.is_file() and file.read_bytes() == mark:
        for part in work.rglob(".*.part"):
            part.unlink()
        return
    for entry in work.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name != ".lock":
            entry.unlink()
    write_atomic(file, mark)


def _refuse_place(path: Path, inputs: Iterable[Path] = ()) -> None:
    """Refuse what no folder can be renamed to, or what would take an input with it."""
    if path.name in ("", ".."):
        raise ConfigError(
            f"{path} cannot be the folder of a result",
            why="the folder appears at the end, by one rename",
            fix="give the name of a new folder, such as models/NAME",
        )
    file = next((p for p in (path, *path.parents) if p.exists() and not p.is_dir()), None)
    if file is not None:
        raise InputError(
            f"{path} cannot become a folder: {file} is a file",
            fix="give another place for the result, or remove the file",
        )
    for item in inputs:
        if path.exists() and item.resolve().is_relative_to(path.resolve()):
            raise InputError(
                f"{path} holds the input {item}",
                why="the result replaces the whole folder, and the input would be lost",
                fix="give another place for the result",
            )


def _refuse_existing(path: Path, *, force: bool) -> None:
    if path.exists() and any(path.iterdir()) and not force:
        raise InputError(
            f"{path} exists already",
            why="nothing is overwritten unless it is asked for",
            fix="give another place for the result, or add --force to replace it",
        )


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


def sha256(path: Path, *, but: Path | None = None) -> str:
    """Return the hex digest of a file, or of a folder (relative names and contents, sorted).

    Args:
        path: the file or folder.
        but: a file in the folder that does not count.

    Raises:
        InputError: nothing is there, or it cannot be read.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist", fix="check the path")
    digest = hashlib.sha256()
    try:
        for file in list_files(path):
            if file == but:
                continue
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
    path = final_place(path)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResourceError(
            f"the disk is full: {path} could not be written",
            why=f"{error.strerror}; {_free(path)} left",
            fix="free some space or give another place for the result, then repeat the command; it "
            "goes on where it can",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ResourceError(
            f"no permission for {path}",
            why=str(error.strerror),
            fix="give another place for the result, or change the folder's owner or mode",
        )
    if error.errno == errno.EFBIG:
        return ResourceError(
            f"a file of {path} became too large for this file system or for this user",
            why=str(error.strerror),
            fix="give another place for the result, or smaller files where the command has "
            "--max-shard-gb; ulimit -f shows a limit",
        )
    return InputError(
        f"{path}: {error.strerror or error}",
        fix="check the path and the disk, then repeat the command",
    )


def final_place(path: Path) -> Path:
    """Return where the user will find what is now made in a hidden `.NAME.work`; else `path`."""
    for work in (path, *path.parents):
        if work.name.startswith(".") and work.suffix == ".work":
            rest = path.relative_to(work).parts[1:]  # without the `out` of `resumable_directory`
            return work.with_name(work.stem[1:]).joinpath(*rest)
    return path


def _free(path: Path) -> str:
    existing = next((p for p in (path, *path.parents) if p.exists()), Path())
    return f"{shutil.disk_usage(existing).free / 1e6:.0f} MB"
