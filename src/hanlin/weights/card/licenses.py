"""What does a license allow? Data in `licenses.yaml`: pointers for people, not legal advice."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from hanlin.core.errors import ConfigError


@dataclass(frozen=True)
class License:
    """A license, as far as a model card speaks of it.

    Attributes:
        id: the hub's identifier, or the table's where the hub has none.
        name: as people write it.
        link: where its text is; "" where that is not known.
        hub: what the hub wants as `license`.
        hub_name: what the hub wants as `license_name`, where `hub` is "other".
        commercial: whether it allows commercial use; None: its terms are not in the table.
        changes: whether it allows to pass on changed works; None as above.
        stays: what is made from it must carry it, too.
        terms: what else one has to do or to leave.
    """

    id: str
    name: str
    link: str = ""
    hub: str = ""
    hub_name: str = ""
    commercial: bool | None = True
    changes: bool | None = True
    stays: bool = False
    terms: tuple[str, ...] = ()

    @property
    def metadata(self) -> dict[str, str]:
        """Return the hub's keys for it."""
        if not self.hub:
            return {"license": self.id}
        link = {"license_link": self.link} if self.link else {}
        return {"license": self.hub, "license_name": self.hub_name, **link}


def find_license(text: str) -> License:
    """Return a license that somebody typed, by its identifier; see `named_license`.

    Raises:
        ConfigError: it is empty, or looks like a misspelled identifier.
    """
    known = _licenses()
    near = difflib.get_close_matches(text.strip().lower(), known, n=1, cutoff=0.8)
    if text.strip() and (not near or near[0] == text.strip().lower()):
        return named_license(text)
    raise ConfigError(
        f"unknown license {text!r}",
        why="it is written almost like one that is known" if near else "it has no name",
        fix=f"did you mean {near[0]!r}?" if near else "give an identifier such as apache-2.0",
    )


def named_license(text: str) -> License:
    """Return a license by its identifier; one that the table has not is kept by its name."""
    name = text.strip()
    id_ = name.lower()
    hub_name = "-".join(id_.split())
    unknown = License(id_, name, hub="other", hub_name=hub_name, commercial=None, changes=None)
    return _licenses().get(id_, unknown)


def license_of_model(hub_id: str) -> License | None:
    """Return the license of a well-known base model, None for any other."""
    id_ = _models().get(hub_id.lower())
    return None if id_ is None else _licenses()[id_]


@cache
def _table() -> dict[str, Any]:
    text = files("hanlin.weights.card").joinpath("licenses.yaml").read_text(encoding="utf-8")
    table: dict[str, Any] = yaml.safe_load(text)
    return table


@cache
def _licenses() -> dict[str, License]:
    return {
        id_: License(id=id_, **{**row, "terms": tuple(row.get("terms", ()))})
        for id_, row in _table()["licenses"].items()
    }


@cache
def _models() -> dict[str, str]:
    rows = _table()["models"].items()
    return {hub_id.lower(): license for license, ids in rows for hub_id in ids}
