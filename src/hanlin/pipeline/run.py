"""Carry out a plan: run what must run, resume what was interrupted, leave nothing half made."""

from __future__ import annotations

import fcntl
import json
import shutil
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hanlin import __version__
from hanlin.core import environment
from hanlin.core.artifacts import Artifact
from hanlin.core.errors import ConfigError, HanlinError, InputError, ResourceError, StageFailedError
from hanlin.core.events import EventLog
from hanlin.core.files import (
    fsync_tree,
    move_into_place,
    os_error,
    write_atomic,
    write_json,
)
from hanlin.core.stage import StageConfig, StageContext
from hanlin.pipeline import cache, launch
from hanlin.pipeline.plan import RECORD, PlannedStage, plan_single, read_record
from hanlin.pipeline.recipe import Recipe
from hanlin.pipeline.stages import STAGES

TRACE = "-traceback.txt"
TENSORBOARD = "tensorboard"  # beside events.jsonl, where training was asked for it
LOW_DISK_BYTES = 8_000_000  # a failure with less than this left is put down to the disk

Progress = Callable[[int, int, str], None]
Cost = dict[str, Any]  # seconds (float), peak_bytes (int)


def _silent(_done: int, _total: int, _text: str) -> None:
    return None


@dataclass(frozen=True)
class Observer:
    """Who is told while a run goes on; the command line draws, a library user may be silent.

    Attributes:
        started: called with (position, number of stages, stage) before each stage.
        finished: called with (stage, seconds); 0.0 seconds for one that is skipped.
        progress: called with (done, total, text) within a stage.
        note: called with a line for people.
    """

    started: Callable[[int, int, PlannedStage], None] = lambda _i, _n, _stage: None
    finished: Callable[[PlannedStage, float], None] = lambda _stage, _seconds: None
    progress: Progress = _silent
    note: Callable[[str], None] = lambda _line: None


def run_plan(
    recipe: Recipe, plan: list[PlannedStage], run_dir: Path, *, observer: Observer | None = None
) -> None:
    """Run every stage of the plan that is not up to date; stop at the first failure.

    Finished stages stay; the same call goes on where it stopped.

    Raises:
        HanlinError: a stage met a wrong input or the machine's limits.
        StageFailedError: a stage failed for another reason; it can be resumed.
        ResourceError: another process uses the run, or its folder cannot be written.
    """
    observer = observer or Observer()
    with locked(run_dir):
        _describe_run(recipe, run_dir)
        events = EventLog(run_dir / "events.jsonl")
        if any(item.action == "run" for item in plan):
            events.emit("run_started", name=recipe.name, stages=[item.id for item in plan])
        for position, item in enumerate(plan, 1):
            observer.started(position, len(plan), item)
            seconds = 0.0
            if item.action == "run":
                seconds = _run_into(item, run_dir / item.id, recipe.seed, events, observer)
            observer.finished(item, seconds)
        if any(item.action == "run" for item in plan):
            events.emit("run_finished", name=recipe.name)
        with suppress(OSError):  # not empty: a stage that this plan left out is still unfinished
            (run_dir / ".work").rmdir()


def run_single(  # noqa: PLR0913 - all but the first three have a default
    kind: str,
    config: StageConfig,
    *,
    out: Path,
    force: bool = False,
    seed: int = 0,
    progress: Progress = _silent,
    note: Callable[[str], None] = lambda _line: None,
) -> Path:
    """Run one stage outside of a recipe; interrupted, the same call goes on.

    A stage with one output folder leaves that folder as `out`; one with several leaves them
    below `out`.

    Raises:
        InputError: `out` exists and `force` is not set, or something that it reads is missing.
        HanlinError: as for `run_plan`.
    """
    if out.exists() and not force and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            f"{out} exists already",
            why="nothing is overwritten unless it is asked for",
            fix="give another --out, or add --force to replace it",
        )
    item = plan_single(kind, STAGES.get(kind), config, seed=seed)
    work = _work_of(out)
    with locked(work):
        folder = work / "stage"
        events = EventLog(folder.with_name("events.jsonl"))
        try:
            _run_into(item, folder, seed, events, Observer(progress=progress, note=note))
        except (ConfigError, InputError):  # nothing to go on with: the input has to change
            shutil.rmtree(work, ignore_errors=True)
            raise
        outputs = list(item.stage.outputs_of(config).values())
        result = folder / outputs[0][1] if len(outputs) == 1 else folder
        if result.is_dir():
            events.path.replace(result / "events.jsonl")
            if (work / TENSORBOARD).is_dir():
                shutil.move(work / TENSORBOARD / item.id, result / TENSORBOARD)
        move_into_place(result, out)
    shutil.rmtree(work, ignore_errors=True)
    return out


def is_interrupted(kind: str, config: StageConfig, *, out: Path, seed: int = 0) -> bool:
    """Tell whether `run_single` would go on with what an interrupted call of it left."""
    item = plan_single(kind, STAGES.get(kind), config, seed=seed)
    return _read_mark(_work_of(out) / ".work" / item.id).get("fingerprint") == item.fingerprint


def _work_of(out: Path) -> Path:
    """Return where a stage works whose result goes to `out`."""
    return out.resolve().with_name(f".{out.resolve().name}.work")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for this process.

    Raises:
        ResourceError: another process holds it, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise os_error(error, folder) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ResourceError(
                f"another process is working in {folder}",
                fix="wait for it, stop it, or give another --out",
            ) from error
        yield


