"""Append-only events.jsonl: the one record of progress, metrics and warnings."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class EventLog:
    """Writes one JSON object per line; safe to tail while a run is going on."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def emit(self, event: str, **fields: object) -> None:
        """Append one event with a wall-clock time (seconds since the epoch)."""
        record = {"t": round(time.time(), 3), "event": event, **fields}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record, ensure_ascii=False) + "\n")


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the events of a log in order; a line cut by a killed process is passed over."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as stream:
        for line in stream:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict):
                yield record
