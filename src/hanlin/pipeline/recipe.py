"""The recipe: one YAML file that says the whole run. Loading it imports no heavy library."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from hanlin.core.config import (
    ConfigSource,
    InputPath,
    StrictModel,
    input_paths,
    load_yaml,
    parse_value,
    set_value,
    validate,
)
from hanlin.core.errors import ConfigError, InputError
from hanlin.core.registry import did_you_mean
from hanlin.core.stage import Stage, StageConfig
from hanlin.pipeline.inputs import PREFIX, Input, fill_in
from hanlin.pipeline.stages import STAGES
from hanlin.pipeline.tiny import rehearsal


class RecipeFile(StrictModel):
    """The keys at the top of a recipe file. It knows no stage by name."""

    schema_version: int = Field(1, ge=1, le=1)
    """Format of this file."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)
    """Becomes the run directory's name: runs/NAME."""

    description: str = ""
    """What the recipe is for, in a sentence."""

    seed: int = Field(17, ge=0, le=2**31 - 1)
    """Root of every random stream of the run."""

    inputs: dict[str, Input] = {}
    """What a user supplies: name -> path, kind and words. Stages read it as "@inputs/NAME"."""

    compat: dict[str, Any] = {}
    """Settings that go back to what an older system did, as `--set` writes them:
    {pretrain.schedule.scheduler: constant}. Used with `--compat` alone."""

    stages: dict[str, dict[str, Any]] = Field(min_length=1)
    """Stage id -> its settings, run in this order. The key `stage` names the kind of stage and
    may be left out where the id is such a name; the other keys are the config of that stage."""


@dataclass(frozen=True)
class RecipeStage:
    """One stage of a recipe, validated.

    Attributes:
        id: unique within the recipe; names its folder.
        kind: name in the table of stages.
        stage: the row of that table.
        config: validated settings; paths and references as they were written.
    """

    id: str
    kind: str
    stage: Stage
    config: StageConfig


@dataclass(frozen=True)
class Recipe:
    """A validated recipe and where it came from."""

    name: str
    description: str
    seed: int
    stages: tuple[RecipeStage, ...]
    source: ConfigSource
    text: str
    inputs: dict[str, Input]
    compat: dict[str, Any]


