"""Which shape has a model that is not here? Known by name or hub id in `shapes.yaml`, offline."""

from __future__ import annotations

import difflib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from hanlin.core.errors import InputError
from hanlin.core.files import read_json
from hanlin.models.info import ModelInfo, describe, read_info


def known_shapes() -> dict[str, ModelInfo]:
    """Return the models known by name: name -> shape."""
    return {name: describe(row["config"], name=name) for name, row in _table().items()}


def hub_ids() -> dict[str, str]:
    """Return the hub ids whose shape is known: id -> name."""
    return {hub: name for name, row in _table().items() for hub in row["hub"]}


def find_shape(model: str) -> ModelInfo:
    """Return the shape of a model given by name, hub id, folder or `config.json`.

    Raises:
        InputError: it is none of these; the message names the nearest known one.
    """
    path = Path(model).expanduser()
    if path.is_dir():
        return read_info(path)
    if path.is_file():
        return describe(read_json(path), name=str(path))
    found = known_shape(model)
    if found is not None:
        return found
    names = [*_table(), *hub_ids()]
    near = difflib.get_close_matches(model.lower(), names, n=1, cutoff=0.5)
    raise InputError(
        f"the shape of the model {model!r} is not known",
        why=f"it is no folder and no file, and the known names are: {', '.join(_table())}",
        fix=f"did you mean {near[0]!r}? Or give the path of the model's config.json"
        if near
        else "give the path of the model's folder or of its config.json",
    )


def known_shape(model: str) -> ModelInfo | None:
    """Return the shape of a model known by name or hub id, None for any other."""
    lower = {key.lower(): key for key in (*_table(), *hub_ids())}
    key = lower.get(model.lower())
    if key is None:
        return None
    name = hub_ids().get(key, key)
    return describe(_table()[name]["config"], name=name)


@cache
def _table() -> dict[str, Any]:
    text = files("hanlin.models").joinpath("shapes.yaml").read_text(encoding="utf-8")
    table: dict[str, Any] = yaml.safe_load(text)
    return table
