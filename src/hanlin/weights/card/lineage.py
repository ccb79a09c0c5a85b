"""Which stages of a run led to a model, and what did they read that the run did not make?"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from hanlin.core.errors import InputError
from hanlin.core.files import read_json
from hanlin.models.manifest import weights_sha256

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
SAMPLE = "hanlin:samples/"  # of a recipe's input: a file that comes with Hanlin
NOT_TRAINED_ON = ("probe", "control")  # keys of texts that are only measured
MODEL_KEYS = ("base", "model", "tokenizer", "adapter", "init_from", "continue_from")


@dataclass(frozen=True)
class Source:
    """Something that a run read and did not make.

    Attributes:
        name: of the recipe's input, of the source in a stage, else of the file.
        path: as it was written; never shown where it is a path on somebody's disk.
        is_model: a model, an adapter or a tokenizer; else data.
        license: what the recipe says of it; "" where it says nothing.
        is_sample: comes with Hanlin.
    """

    name: str
    path: str
    is_model: bool
    license: str = ""
    is_sample: bool = False

    @property
    def hub_id(self) -> str:
        """Return its id on the hub, "" where the path is none."""
        return self.path if self.is_model and HUB_ID.fullmatch(self.path) else ""


@dataclass(frozen=True)
class Lineage:
    """What led to one output of a run.

    Attributes:
        reference: the output, as stages refer to it: "@merge/model".
        records: the stage.json of each stage that led to it, in the order they were run.
        sources: what these stages read from outside.
        evaluated: name of each evaluated model that this is, or that it was merged into ->
            reference.
    """

    reference: str
    records: tuple[dict[str, Any], ...]
    sources: tuple[Source, ...]
    evaluated: dict[str, str] = field(default_factory=dict)


def find_lineage(model: Path, run_dir: Path) -> Lineage:
    """Find a model among the outputs of a run.

    Args:
        model: the model's or adapter's folder: one of the run's, or a copy of one.
        run_dir: the folder that `hanlin run` wrote.

    Raises:
        InputError: the run has no such model, or a record cannot be read.
    """
    records = {r["id"]: r for r in map(read_json, sorted(run_dir.glob("*/stage.json")))}
    reference = _reference(model, run_dir, records)
    order = [stage["id"] for stage in read_json(run_dir / "run.json")["stages"]]
    needed = _needed(reference, records)
    chosen = [records[id_] for id_ in order if id_ in needed]
    return Lineage(
        reference,
        tuple(chosen),
        tuple(_sources(chosen, _inputs(run_dir))),
        _evaluated(reference, records),
    )


def run_of(model: Path) -> Path | None:
    """Return the run whose output a folder is (RUN/STAGE/NAME), None where it is none."""
    run_dir = model.resolve().parent.parent
    return run_dir if (run_dir / "run.json").is_file() else None


def _reference(model: Path, run_dir: Path, records: dict[str, dict[str, Any]]) -> str:
    places = {
        f"@{id_}/{output['name']}": run_dir / id_ / output["path"]
        for id_, record in records.items()
        for output in record["outputs"]
        if output["kind"] in ("model", "adapter")
    }
    for reference, place in places.items():
        if place.resolve() == model.resolve():
            return reference
    here = _sizes(model)
    for reference, place in places.items():
        if here and _sizes(place) == here and weights_sha256(place) == weights_sha256(model):
            return reference
    raise InputError(
        f"{model} is not a model of the run {run_dir}",
        why=f"its weights are none of: {', '.join(places) or 'the run has no finished model'}",
        fix="give one of them, a copy of one, or the run's folder itself",
    )


def _sizes(folder: Path) -> list[tuple[str, int]]:
    return sorted((file.name, file.stat().st_size) for file in folder.glob("*.safetensors"))


def _needed(reference: str, records: dict[str, dict[str, Any]]) -> set[str]:
    needed: set[str] = set()
    waiting = [reference]
    while waiting:
        id_ = waiting.pop().removeprefix("@").split("/")[0]
        if id_ in records and id_ not in needed:
            needed.add(id_)
            waiting += [path for path in _trained_on(records[id_]) if path.startswith("@")]
    return needed


def _trained_on(record: dict[str, Any]) -> list[str]:
    measured = set[str]()
    used = set[str]()
    for key, value in (record.get("config") or {}).items():
        (measured if key in NOT_TRAINED_ON else used).update(_texts(value))
    return [path for path in record.get("inputs", {}) if path not in measured - used]


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [text for item in items for text in _texts(item)]


def _inputs(run_dir: Path) -> dict[str, dict[str, Any]]:
    """Return the recipe's inputs: name -> path, kind, about, license."""
    file = run_dir / "recipe.yaml"
    recipe = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return dict((recipe or {}).get("inputs") or {})


def _sources(records: list[dict[str, Any]], inputs: dict[str, dict[str, Any]]) -> list[Source]:
    found: dict[str, Source] = {}
    for record in records:
        if record["stage"] == "sample-world":
            name = "Hanlin's invented sample world"
            found.setdefault(name, Source(name, "", is_model=False, is_sample=True))
        for path in _trained_on(record):
            if not path.startswith("@"):
                found.setdefault(path, _source(path, record.get("config") or {}, inputs))
    return list(found.values())


def _source(path: str, config: dict[str, Any], inputs: dict[str, dict[str, Any]]) -> Source:
    for name, item in inputs.items():
        own = str(item.get("path", ""))
        is_sample = own.startswith(SAMPLE)
        if path == own or (is_sample and path.endswith("samples/" + own.removeprefix(SAMPLE))):
            is_model = item.get("kind") in ("model", "adapter")
            license = str(item.get("license") or "")
            return Source(name, path, is_model=is_model, license=license, is_sample=is_sample)
    is_model = any(config.get(key) == path for key in MODEL_KEYS)
    named = [
        str(row["name"])
        for key in ("sources", "replay")
        for row in config.get(key) or []
        if isinstance(row, dict) and row.get("path") == path and row.get("name")
    ]
    return Source(named[0] if named else Path(path).name, path, is_model=is_model)


def _evaluated(reference: str, records: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Return the evaluated models that are this output; of an adapter those it was merged into."""
    models = {
        name: str(path)
        for record in records.values()
        if record["stage"] == "evaluate"
        for name, path in ((record.get("config") or {}).get("models") or {}).items()
    }
    same = {name: path for name, path in models.items() if path == reference}
    merged = {
        f"@{id_}/model"
        for id_, record in records.items()
        if record["stage"] == "merge" and record["config"].get("adapter") == reference
    }
    return same or {name: path for name, path in models.items() if path in merged}