def builtin_recipes() -> dict[str, Path]:
    """Return the recipes in the package: name -> file."""
    folder = Path(str(files("hanlin.recipes")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_recipe(name: str) -> Path:
    """Return the file of a recipe that is given by path or by the name of a built-in one.

    Raises:
        InputError: there is neither.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    known = builtin_recipes()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1)
    raise InputError(
        f"there is no recipe {name!r}",
        why=f"no such file, and the built-in recipes are: {', '.join(known)}",
        fix=f"did you mean {near[0]!r}?" if near else "hanlin recipe list",
    )


def load_recipe(
    path: Path, *, changes: Sequence[str] = (), is_tiny: bool = False, is_compat: bool = False
) -> Recipe:
    """Read and validate a recipe and the config of every stage in it.

    Args:
        path: the YAML file.
        changes: "stage.key=value" (or "seed=3", "inputs.base=PATH"), as given by --set; they win
            over the file.
        is_tiny: make it the small rehearsal of `pipeline.tiny`.
        is_compat: apply the file's `compat` settings.

    Raises:
        InputError: the file cannot be read.
        ConfigError: an unknown or doubled key, a bad value, a reference to nowhere.
    """
    raw, source = load_yaml(path)
    if path in builtin_recipes().values():
        source = replace(source, folder=Path.cwd())
    modes = [name for name, is_on in (("tiny", is_tiny), ("compat", is_compat)) if is_on]
    if is_compat:
        _apply_compat(raw, source)
    if is_tiny:
        _make_tiny(raw, source)
    for change in changes:
        _apply(raw, change, source)
    recipe_file = validate(RecipeFile, raw, source=source)
    paths = {name: item.path for name, item in recipe_file.inputs.items()}
    stages: list[RecipeStage] = []
    for id_, settings in fill_in(recipe_file.stages, paths, source).items():
        stage = _load_stage(id_, settings, source)
        _check_references(stage, stages, source)
        stages.append(stage)
    return Recipe(
        name=recipe_file.name,
        description=recipe_file.description,
        seed=recipe_file.seed,
        stages=tuple(stages),
        source=source,
        text=_effective_text(path, raw, [f"--{mode}" for mode in modes], changes),
        inputs=recipe_file.inputs,
        compat=recipe_file.compat,
    )


def _apply_compat(raw: dict[str, Any], source: ConfigSource) -> None:
    compat = validate(RecipeFile, raw, source=source).compat
    if not compat:
        raise ConfigError(
            f"{source.name} has no compat settings",
            why="--compat goes back to what an older system did, and this recipe follows none",
            fix="leave --compat out",
        )
    for key, value in compat.items():
        _set(raw, key, value, source)


def _make_tiny(raw: dict[str, Any], source: ConfigSource) -> None:
    """Turn a recipe's values into those of its rehearsal."""
    recipe_file = validate(RecipeFile, raw, source=source)
    stages, paths = rehearsal(recipe_file.stages, recipe_file.inputs)
    raw["stages"] = stages
    raw["name"] = f"{recipe_file.name}-tiny"
    for name, path in paths.items():
        _forget_license(raw["inputs"][name])
        raw["inputs"][name]["path"] = path


def _effective_text(
    path: Path, raw: dict[str, Any], modes: Sequence[str], changes: Sequence[str]
) -> str:
    """Return the recipe as it will be run: the file itself, comments and all, if nothing is set."""
    if not modes and not changes:
        return path.read_text(encoding="utf-8")
    raw = {key: value for key, value in raw.items() if key != "compat"}
    dump = yaml.dump(raw, Dumper=_Plain, allow_unicode=True, sort_keys=False, width=100)
    return "".join(f"# {line}\n" for line in [*modes, *(f"--set {c}" for c in changes)]) + dump


class _Plain(yaml.SafeDumper):
    """Writes a value that stands at two places twice, not as an anchor."""

    def ignore_aliases(self, data: object) -> bool:
        """Never refer back."""
        return True


def _apply(raw: dict[str, Any], change: str, source: ConfigSource) -> None:
    key, equals, text = change.partition("=")
    if not equals or not key:
        raise ConfigError(f"cannot read --set {change!r}", fix="write --set stage.key=value")
    _set(raw, key, parse_value(text), source)


def _set(raw: dict[str, Any], key: str, value: object, source: ConfigSource) -> None:
    first, _, rest = key.partition(".")
    if first == "inputs" and rest:
        name, _, below = rest.partition(".")
        _check_known(key, name, raw.get("inputs"), "input")
        if below in ("", "path"):
            key = f"inputs.{name}.path"
            _forget_license(raw["inputs"][name])
    elif rest:
        _check_known(key, first, raw.get("stages"), "stage")
        key = f"stages.{key}"
    set_value(raw, key, value, source)


def _forget_license(item: object) -> None:
    """Drop an input's license: it was said of another path."""
    if isinstance(item, dict):
        item.pop("license", None)


def _check_known(key: str, name: str, section: object, noun: str) -> None:
    known = [str(one) for one in section] if isinstance(section, dict) else []
    if name not in known:
        raise ConfigError(
            f"--set {key}: the recipe has no {noun} {name!r}",
            why=f"its {noun}s are: {', '.join(known)}",
            fix=did_you_mean(name, known),
        )


def _load_stage(id_: str, settings: dict[str, Any], source: ConfigSource) -> RecipeStage:
    where = ("stages", id_)
    if not id_ or not id_.replace("-", "").replace("_", "").isalnum() or not id_.isascii():
        raise ConfigError(
            f"{source.at(where)}: {id_!r} cannot be a stage id",
            why="an id names a folder: letters, digits, '-' and '_' only",
        )
    if f"@{id_}/" == PREFIX:
        raise ConfigError(
            f"{source.at(where)}: a stage cannot be called {id_!r}",
            why=f"{PREFIX}NAME is what the user supplies",
            fix="give it another id, and the key `stage`",
        )
    kind = settings.get("stage", id_)
    try:
        stage: Stage = STAGES.get(str(kind))
    except ConfigError as error:
        here = (*where, "stage") if "stage" in settings else where
        message = f"{source.at(here)}: {error.what}"
        raise ConfigError(message, why=error.why, fix=error.fix) from None
    values = {key: value for key, value in settings.items() if key != "stage"}
    return RecipeStage(
        id_, str(kind), stage, validate(stage.config, values, source=source, at=where)
    )


def _check_references(stage: RecipeStage, before: list[RecipeStage], source: ConfigSource) -> None:
    outputs = {
        f"@{earlier.id}/{name}"
        for earlier in before
        for name in earlier.stage.outputs_of(earlier.config)
    }
    for path in input_paths(stage.config):
        if path.is_reference and output_of(path) not in outputs:
            known = ", ".join(sorted(outputs)) or "nothing yet"
            raise ConfigError(
                f"{source.at(('stages', stage.id))}: stage {stage.id!r} reads {path}, "
                "which no earlier stage makes",
                why=f"earlier stages make: {known}",
                fix=did_you_mean(output_of(path), outputs),
            )


def output_of(reference: InputPath) -> str:
    """Return the "@stage/output" part of a reference that may go on below a folder."""
    return "/".join(reference.split("/")[:2])


def recipe_schema() -> dict[str, Any]:
    """Return the JSON Schema of a recipe with the settings of every stage, for editors."""
    schema = RecipeFile.model_json_schema()
    definitions: dict[str, Any] = {}
    variants = []
    for kind in STAGES:
        stage: Stage = STAGES.get(kind)
        part = stage.config.model_json_schema(ref_template="#/$defs/{model}")
        definitions |= part.pop("$defs", {})
        part["properties"] = {"stage": {"const": kind}, **part["properties"]}
        part["title"], part["description"] = kind, stage.summary
        variants.append(part)
    schema["properties"]["stages"]["additionalProperties"] = {"anyOf": variants}
    return {**schema, "$defs": definitions}
