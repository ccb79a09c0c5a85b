"""PHEE: adverse and therapeutic events of drugs, arguments with arguments of their own.

An inner argument gets a role of two words (Treatment.Drug). A combination of drugs is an event of
its own. A mention in several parts becomes one argument for each part; of a trigger in several
parts the first one is taken, and counted as a note.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hanlin.data.readers import BadRows
from hanlin.extraction.facts import NO_TRIGGER, Event, Extraction, Mention
from hanlin.extraction.readers.rows import Mentions, read_rows

MARKS = ("event_id", "event_type", "text", "start", "entity_id", "value")


def read_phee(path: Path, bad: BadRows) -> Iterator[Extraction]:
    """Yield the sentences of PHEE."""
    return read_rows(path, bad, lambda row, id_: _Reader(row["context"], bad).example(row, id_))


class _Reader:
    """Collects the events of one sentence."""

    def __init__(self, text: str, bad: BadRows) -> None:
        self.text, self.bad = text, bad
        self.mentions, self.events = Mentions(text), list[Event]()

    def example(self, row: Mapping[str, Any], id_: str) -> Extraction:
        for annotation in row["annotations"]:
            for event in annotation["events"]:
                self._event(event)
        return Extraction(
            str(row.get("id", id_)), self.text, "en", self.mentions.all(), (), tuple(self.events)
        )

    def _event(self, event: Mapping[str, Any]) -> None:
        type_ = event["event_type"]
        place = len(self.events)
        self.events.append(Event(type_, NO_TRIGGER))
        arguments: list[tuple[str, int]] = []
        for role, value in event.items():
            if role not in (*MARKS, "Trigger"):
                self._argument(role, value, arguments)
        self.events[place] = Event(type_, self._trigger(event, type_), tuple(arguments))

    def _trigger(self, event: Mapping[str, Any], type_: str) -> Mention:
        parts = list(_parts(event["Trigger"]))
        if len(parts) > 1:
            self.bad.note("parts of a trigger behind its first", len(parts) - 1)
        name, start = parts[0]
        Mentions(self.text).add(name, start, start + len(name))
        return Mention(name, type_, start, start + len(name))

    def _argument(self, role: str, value: Any, arguments: list[tuple[str, int]]) -> None:  # noqa: ANN401
        if isinstance(value, list):  # combinations of drugs
            for event in value:
                self._event(event)
            return
        for name, start in _parts(value):
            arguments.append((role, self.mentions.add(name, start, start + len(name))))
        for inner, below in value.items():
            if inner not in MARKS:
                self._argument(f"{role}.{inner}", below, arguments)


def _parts(value: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    for names, starts in zip(value["text"], value["start"], strict=True):
        yield from zip(names, starts, strict=True)
