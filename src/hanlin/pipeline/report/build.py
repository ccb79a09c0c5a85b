"""From a run's folder to its report card, and to the three files that show it.

hanlin report runs/quickstart
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hanlin.core.errors import InputError
from hanlin.core.files import os_error, write_atomic
from hanlin.pipeline.report.card import Card, Evaluation, RunStatus, StageLine
from hanlin.pipeline.report.clean import clean, without_paths
from hanlin.pipeline.report.curves import curves
from hanlin.pipeline.report.exports import (
    export_checks,
    fertility_bars,
    segmentations,
    vocabulary_counts,
)
from hanlin.pipeline.report.folder import RunFolder, artifacts_of_kind, open_folder, stage_lines
from hanlin.pipeline.report.scores import evaluation
from hanlin.pipeline.report.summary import summary
from hanlin.pipeline.report.texts import training_texts

__all__ = ["build", "summary", "write"]


def build(run_dir: Path) -> Card:
    """Read a run's folder; the same folder always gives the same card.

    Works for a run that failed, was interrupted or goes on: what is missing is said in `notes`.

    Raises:
        InputError: the folder does not exist or is not a run's.
    """
    _check(run_dir)
    folder = open_folder(run_dir)
    stages = stage_lines(folder)
    evaluations = _evaluations(folder)
    card = Card(
        name=str(folder.run.get("name") or clean(run_dir.resolve().name)),
        description=str(folder.run.get("description") or ""),
        recipe=without_paths(str(folder.run.get("recipe") or ""), run_dir),
        seed=seed if isinstance(seed := folder.run.get("seed"), int) else None,
        hanlin=str(folder.run.get("hanlin") or ""),
        status=_status(stages),
        finished_at=_finished_at(folder.events),
        stages=stages,
        curves=curves(folder.events),
        training=training_texts(folder.events, run_dir),
        evaluations=evaluations,
        fertility=fertility_bars(folder, evaluations),
        vocabulary=vocabulary_counts(folder),
        segmentation=segmentations(folder),
        checks=export_checks(folder),
        environment=_environment(folder, stages),
        recipe_text=_recipe_text(folder),
    )
    notes = dict.fromkeys((*folder.notes, *_missing(card)))
    return replace(card, notes=tuple(notes))


def write(run_dir: Path) -> Card:
    """Build the card and write report.md, report.html and report.json where they changed.

    Raises:
        InputError: the folder does not exist or is not a run's.
        ResourceError: the disk is full or the folder cannot be written.
    """
    from hanlin.pipeline.report.html import render
    from hanlin.pipeline.report.markdown import markdown

    card = build(run_dir)
    contents = {
        "report.json": json.dumps(card.to_json(), ensure_ascii=False, indent=1) + "\n",
        "report.md": markdown(card),
        "report.html": render(card),
    }
    for name, text in contents.items():
        write_if_changed(run_dir / name, text)
    return card


def write_if_changed(path: Path, text: str) -> bool:
    """Write a text file atomically unless it holds this text already; tell whether it did."""
    data = text.encode("utf-8")
    try:
        if path.is_file() and path.read_bytes() == data:
            return False
    except OSError as error:
        raise os_error(error, path) from error
    write_atomic(path, data)
    return True


def _check(run_dir: Path) -> None:
    if not run_dir.is_dir():
        below_runs = Path("runs") / run_dir
        known = below_runs.is_dir() and not run_dir.is_absolute()
        raise InputError(
            f"{run_dir} is not a folder" if run_dir.exists() else f"{run_dir} does not exist",
            why="a report is made from the folder that `hanlin run` writes",
            fix=f"did you mean {below_runs}?" if known else "give a folder such as runs/quickstart",
        )
    if (run_dir / "run.json").exists() or (run_dir / "events.jsonl").exists():
        return
    if (run_dir / "stage.json").exists():
        raise InputError(
            f"{run_dir} is the folder of one stage, not of a run",
            fix=f"hanlin report {run_dir.parent}",
        )
    if not any(run_dir.glob("*/stage.json")):
        raise InputError(
            f"{run_dir} is not the folder of a run",
            why="it has no run.json, no events.jsonl and no finished stage",
            fix="give a folder that `hanlin run` wrote, such as runs/quickstart",
        )


def _evaluations(folder: RunFolder) -> tuple[Evaluation, ...]:
    found = []
    for id_, path in artifacts_of_kind(folder, "scores"):
        document = folder.read(path / "scores.json" if path.is_dir() else path)
        if document is not None:
            read = evaluation(document, stage=id_, notes=folder.notes)
            found += [read] if read else []
    return tuple(found)


def _status(stages: tuple[StageLine, ...]) -> RunStatus:
    states = {stage.status for stage in stages}
    if "failed" in states:
        return "failed"
    if "unfinished" in states:
        return "unfinished"
    return "finished" if states == {"finished"} else "partial"


def _finished_at(events: list[dict[str, Any]]) -> str:
    times = [
        event["t"]
        for event in events
        if event.get("event") == "stage_finished" and isinstance(event.get("t"), int | float)
    ]
    try:
        moment = datetime.fromtimestamp(max(times), UTC)
    except (ValueError, OverflowError, OSError):  # no times, or none that a calendar has
        return ""
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def _environment(folder: RunFolder, stages: tuple[StageLine, ...]) -> dict[str, str]:
    """Return machine and versions of the last stage; a fact that changed on the way has both."""
    facts: dict[str, list[str]] = {}
    for stage in stages:
        described = folder.records.get(stage.id, {}).get("environment")
        for key, value in described.items() if isinstance(described, dict) else ():
            known = facts.setdefault(key, [])
            if str(value) not in known:
                known.append(str(value))
    return {key: ", then ".join(values) for key, values in facts.items()}


def _recipe_text(folder: RunFolder) -> str:
    """Return the recipe that was run, else the settings that the stages recorded."""
    try:
        text = (folder.path / "recipe.yaml").read_text(encoding="utf-8", errors="replace")
    except OSError:
        import yaml

        settings = {
            id_: record["config"] for id_, record in folder.records.items() if record.get("config")
        }
        dump = yaml.safe_dump(settings, allow_unicode=True, sort_keys=False, width=100)
        text = dump if settings else ""
    return without_paths(clean(text), folder.path)


def _missing(card: Card) -> list[str]:
    notes = [f"stage {stage.id} failed: {stage.error}" for stage in card.stages if stage.error]
    unfinished = [stage.id for stage in card.stages if stage.status == "unfinished"]
    not_run = [stage.id for stage in card.stages if stage.status == "not run"]
    if unfinished:
        notes.append(f"interrupted or still going on: {', '.join(unfinished)}")
    if not_run:
        notes.append(f"not run: {', '.join(not_run)}")
    if not any(evaluation.rows for evaluation in card.evaluations):
        notes.append("not evaluated: the run holds no scores")
    return notes
