"""What does the model card of a folder say? Nothing that no file of the run says.

hanlin weights card runs/quickstart
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hanlin.core.errors import ConfigError, InputError
from hanlin.core.files import os_error, read_json, write_atomic
from hanlin.models.manifest import read_manifest
from hanlin.weights.card.chain import Chain, base_links, data_links
from hanlin.weights.card.licenses import find_license
from hanlin.weights.card.lineage import HUB_ID, Lineage, Source, find_lineage, run_of
from hanlin.weights.card.results import Measured, measured

FILE_NAME = "README.md"
MARK = "<!-- written by hanlin weights card -->"


@dataclass(frozen=True)
class Given:
    """What the maker says of the model; nothing of it can be read from files.

    Attributes:
        name: the model's name, or its id on the hub.
        about: what it is for, in a sentence.
        license: identifier of its license.
        base: the base model's id on the hub.
        base_license: identifier of the base model's license.
        data: name of a data source, or id of a data set on the hub -> its license.
        languages: "zh", "en", ...
    """

    name: str = ""
    about: str = ""
    license: str = ""
    base: str = ""
    base_license: str = ""
    data: Mapping[str, str] = field(default_factory=dict)
    languages: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelCard:
    """All that the page is made from.

    Attributes:
        model: the model's or adapter's folder.
        is_adapter: it holds an adapter.
        name: as the page calls it.
        about: what it is for; "" where nobody said it.
        languages: those that the maker names, else those of the texts it was trained on, else
            those it was measured in.
        bases: ids of the base models on the hub.
        chain: licenses.
        lineage: what of the run led to it; None without a run.
        report: the run's report.json; {} without a run.
        results: what was measured of it.
        stores: stage id -> sources of its token store.
        adapters: stage id -> adapter_config.json of the adapter that it left.
    """

    model: Path
    is_adapter: bool
    name: str
    about: str
    languages: tuple[str, ...]
    bases: tuple[str, ...]
    chain: Chain
    lineage: Lineage | None
    report: dict[str, Any]
    results: tuple[Measured, ...]
    stores: dict[str, list[dict[str, Any]]]
    adapters: dict[str, dict[str, Any]]

    @property
    def is_rehearsal(self) -> bool:
        """Tell whether it comes from a `--tiny` run."""
        return str(self.report.get("recipe_text") or "").startswith("# --tiny\n")

    def to_json(self) -> dict[str, Any]:
        """Return plain values: what the chain says, and how many numbers the page has."""
        license = self.chain.result
        return {
            "model": str(self.model),
            "license": license.id if license else "unknown",
            "chain": [
                {
                    "part": link.part,
                    "name": link.name,
                    "license": link.license.id if link.license else None,
                    "known_from": link.known_from,
                }
                for link in self.chain.links
            ],
            "not_known": [link.name for link in self.chain.unknown],
            "forbids_commercial": [link.name for link in self.chain.forbids_commercial],
            "forbids_changes": [link.name for link in self.chain.forbids_changes],
            "conflicts": self.chain.conflicts,
            "results": len(self.results),
        }


def make_card(model: Path, given: Given, *, run_dir: Path | None = None) -> ModelCard:
    """Collect what is known of a model.

    Args:
        model: the folder of a model or an adapter.
        given: what its maker says.
        run_dir: the run that made it, with its report.json; None: the one that the folder is
            in, if it is in one.

    Raises:
        ConfigError: something that was given cannot be used.
        InputError: the folder holds no model, or the run did not make it.
    """
    is_adapter = _is_adapter(model)
    run_dir = run_dir or run_of(model)
    lineage = find_lineage(model, run_dir) if run_dir else None
    report = _report(run_dir) if run_dir else {}
    if lineage and given.base:
        _refuse_another_base(lineage, given.base)
    sources = lineage.sources if lineage else _recorded_base(model)
    bases, ids = base_links(sources, base=given.base, base_license=given.base_license)
    license = find_license(given.license) if given.license else None
    token_stores = _settings_of(run_dir, lineage, "token-store", "store.json")
    stores = {id_: list(store["sources"]) for id_, store in token_stores.items()}
    results = measured(report, lineage.evaluated if lineage else ())
    return ModelCard(
        model=model,
        is_adapter=is_adapter,
        name=given.name or str(report.get("name") or model.resolve().name),
        about=given.about or str(report.get("description") or ""),
        languages=given.languages or _languages(stores, results),
        bases=tuple(ids),
        chain=Chain((*bases, *data_links(sources, given.data)), license),
        lineage=lineage,
        report=report,
        results=tuple(results),
        stores=stores,
        adapters=_settings_of(run_dir, lineage, "adapter", "adapter_config.json"),
    )


def write_card(card: ModelCard, file: Path, *, force: bool = False) -> None:
    """Write the page; a page of this command is replaced, any other only with `force`.

    Raises:
        InputError: there is a page that somebody else wrote.
        ResourceError: the disk is full or the folder cannot be written.
    """
    from hanlin.weights.card.page import page

    if file.exists() and not force:
        try:
            old = file.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise os_error(error, file) from error
        if MARK not in old:
            raise InputError(
                f"{file} exists already, and this command did not write it",
                why="nothing is overwritten unless it is asked for",
                fix="give another --out FILE, or add --force to replace it",
            )
    write_atomic(file, page(card).encode("utf-8"))


def _is_adapter(model: Path) -> bool:
    if (model / "adapter_config.json").is_file():
        return True
    if (model / "config.json").is_file():
        return False
    raise InputError(
        f"{model} is no model" if model.exists() else f"{model} does not exist",
        why="a card belongs into a folder with config.json or adapter_config.json",
        fix="give the folder of a model or an adapter, or of a run that left one",
    )


def _report(run_dir: Path) -> dict[str, Any]:
    if not (run_dir / "report.json").is_file():
        raise InputError(
            f"{run_dir} has no report.json",
            why="the card's numbers are those of the report card",
            fix=f"hanlin report {run_dir}",
        )
    report: dict[str, Any] = read_json(run_dir / "report.json")
    return report


def _recorded_base(model: Path) -> tuple[Source, ...]:
    """Return the base model that an adapter, or hanlin.json, names."""
    names = [(read_manifest(model).get("base") or {}).get("hub_id")]
    if (model / "adapter_config.json").is_file():
        names.append(read_json(model / "adapter_config.json").get("base_model_name_or_path"))
    name = next((str(name) for name in names if name), "")
    if not name:
        return ()
    short = name if HUB_ID.fullmatch(name) else Path(name).name
    return (Source(short, name, is_model=True),)


def _refuse_another_base(lineage: Lineage, base: str) -> None:
    makes_its_own = any(record["stage"] == "base" for record in lineage.records)
    if makes_its_own and not any(source.is_model for source in lineage.sources):
        raise ConfigError(
            f"{base} is not the base model of {lineage.reference}",
            why="the run trained its base model from nothing; a rehearsal (--tiny) does, too",
            fix="leave --base-model out",
        )


def _settings_of(
    run_dir: Path | None, lineage: Lineage | None, kind: str, name: str
) -> dict[str, dict[str, Any]]:
    """Return a JSON file of the outputs of one kind: stage id -> its content."""
    found = {}
    for record in lineage.records if run_dir and lineage else ():
        for output in record["outputs"]:
            file = Path(run_dir or "") / record["id"] / output["path"] / name
            if output["kind"] == kind and file.is_file():
                found[record["id"]] = dict(read_json(file))
    return found


def _languages(stores: dict[str, list[dict[str, Any]]], results: list[Measured]) -> tuple[str, ...]:
    """Return those of the texts it was trained on, else those it was measured in."""
    texts = [row.get("language") for rows in stores.values() for row in rows]
    known = [code for code in texts if code and code != "code"]
    return tuple(dict.fromkeys(map(str, known or [row.language for row in results])))
