"""What do the stages that prepare data share? Named, weighted sources; an account of the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import Field

from hanlin.core.config import StrictModel
from hanlin.core.files import size_bytes, write_json, write_jsonl
from hanlin.core.stage import Estimate
from hanlin.data.readers import BadRows
from hanlin.data.readers.hub import DataPath

T = TypeVar("T")
TICK_EVERY = 200  # rows


class Source(StrictModel):
    """One source of rows."""

    path: DataPath
    """A file, a folder of files, or a data set of the hub (owner/name, owner/name/folder); the
    format is found from the content."""

    name: str = Field(pattern=r"^\w[\w.-]*$", max_length=100)
    """Its name in the store; the source's files begin with it."""

    weight: float | None = Field(None, ge=0)
    """Its share of the tokens in training, relative to the other sources; all or none have one.
    Without weights an epoch holds every row once."""


def check_sources(sources: Sequence[Source]) -> None:
    """Raise ValueError on doubled names, and on weights that only some sources have."""
    names = [source.name for source in sources]
    weights = [source.weight for source in sources]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise ValueError(f"the name {name!r} appears twice; give each source its own")
    if None in weights and any(weight is not None for weight in weights):
        raise ValueError(
            f"source {names[weights.index(None)]!r} has no weight but others have; shares are "
            "relative, so give all a weight or none"
        )
    if None not in weights and not any(weights):
        raise ValueError("every weight is 0, nothing would be trained on")


def write_account(folder: Path, sources: list[dict[str, object]], bad: Sequence[BadRows]) -> None:
    """Write beside a store's tokens what became of the rows: counts.json and bad_rows.jsonl."""
    write_json(folder / "counts.json", {"version": 1, "sources": sources})
    write_jsonl(folder / "bad_rows.jsonl", (row for rows in bad for row in rows.as_records()))


def ticking(rows: Iterable[T], tick: Callable[[int], None]) -> Iterator[T]:
    """Pass rows on and call `tick` with their number now and then."""
    for number, row in enumerate(rows):
        if number % TICK_EVERY == 0:
            tick(number)
        yield row


def estimate_store(sources: Sequence[Source]) -> Estimate:
    """Guess a store's size from its sources: at most 5 bytes for each of about 3 bytes of text."""
    paths = [Path(source.path) for source in sources]
    known = sum(size_bytes(path) for path in paths if path.exists())
    return Estimate(disk_bytes=known * 5 // 3, memory_bytes=500_000_000)
