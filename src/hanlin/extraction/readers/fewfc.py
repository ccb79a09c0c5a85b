"""FewFC: {"content", "events": [{"type", "mentions": [{"word", "span", "role"}]}]}."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hanlin.data.readers import BadRows
from hanlin.extraction.facts import NO_TRIGGER, Event, Extraction, Mention
from hanlin.extraction.readers.rows import Mentions, read_rows


def read_fewfc(path: Path, bad: BadRows) -> Iterator[Extraction]:
    """Yield the financial events of FewFC; the role `trigger` is the trigger."""
    return read_rows(path, bad, _example)


def _example(row: dict[str, Any], id_: str) -> Extraction:
    mentions = Mentions(row["content"])
    events = []
    for event in row["events"]:
        trigger, arguments = NO_TRIGGER, []
        for item in event["mentions"]:
            name, (start, end) = item["word"], item["span"]
            if item["role"] == "trigger":
                Mentions(row["content"]).add(name, start, end)
                trigger = Mention(name, event["type"], start, end)
            else:
                arguments.append((item["role"], mentions.add(name, start, end)))
        events.append(Event(event["type"], trigger, tuple(arguments)))
    return Extraction(
        str(row.get("id", id_)), row["content"], "zh", mentions.all(), (), tuple(events)
    )