def _describe_run(recipe: Recipe, run_dir: Path) -> None:
    stages = [{"id": stage.id, "stage": stage.kind} for stage in recipe.stages]
    record = {
        "version": 1,
        "name": recipe.name,
        "description": recipe.description,
        "recipe": Path(recipe.source.name).name,
        "seed": recipe.seed,
        "stages": stages,
        "hanlin": __version__,
    }
    write_json(run_dir / "run.json", record)
    write_atomic(run_dir / "recipe.yaml", recipe.text.encode())


def _run_into(
    item: PlannedStage, folder: Path, seed: int, events: EventLog, observer: Observer
) -> float:
    """Run one stage in its work folder, then rename the work folder to `folder`."""
    started = time.monotonic()
    if item.stage.is_cacheable and cache.restore(item.fingerprint, folder):
        observer.note(f"  {item.id}: taken from the cache")
        events.emit("stage_cached", stage=item.id)
        return time.monotonic() - started
    work = folder.parent / ".work" / item.id
    try:
        cost = _open_work(item, work, folder)
        if cost is None:
            events.emit("stage_started", stage=item.id)
            context = StageContext(item.id, work, seed, events, observer.progress)
            cost = _run_measured(item, context, observer)
            _mark(work, item, cost)
        _finish(item, work, folder, cost)
    except KeyboardInterrupt:
        events.emit("stage_interrupted", stage=item.id)
        raise
    except Exception as error:
        raise _explain(item, error, work, events) from error
    events.emit("stage_finished", stage=item.id, **cost)
    if item.stage.is_cacheable:
        cache.keep(item.fingerprint, folder)
    return cost["seconds"]


def _run_measured(item: PlannedStage, context: StageContext, observer: Observer) -> Cost:
    started = time.monotonic()
    environment.reset_peak_memory()
    peak_bytes = launch.run_stage(item, context, note=observer.note)
    return {"seconds": round(time.monotonic() - started, 3), "peak_bytes": peak_bytes}


def _open_work(item: PlannedStage, work: Path, folder: Path) -> Cost | None:
    """Open what an interrupted run of the same stage left, or a new work folder.

    Returns:
        What the stage cost, when it had done its work and was killed before the rename.
    """
    mark = _read_mark(work)
    if mark.get("fingerprint") != item.fingerprint:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        _mark(work, item, None)
        mark = {}
    for half_written in sorted(work.rglob(".*.part")):  # left by a killed process
        shutil.rmtree(half_written) if half_written.is_dir() else half_written.unlink()
    record = read_record(folder)
    if record is None or record["fingerprint"] == item.fingerprint:
        # A damaged or repeated stage is not to be taken for a finished one if this is killed.
        (folder / RECORD).unlink(missing_ok=True)
    return mark.get("cost")


def _mark(work: Path, item: PlannedStage, cost: Cost | None) -> None:
    write_json(work.with_name(f"{work.name}.json"), {"fingerprint": item.fingerprint, "cost": cost})


def _read_mark(work: Path) -> dict[str, Any]:
    try:
        mark = json.loads(work.with_name(f"{work.name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # no mark, no work to go on with
        return {}
    return mark if work.is_dir() else {}


def _finish(item: PlannedStage, work: Path, folder: Path, cost: Cost) -> None:
    """Keep the promised outputs, describe them, and rename the folder into place."""
    outputs = item.stage.outputs_of(item.config)
    kept = {path.split("/")[0] for _, path in outputs.values()}
    for entry in sorted(work.iterdir()):
        if entry.name not in kept:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    artifacts = [
        Artifact.of(name, kind=kind, folder=work, relative=path, made_by=item.id)
        for name, (kind, path) in outputs.items()
    ]
    fsync_tree(work)
    record = {
        "version": 1,
        "id": item.id,
        "stage": item.kind,
        "fingerprint": item.fingerprint,
        "inputs": item.inputs,
        "config": item.written.model_dump(mode="json"),
        "outputs": [asdict(artifact) for artifact in artifacts],
        **cost,
        "environment": environment.describe(),
    }
    write_json(work / RECORD, record)
    move_into_place(work, folder)
    for beside in (f"{work.name}.json", f"{work.name}{TRACE}"):
        work.with_name(beside).unlink(missing_ok=True)


def _explain(item: PlannedStage, error: Exception, work: Path, events: EventLog) -> HanlinError:
    """Say what a stage died of; keep the traceback of what nobody foresaw."""
    again = "repeat the same command: finished stages are kept, this one goes on"
    if isinstance(error, HanlinError):
        explained = error
    elif isinstance(error, OSError) and error.errno is not None:
        explained = os_error(error, Path(error.filename or work))
    elif shutil.disk_usage(work.parent).free < LOW_DISK_BYTES:
        explained = ResourceError(
            f"the disk is full: stage {item.id!r} could not write to {work.parent.parent}",
            why=f"{type(error).__name__}: {error}",
            fix=f"free some space, then {again}",
        )
    elif isinstance(error, MemoryError):
        explained = ResourceError(f"stage {item.id!r} ran out of memory", fix="use smaller batches")
    else:
        trace = work.with_name(f"{work.name}{TRACE}")
        trace.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        explained = StageFailedError(
            f"stage {item.id!r} failed: {type(error).__name__}: {error}",
            why=f"the traceback is in {trace}",
            fix=f"mend the cause, then {again}",
        )
    _try_to_log(events, item.id, explained)
    return explained


def _try_to_log(events: EventLog, stage: str, error: HanlinError) -> None:
    try:
        events.emit("stage_failed", stage=stage, error=error.what)
    except OSError:  # a full disk cannot even take this line; the message still reaches the user
        return
