"""What was found in a text: mentions with spans, relations and events; and its JSON-lines rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

from hanlin.data.readers import BadRows
from hanlin.data.readers.json_rows import read_values

Status = Literal["exact", "folded", "script", "fuzzy", "missing"]
STATUSES = get_args(Status)


@dataclass(frozen=True)
class Mention:
    """A name (or trigger word) in a text.

    Attributes:
        text: as it stands in the text; as the model wrote it where it is missing there.
        type: type of the entity or event; "" for an argument that was not listed as an entity, and
            for the value of an attribute.
        start: `[start, end)` in characters of the text; None where it is missing.
        end: see `start`.
        status: found as it was written; up to the width of characters; up to simplified and
            traditional script; in something like it; or not at all.
    """

    text: str
    type: str
    start: int | None = None
    end: int | None = None
    status: Status = "exact"


NO_TRIGGER = Mention("", "", status="missing")


@dataclass(frozen=True)
class Relation:
    """`head` stands in a relation to `tail`; both are indices of entities."""

    type: str
    head: int
    tail: int


@dataclass(frozen=True)
class Event:
    """A trigger (with the text "" where there is none) and arguments: (role, index of entity)."""

    type: str
    trigger: Mention
    arguments: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Extraction:
    """All that was found in one text.

    Attributes:
        id: which text it is.
        text: the text.
        language: its language.
        entities: mentions, in the order of the answer (of the text, in examples).
        relations: between entities.
        events: with entities as arguments.
        unreadable: how many parts of the model's answer could not be read.
        unread: those parts, as the model wrote them.
    """

    id: str
    text: str
    language: str
    entities: tuple[Mention, ...] = ()
    relations: tuple[Relation, ...] = ()
    events: tuple[Event, ...] = ()
    unreadable: int = 0
    unread: tuple[str, ...] = ()

    def named(self, index: int) -> str:
        """Return the text of an entity."""
        return self.entities[index].text


def read_extractions(path: str | Path, *, bad: BadRows | None = None) -> Iterator[Extraction]:
    """Yield the extractions (examples, or a model's) of a JSON-lines file.

    Args:
        path: rows with id, text, language, entities, relations and events.
        bad: counts the rows that are left out; at most 1 % without it.

    Raises:
        InputError: nothing is there, nothing is in it, or too many rows are bad.
    """
    bad = bad or BadRows()
    return bad.counted(Path(path), _rows(Path(path), bad))


def _rows(path: Path, bad: BadRows) -> Iterator[Extraction]:
    for line, row in read_values(path, bad):
        try:
            yield from_row(row, number=line)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            reason = f"no key {error}" if isinstance(error, KeyError) else str(error)
            bad.add(str(path), line, reason)


def from_row(row: Mapping[str, Any], *, number: int = 0) -> Extraction:
    """Build an extraction from its row and check that spans and indices are right.

    Raises:
        ValueError: they are not; KeyError, TypeError: something is missing or of the wrong kind.
    """
    if not isinstance(row, dict):
        raise TypeError(f"expected an object, found {type(row).__name__}")
    text = _text(row["text"])
    entities = tuple(_mention(item, text) for item in row.get("entities", []))
    count = len(entities)
    return Extraction(
        id=str(row.get("id", number)),
        text=text,
        language=_text(row.get("language", "")),
        entities=entities,
        relations=tuple(
            Relation(_text(r["type"]), _index(r["head"], count), _index(r["tail"], count))
            for r in row.get("relations", [])
        ),
        events=tuple(_event(item, text, count) for item in row.get("events", [])),
        unreadable=int(row.get("unreadable", 0)),
        unread=tuple(_text(part) for part in row.get("unread", [])),
    )


def _event(item: Mapping[str, Any], text: str, count: int) -> Event:
    type_ = _text(item["type"])
    given = item["trigger"]
    trigger = NO_TRIGGER if given is None else _mention({"type": type_, **given}, text)
    arguments = item.get("arguments", [])
    return Event(
        type_, trigger, tuple((_text(a["role"]), _index(a["entity"], count)) for a in arguments)
    )


def _mention(item: Mapping[str, Any], text: str) -> Mention:
    name, start, end = _text(item["text"]), item.get("start"), item.get("end")
    if start is None:
        return Mention(name, _text(item["type"]), status="missing")
    if not name or text[start:end] != name or start < 0:
        raise ValueError(f"the span [{start}, {end}) is {text[start:end]!r}, not {name!r}")
    status = item.get("status", "exact")
    if status not in STATUSES or status == "missing":
        raise ValueError(f"{status!r} is no status of a mention with a place")
    return Mention(name, _text(item["type"]), start, end, cast(Status, status))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, found {type(value).__name__}")
    return value


def _index(value: object, count: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < count:
        raise ValueError(f"{value!r} is no index of the {count} entities")
    return value


def to_row(found: Extraction) -> dict[str, Any]:
    """Return the row of an extraction; the opposite of `from_row`."""
    return {
        "id": found.id,
        "text": found.text,
        "language": found.language,
        "entities": [_mention_row(mention) for mention in found.entities],
        "relations": [{"type": r.type, "head": r.head, "tail": r.tail} for r in found.relations],
        "events": [
            {
                "type": event.type,
                "trigger": _mention_row(event.trigger) if event.trigger.text else None,
                "arguments": [{"role": role, "entity": index} for role, index in event.arguments],
            }
            for event in found.events
        ],
        "unreadable": found.unreadable,
        **({"unread": list(found.unread)} if found.unread else {}),
    }


def _mention_row(mention: Mention) -> dict[str, Any]:
    return {
        "text": mention.text,
        "type": mention.type,
        "start": mention.start,
        "end": mention.end,
        "status": mention.status,
    }
