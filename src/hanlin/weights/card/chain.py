"""Under which licenses came what a model was made from, and what do they allow of the model?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from hanlin.core.errors import ConfigError
from hanlin.core.registry import did_you_mean
from hanlin.weights.card.licenses import License, find_license, license_of_model, named_license
from hanlin.weights.card.lineage import HUB_ID, Source

Part = Literal["base model", "data"]
GIVEN = "named by the maker of this card"


@dataclass(frozen=True)
class Link:
    """Something that the model was made from.

    Attributes:
        part: what it is to the model.
        name: as the card calls it.
        license: None: not known.
        known_from: where the license is known from; "" where it is not.
    """

    part: Part
    name: str
    license: License | None
    known_from: str = ""


@dataclass(frozen=True)
class Chain:
    """All links, and what follows for the model.

    Attributes:
        links: base models first, then data.
        given: the license that the maker names for the model, None where they name none.
    """

    links: tuple[Link, ...]
    given: License | None = None

    @property
    def unknown(self) -> list[Link]:
        """Return the links whose license is not known."""
        return [link for link in self.links if link.license is None]

    @property
    def forbids_commercial(self) -> list[Link]:
        """Return the links that forbid commercial use."""
        return [link for link in self.links if link.license and link.license.commercial is False]

    @property
    def forbids_changes(self) -> list[Link]:
        """Return the links that forbid to pass on changed works."""
        return [link for link in self.links if link.license and link.license.changes is False]

    @property
    def staying(self) -> list[Link]:
        """Return the links whose license wants to be that of the model, too."""
        return [link for link in self.links if link.license and link.license.stays]

    @property
    def result(self) -> License | None:
        """Return the model's license: the one that was named, else what the links come to.

        With every link known: the first one that forbids commercial use, else the first that wants
        to stay, else the first. None where a link is not known, or there is none.
        """
        if self.given or self.unknown or not self.links:
            return self.given
        first = (self.forbids_commercial + self.staying + list(self.links))[0]
        return first.license

    @property
    def conflicts(self) -> list[str]:
        """Return in what the license that was named promises more than the chain allows."""
        if self.given is None:
            return []
        found = []
        if self.forbids_commercial and self.given.commercial is not False:
            found.append(f"{_names(self.forbids_commercial)}: no commercial use")
        if self.forbids_changes:
            found.append(f"{_names(self.forbids_changes)}: no changed works")
        others = [link for link in self.staying if link.license != self.given]
        if others:
            found.append(f"{_names(others)}: the model must carry the same license")
        return found


def _names(links: list[Link]) -> str:
    return ", ".join(link.name for link in links)


def base_links(
    sources: tuple[Source, ...], *, base: str, base_license: str
) -> tuple[list[Link], list[str]]:
    """Return a link for each model that the run started from, and their ids on the hub.

    Args:
        sources: what the run read.
        base: hub id of the base model, where the maker names it.
        base_license: its license, where the maker names it.

    Raises:
        ConfigError: the hub id or the license cannot be one.
    """
    if base and not HUB_ID.fullmatch(base):
        raise ConfigError(
            f"{base!r} is no id of the hub",
            why="the base model of a card is a link to its page",
            fix="write OWNER/NAME, for example --base-model huggyllama/llama-7b",
        )
    models = [source for source in sources if source.is_model]
    if base:
        models = [Source(base, base, is_model=True), *[m for m in models if m.name == "adapter"]]
    links = [_base_link(source, base_license) for source in models]
    return links, [source.hub_id for source in models if source.hub_id]


def _base_link(source: Source, given: str) -> Link:
    name = source.hub_id or f"{source.name} (a folder; its id on the hub is not known)"
    if given:
        return Link("base model", name, find_license(given), GIVEN)
    if source.license:
        return Link("base model", name, find_license(source.license), "the recipe")
    if page := _license_in_readme(Path(source.path)):
        return Link("base model", name, page, "the README.md beside it")
    known = license_of_model(source.hub_id)
    return Link("base model", name, known, "Hanlin's table of base models" if known else "")


def _license_in_readme(folder: Path) -> License | None:
    """Return the license that a folder's own model card names."""
    file = folder / "README.md"
    if not file.is_file():
        return None
    text = file.read_text(encoding="utf-8", errors="replace")
    if not text.startswith("---\n"):
        return None
    try:
        metadata = yaml.safe_load(text[4:].split("\n---", 1)[0])
    except yaml.YAMLError:
        return None
    values = metadata if isinstance(metadata, dict) else {}
    name = values.get("license")
    if name == "other":
        name = values.get("license_name")
    is_named = isinstance(name, str) and name.strip() not in ("", "other", "unknown")
    return named_license(str(name)) if is_named else None


def data_links(sources: tuple[Source, ...], given: Mapping[str, str]) -> list[Link]:
    """Return a link for each data source, and one for each data set of the hub that was named.

    Args:
        sources: what the run read.
        given: name of a source, or id of a data set on the hub -> license.

    Raises:
        ConfigError: there is no source of a name that was given.
    """
    data = {source.name: source for source in sources if not source.is_model}
    for name in given:
        if name not in data and not HUB_ID.fullmatch(name):
            raise ConfigError(
                f"the model has no data source {name!r}",
                why=f"its sources are: {', '.join(data) or 'not known'}",
                fix=did_you_mean(name, data) or "give one of them, or OWNER/NAME on the hub",
            )
    links = [_data_link(source, given.get(source.name, "")) for source in data.values()]
    more = [name for name in given if name not in data]
    return links + [Link("data", name, find_license(given[name]), GIVEN) for name in more]


def _data_link(source: Source, given: str) -> Link:
    if given:
        return Link("data", source.name, find_license(given), GIVEN)
    if source.license:
        return Link("data", source.name, find_license(source.license), "the recipe")
    if source.is_sample:
        return Link("data", source.name, find_license("apache-2.0"), "it comes with Hanlin")
    return Link("data", source.name, None)
