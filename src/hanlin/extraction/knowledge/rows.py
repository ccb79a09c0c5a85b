"""How do tables and JSON lines say a graph? Triples, aliases, relations; told by their columns.

    head  relation  tail  [head_type  tail_type]        person-01  born_in  town-07
    entity  language  type  name   (or entity  name)    person-01  zh  人物  王明华
    relation  language  name  inverse  head_type  tail_type

Without a line of column names, three columns are triples, two and four are names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hanlin.core.errors import InputError
from hanlin.data.readers.json_rows import read_values
from hanlin.data.readers.opened import bounded_lines, opened, too_long
from hanlin.data.readers.rows import BadRows
from hanlin.extraction.knowledge.items import Fact, Item, Kind, Name, Signature

ALIKE = {
    "subject": "head", "h": "head", "predicate": "relation", "r": "relation", "object": "tail",
    "t": "tail", "subject_type": "head_type", "object_type": "tail_type", "lang": "language",
    "alias": "name", "label": "name", "id": "entity",
}  # fmt: skip
COLUMNS = {
    2: ("entity", "name"),
    3: ("head", "relation", "tail"),
    4: ("entity", "language", "type", "name"),
    5: ("head", "relation", "tail", "head_type", "tail_type"),
}
KNOWN = {"head", "relation", "tail", "entity", "name", "language", "type", "inverse"}


def read_table(path: Path, bad: BadRows) -> Iterator[Item]:
    """Yield what a table with tabs says.

    Raises:
        InputError: the first line has no known shape.
    """
    columns: tuple[str, ...] = ()
    with opened(path) as stream:
        for number, raw in bounded_lines(stream):
            if raw is None:
                bad.add(str(path), number, too_long())
                continue
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                bad.add(str(path), number, f"not UTF-8 text: {error.reason}")
                continue
            if not line:
                continue
            cells = line.split("\t")
            if not columns:
                columns, is_header = _columns(path, cells)
                if is_header:
                    continue
            if len(cells) != len(columns):
                bad.add(str(path), number, f"{len(cells)} columns, expected {len(columns)}")
                continue
            yield from _checked(dict(zip(columns, cells, strict=True)), path, number, bad)


def _columns(path: Path, cells: list[str]) -> tuple[tuple[str, ...], bool]:
    names = tuple(ALIKE.get(cell.strip().lower(), cell.strip().lower()) for cell in cells)
    if len(KNOWN & set(names)) >= 2:
        return names, True
    if len(cells) in COLUMNS:
        return COLUMNS[len(cells)], False
    raise InputError(
        f"{path}:1 has {len(cells)} columns between tabs",
        why="triples have 3 (head, relation, tail), names 2 (entity, name) or 4 (entity, language, "
        "type, name)",
        fix="or write the names of the columns into the first line",
    )


def read_json(path: Path, bad: BadRows) -> Iterator[Item]:
    """Yield what JSON rows say: the keys are the columns of a table.

    An entity may also hold everything that is known of it: "aliases" (a list), "names" (a language
    -> a name or a list), and "triples" (lists of relation, tail and perhaps the tail's type).
    """
    for number, row in read_values(path, bad):
        if not isinstance(row, dict):
            bad.add(str(path), number, "expected an object")
            continue
        yield from _checked(row, path, number, bad)


def _checked(row: Mapping[str, Any], path: Path, number: int, bad: BadRows) -> Iterator[Item]:
    """Yield the items of a row, or count it as bad."""
    try:
        items = list(_items({ALIKE.get(key, key): value for key, value in row.items()}))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"no column {error}" if isinstance(error, KeyError) else str(error)
        bad.add(str(path), number, reason)
        return
    yield from items


def _items(row: Mapping[str, Any]) -> Iterator[Item]:
    if "head" in row:
        yield from _fact(row)
    elif "relation" in row:
        yield from _relation(row)
    else:
        yield from _entity(row)


def _fact(row: Mapping[str, Any]) -> Iterator[Item]:
    head, relation, tail = (_text(row[key]) for key in ("head", "relation", "tail"))
    yield Fact(head, relation, tail, tail_type=_text(row.get("tail_type") or "", empty=True))
    if row.get("head_type"):
        yield Kind(head, _text(row["head_type"]))


def _relation(row: Mapping[str, Any]) -> Iterator[Item]:
    relation = _text(row["relation"])
    ends = [_text(row.get(key) or "", empty=True) for key in ("head_type", "tail_type", "inverse")]
    if any(ends):
        yield Signature(relation, *ends)
    yield from _names(relation, row)


def _entity(row: Mapping[str, Any]) -> Iterator[Item]:
    entity = _text(row["entity"] if row.get("entity") else row["name"])
    language = _text(row.get("language") or "", empty=True)
    if row.get("type"):
        yield Kind(entity, _text(row["type"]), language)
    yield from _names(entity, row)
    for triple in row.get("triples") or ():
        relation, tail, *rest = map(_text, triple)
        yield Fact(entity, relation, tail, tail_type=rest[0] if rest else "")


def _names(id_: str, row: Mapping[str, Any]) -> Iterator[Name]:
    language = _text(row.get("language") or "", empty=True)
    if row.get("name"):
        yield Name(id_, _text(row["name"]), language)
    for alias in row.get("aliases") or ():
        yield Name(id_, _text(alias), language)
    for own, names in (row.get("names") or {}).items():
        for name in [names] if isinstance(names, str) else names:
            yield Name(id_, _text(name), own)


def _text(value: object, *, empty: bool = False) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise TypeError(f"expected text, found {type(value).__name__}")
    if not value.strip() and not empty:
        raise ValueError("an id, a relation or a name is empty")
    return value.strip()
