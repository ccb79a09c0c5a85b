"""What a run will do: for each stage run or skip, and why. Reads the disk, changes nothing."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hanlin import __version__
from hanlin.core.artifacts import Artifact
from hanlin.core.config import (
    InputPath,
    input_paths,
    map_paths,
    with_paths,
)
from hanlin.core.errors import ConfigError, InputError, ResourceError
from hanlin.core.files import sha256
from hanlin.core.registry import did_you_mean
from hanlin.core.stage import Stage, StageConfig
from hanlin.pipeline.recipe import Recipe, RecipeStage

RECORD = "stage.json"


@dataclass(frozen=True)
class PlannedStage:
    """One line of the plan.

    Attributes:
        id: the stage's id in the recipe.
        kind: name in the table of stages.
        stage: the row of that table.
        config: settings with absolute paths, ready for `stage.run`.
        written: the same settings with paths and references as they were written.
        inputs: path or reference as written -> fingerprint or digest.
        fingerprint: changes with the config, the inputs, the seed and the code version.
        action: whether it will run.
        reason: why, in a few words.
    """

    id: str
    kind: str
    stage: Stage
    config: StageConfig
    written: StageConfig
    inputs: dict[str, str]
    fingerprint: str
    action: Literal["run", "skip"]
    reason: str


def make_plan(
    recipe: Recipe, run_dir: Path, *, until: str | None = None, redo: Sequence[str] = ()
) -> list[PlannedStage]:
    """Decide for every stage whether it runs; check that what it reads is there.

    Args:
        recipe: the validated recipe.
        run_dir: where its artifacts live, or will.
        until: leave out the stages after this one.
        redo: run these stages, and what depends on them, even when they are up to date.

    Raises:
        ConfigError: `until` or `redo` names no stage.
        InputError: a file or folder that a stage reads is missing.
        ResourceError: the disk has too little space for the stages that will run.
    """
    ids = [stage.id for stage in recipe.stages]
    for name in (*redo, *([until] if until else [])):
        if name not in ids:
            raise ConfigError(
                f"the recipe has no stage {name!r}",
                why=f"its stages are: {', '.join(ids)}",
                fix=did_you_mean(name, ids),
            )
    chosen = recipe.stages[: ids.index(until) + 1] if until else recipe.stages
    planned: dict[str, PlannedStage] = {}
    for stage in chosen:
        planned[stage.id] = _plan_stage(recipe, stage, run_dir, planned, redo=stage.id in redo)
    plan = list(planned.values())
    _check_disk(plan, run_dir)
    return plan


def plan_single(kind: str, stage: Stage, config: StageConfig, *, seed: int) -> PlannedStage:
    """Plan one stage outside of a recipe; its paths are meant from the current folder.

    Raises:
        InputError: something that it reads is missing.
    """
    inputs = {str(path): _digest(path, _located(path, Path.cwd())) for path in input_paths(config)}
    return PlannedStage(
        id=kind,
        kind=kind,
        stage=stage,
        config=with_paths(config, lambda path: _located(path, Path.cwd())),
        written=config,
        inputs=inputs,
        fingerprint=_fingerprint(kind, kind, stage, config, inputs, seed),
        action="run",
        reason="asked for",
    )


def _plan_stage(
    recipe: Recipe,
    stage: RecipeStage,
    run_dir: Path,
    before: dict[str, PlannedStage],
    *,
    redo: bool,
) -> PlannedStage:
    inputs: dict[str, str] = {}
    upstream: list[PlannedStage] = []
    for path in input_paths(stage.config):
        if path.is_reference:
            maker = before[path[1:].split("/")[0]]
            inputs[str(path)] = maker.fingerprint
            upstream.append(maker)
        else:
            inputs[str(path)] = _digest(path, _located(path, recipe.source.folder))

    def locate(path: InputPath) -> str:
        if not path.is_reference:
            return _located(path, recipe.source.folder)
        return _referenced(path, before, run_dir)

    fingerprint = _fingerprint(stage.id, stage.kind, stage.stage, stage.config, inputs, recipe.seed)
    redone = next((maker.id for maker in upstream if maker.action == "run"), None)
    reason = "asked for by --redo" if redo else why_not_finished(run_dir / stage.id, fingerprint)
    if redone and not reason:
        reason = f"{redone} is made again"
    return PlannedStage(
        id=stage.id,
        kind=stage.kind,
        stage=stage.stage,
        config=with_paths(stage.config, locate),
        written=stage.config,
        inputs=inputs,
        fingerprint=fingerprint,
        action="run" if reason else "skip",
        reason=reason or "unchanged and intact",
    )


def why_not_finished(folder: Path, fingerprint: str) -> str:
    """Return "" when a stage's folder is complete, unchanged and intact, else the reason."""
    record = read_record(folder)
    if record is None:
        return "not made yet" if not folder.exists() else "its record is missing or damaged"
    if record["fingerprint"] != fingerprint:
        return "its settings, inputs or code changed"
    for output in record["outputs"]:
        if not Artifact(**output).is_intact(folder):
            return f"its output {output['path']} is damaged or missing"
    return ""


def read_record(folder: Path) -> dict[str, Any] | None:
    """Return the stage.json of a finished stage, or None when there is none that can be read."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        record["fingerprint"], [Artifact(**output) for output in record["outputs"]]
    except (OSError, ValueError, KeyError, TypeError):  # any damage means: it is made again
        return None
    return record


def _referenced(path: InputPath, before: dict[str, PlannedStage], run_dir: Path) -> str:
    id_, name, *rest = path[1:].split("/")
    relative = before[id_].stage.outputs_of(before[id_].config)[name][1]
    return str(Path(run_dir.resolve(), id_, relative, *rest))


def _located(path: InputPath, folder: Path) -> str:
    if path.is_hub_id and not (folder / path).exists():
        return str(path)
    return str((folder / Path(path).expanduser()).resolve())


def _digest(path: InputPath, located: str) -> str:
    if path.is_hub_id and not Path(located).is_absolute():
        return located  # a hub id stands for itself
    if not Path(located).exists():
        raise InputError(
            f"{path} does not exist",
            why=f"looked for {located}; relative paths are meant from the recipe's folder",
            fix="check the path in the recipe",
        )
    return sha256(Path(located))


def _fingerprint(
    id_: str, kind: str, stage: Stage, config: StageConfig, inputs: dict[str, str], seed: int
) -> str:
    """Hash what the result depends on; where a file lies does not matter, what is in it does.

    Neither does the number of processes: what some of them began, others can finish.
    """
    settings = map_paths(config.model_dump(), lambda path: inputs[str(path)])
    settings.pop("processes", None)
    parts = [id_, kind, stage.revision, __version__, settings, seed]
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _check_disk(plan: list[PlannedStage], run_dir: Path) -> None:
    needed = sum(
        item.stage.estimate(item.config).disk_bytes or 0 for item in plan if item.action == "run"
    )
    existing = next(p for p in (run_dir.resolve(), *run_dir.resolve().parents) if p.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise ResourceError(
            f"the run needs about {needed / 1e9:.1f} GB of disk, {existing} has "
            f"{free / 1e9:.1f} GB left",
            fix="free some space or give --out on a larger disk",
        )
