"""Which stages does a run's folder hold, and where are their artifacts?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hanlin.core.events import read_events
from hanlin.pipeline.report.card import ArtifactLine, StageLine, StageStatus
from hanlin.pipeline.report.clean import clean, without_paths

ENDED = {"stage_finished", "stage_failed", "stage_interrupted", "stage_cached"}


@dataclass
class RunFolder:
    """A run's folder as it was read; `notes` collects what could not be.

    Attributes:
        path: the folder.
        run: run.json, {} where it is missing or damaged.
        records: stage id -> its stage.json.
        places: stage id -> the stage's folder.
        events: events.jsonl.
        notes: what is missing or damaged.
    """

    path: Path
    run: dict[str, Any] = field(default_factory=dict)
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    places: dict[str, Path] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def read(self, file: Path) -> Any:  # noqa: ANN401 - any JSON value
        """Read a JSON file below the run; a missing or damaged one is noted and gives None."""
        name = clean(file.relative_to(self.path).as_posix())
        try:
            return clean(json.loads(file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            self.notes.append(f"{name} is missing")
        except (OSError, ValueError, RecursionError) as error:
            reason = without_paths(str(error), self.path)
            self.notes.append(f"{name} cannot be read: {reason}")
        return None


def open_folder(run_dir: Path) -> RunFolder:
    """Read run.json, events.jsonl and every stage.json of a run's folder."""
    folder = RunFolder(run_dir)
    if (run_dir / "run.json").exists():
        run = folder.read(run_dir / "run.json")
        folder.run = run if isinstance(run, dict) else {}
    else:
        folder.notes.append("run.json is missing: which stages were planned is not known")
    folder.events = [clean(event) for event in read_events(run_dir / "events.jsonl")]
    if not folder.events:
        folder.notes.append("events.jsonl is missing or empty: no curves")
    for file in sorted(run_dir.glob("*/stage.json")):
        if file.parent.name.startswith("."):
            continue
        record = folder.read(file)
        if isinstance(record, dict):
            id_ = str(record.get("id") or file.parent.name)
            folder.records[id_], folder.places[id_] = record, file.parent
    return folder


def stage_lines(folder: RunFolder) -> tuple[StageLine, ...]:
    """Return the planned stages in order, then those that only left a folder."""
    last = _last_events(folder.events)
    lines = [_stage_line(folder, id_, kind, last.get(id_)) for id_, kind in _planned(folder)]
    return tuple(lines)


def artifacts_of_kind(folder: RunFolder, *kinds: str) -> Iterator[tuple[str, Path]]:
    """Yield (stage id, path) of the artifacts of some kinds, in the order of the stages."""
    for id_, _ in _planned(folder):
        place = folder.places.get(id_)
        if place is None:
            continue
        for line in _artifacts(folder, id_):
            path = folder.path / line.path
            if line.kind in kinds and path.resolve().is_relative_to(place.resolve()):
                yield id_, path


def _planned(folder: RunFolder) -> list[tuple[str, str]]:
    stages = folder.run.get("stages")
    planned = {
        str(stage["id"]): str(stage.get("stage") or stage["id"])
        for stage in (stages if isinstance(stages, list) else [])
        if isinstance(stage, dict) and stage.get("id")
    }
    in_order = [str(event["stage"]) for event in folder.events if "stage" in event]
    for id_ in [*in_order, *sorted(folder.records)]:
        if id_ in folder.records:  # made by a recipe that has changed since, or run.json is lost
            planned.setdefault(id_, str(folder.records[id_].get("stage") or id_))
    return list(planned.items())


def _last_events(events: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return for each stage the event that tells how it last went."""
    last: dict[str, dict[str, Any]] = {}
    for event in events:
        if event.get("event") in ENDED | {"stage_started"} and "stage" in event:
            last[str(event["stage"])] = event
    return last


def _stage_line(folder: RunFolder, id_: str, kind: str, last: dict[str, Any] | None) -> StageLine:
    record = folder.records.get(id_, {})
    in_work = (folder.path / ".work" / id_).exists()
    status = _status(bool(record), last, in_work=in_work)
    error = str((last or {}).get("error", "")) if status == "failed" else ""
    return StageLine(
        id=id_,
        stage=kind,
        status=status,
        is_cached=status == "finished" and (last or {}).get("event") == "stage_cached",
        seconds=_number(record.get("seconds")),
        peak_bytes=_integer(record.get("peak_bytes")),
        artifacts=tuple(_artifacts(folder, id_)),
        error=without_paths(error, folder.path),
    )


def _status(has_record: bool, last: dict[str, Any] | None, *, in_work: bool) -> StageStatus:
    """Tell how a stage last went.

    A process killed right after it renamed a finished folder leaves "stage_started" as the last
    event; then there is a record and no work folder any more.
    """
    event = (last or {}).get("event")
    if event == "stage_failed":
        return "failed"
    if event in ("stage_started", "stage_interrupted") and (in_work or not has_record):
        return "unfinished"
    return "finished" if has_record else "not run"


def _artifacts(folder: RunFolder, id_: str) -> list[ArtifactLine]:
    outputs = folder.records.get(id_, {}).get("outputs")
    lines = []
    for output in outputs if isinstance(outputs, list) else []:
        if not isinstance(output, dict) or not isinstance(output.get("path"), str):
            continue
        lines.append(
            ArtifactLine(
                name=str(output.get("name", "")),
                kind=str(output.get("kind", "")),
                path=f"{folder.places[id_].name}/{output['path']}",
                sha256=str(output.get("sha256", "")),
                size_bytes=_integer(output.get("size_bytes")) or 0,
            )
        )
    return lines


def _number(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else None  # type: ignore[arg-type]


def _integer(value: object) -> int | None:
    number = _number(value)
    return None if number is None else int(number)
