"""What does a Wikidata JSON dump say? Read line by line, as it is or packed (.gz, .bz2)."""

from __future__ import annotations

import bz2
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from hanlin.core.errors import InputError
from hanlin.core.files import os_error
from hanlin.data.readers.opened import bounded_lines, opened, too_long
from hanlin.data.readers.rows import BadRows
from hanlin.extraction.knowledge.items import Fact, Item, Kind, Name, Signature

INSTANCE_OF, INVERSE_PROPERTY = "P31", "P1696"
# Precision of a time value -> characters of "+1963-03-13T00:00:00Z" that are known.
PRECISION = {11: 10, 10: 7, 9: 4}
BZ2_MAGIC = b"BZh"


def is_dump(start: bytes) -> bool:
    """Tell a dump by its beginning: an array, one entity on each line."""
    first = start.lstrip()[:1]
    return first in (b"[", b"{") and b'"claims"' in start and b'"labels"' in start


@contextmanager
def opened_dump(path: Path) -> Iterator[BinaryIO]:
    """Open a dump; `.bz2` as well, which is how Wikidata gives them out.

    Raises:
        InputError: the file cannot be read, or is damaged.
    """
    try:
        with path.open("rb") as raw:
            is_bz2 = raw.read(3) == BZ2_MAGIC
        if is_bz2:
            with bz2.open(path) as stream:
                yield cast(BinaryIO, stream)
            return
    except EOFError as error:
        raise InputError(f"{path} is cut off", fix="fetch it again") from error
    except OSError as error:
        raise os_error(error, path) from error
    with opened(path) as stream:
        yield stream


def read_wikidata(path: Path, bad: BadRows) -> Iterator[Item]:
    """Yield names, types and facts of all entities and properties, deprecated ones left out.

    Language variants (zh-hans, zh-cn, en-gb) count as their language; external ids, pictures and
    the like are no facts that a text could tell.
    """
    with opened_dump(path) as stream:
        for number, raw in bounded_lines(stream):
            if raw is None:
                bad.add(str(path), number, too_long())
                continue
            line = raw.strip().rstrip(b",")
            if line in (b"", b"[", b"]"):
                continue
            try:
                yield from list(_entity(json.loads(line)))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                bad.add(str(path), number, f"no entity of a Wikidata dump: {error!r}")


def _entity(entity: dict[str, Any]) -> Iterator[Item]:
    id_ = entity["id"]
    for language, label in _mapping(entity.get("labels")).items():
        yield Name(id_, label["value"], language.split("-")[0], language in ("zh", "en"))
    for language, aliases in _mapping(entity.get("aliases")).items():
        for alias in aliases:
            yield Name(id_, alias["value"], language.split("-")[0])
    for relation, statements in _mapping(entity.get("claims")).items():
        for statement in statements:
            snak = statement["mainsnak"]
            if statement.get("rank") != "deprecated" and snak["snaktype"] == "value":
                yield from _fact(id_, relation, snak["datavalue"])


def _fact(id_: str, relation: str, data: dict[str, Any]) -> Iterator[Item]:
    value, type_ = data["value"], data["type"]
    if type_ == "wikibase-entityid":
        tail = value["id"]
        if relation == INSTANCE_OF:
            yield Kind(id_, tail)
        elif relation == INVERSE_PROPERTY:
            yield Signature(id_, inverse=tail)
        yield Fact(id_, relation, tail, "entity")
    elif type_ == "time" and value["precision"] in PRECISION:
        known = value["time"].removeprefix("+")[: PRECISION[value["precision"]]]
        if not known.startswith("-"):
            yield Fact(id_, relation, known, "date")
    elif type_ == "quantity":
        unit = value["unit"].rpartition("/")[2]
        amount = value["amount"].removeprefix("+")
        yield Fact(id_, relation, amount if unit == "1" else f"{amount} {unit}", "quantity")


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}  # an empty one is written as a list
