"""Which texts does a tokenizer learn from? A local reader of `.jsonl` and `.txt` files.

Files are read row by row; of a corpus that is too large a sample of lines is kept. The readers of
`hanlin.data` know far more formats, but live on a higher line.
"""

from __future__ import annotations

import heapq
import json
import logging
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from hanlin.core.errors import InputError
from hanlin.core.files import os_error

log = logging.getLogger(__name__)

SHOWN = 3
CHARACTERS_PER_LINE = 1_000  # SentencePiece passes over lines of more than 4,192 bytes in silence
BYTES_PER_REPORT = 1 << 22

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Text:
    """One text of a corpus, its language where the file says it, and its 1-based line."""

    text: str
    language: str | None = None
    line: int = field(default=0, compare=False)


def read_texts(path: str | Path, *, max_bad_rows: float = 0.01) -> Iterator[Text]:
    """Yield the texts of one file, in order; every line is one row.

    Args:
        path: `.jsonl` with rows {"text", "language"?}, or plain text in UTF-8.
        max_bad_rows: share of bad rows above which it stops.

    Raises:
        InputError: the file is missing, unreadable, or holds too many bad rows.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist", fix="check the path")
    if path.is_dir():
        raise InputError(
            f"{path} is a folder, not a text file",
            fix="name the files in it, for example with *.jsonl",
        )
    rows, bad, is_json = 0, _BadRows(path, max_bad_rows), path.suffix == ".jsonl"
    try:
        with path.open("rb") as stream:
            for number, raw in enumerate(stream, start=1):
                rows += 1
                try:
                    row = _read_row(raw, number, is_json=is_json)
                except ValueError as error:
                    bad.add(f"line {number}: {error}")
                    continue
                if row is not None:
                    yield row
    except OSError as error:
        raise os_error(error, path) from error
    bad.judge(rows)


def read_many(
    paths: Sequence[str | Path],
    *,
    max_bad_rows: float = 0.01,
    progress: Progress = lambda _done, _total, _text: None,
) -> Iterator[Text]:
    """Yield the texts of all files; `progress` is called with (bytes so far, bytes, text).

    Raises:
        InputError: a file is missing, unreadable, or holds too many bad rows.
    """
    total = sum(Path(path).stat().st_size for path in paths if Path(path).exists())
    done = last = 0
    for path in paths:
        for text in read_texts(path, max_bad_rows=max_bad_rows):
            done += len(text.text.encode())
            if done - last >= BYTES_PER_REPORT:
                last = done
                progress(min(done, total), total, f"{done / 1e6:.0f} MB of text read")
            yield text


def _read_row(raw: bytes, number: int, *, is_json: bool) -> Text | None:
    """Return one row, None for an empty line.

    Raises:
        ValueError: it is not UTF-8, not JSON, or has no text.
    """
    try:
        line = raw.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ValueError("not UTF-8") from error
    if not line.strip():
        return None
    if not is_json:
        return Text(line, line=number)
    try:
        row = json.loads(line)
    except RecursionError as error:
        raise ValueError("JSON nested too deeply") from error
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        raise ValueError('no "text" in the row')
    if "\\u" in line:  # a lone surrogate is no text: UnicodeEncodeError is a ValueError
        row["text"].encode("utf-8")
    language = row.get("language")
    return Text(row["text"], language if isinstance(language, str) else None, number)


def lines_of(texts: Iterable[str]) -> Iterator[str]:
    """Yield the lines of texts, long ones in parts that SentencePiece reads all of."""
    for text in texts:
        for line in text.splitlines():
            if len(line) > CHARACTERS_PER_LINE:
                yield from filter(str.strip, _parts(line))
            elif line.strip():
                yield line


def _parts(line: str) -> Iterator[str]:
    for start in range(0, len(line), CHARACTERS_PER_LINE):
        yield line[start : start + CHARACTERS_PER_LINE]


def sample(
    lines: Iterable[str], *, most: int, seed: int, size: Callable[[str], int] = lambda _line: 1
) -> list[str]:
    """Return all lines, or as many drawn at random as fit, in their order; reads them once.

    Args:
        lines: streamed.
        most: what the sizes of the lines may add up to.
        seed: of the draw.
        size: of a line; it counts one unless told otherwise.
    """
    stream, first, total = iter(lines), list[str](), 0
    for over in stream:
        total += size(over)
        if total > most:
            total -= size(over)
            break
        first.append(over)
    else:
        return first
    draw = random.Random(seed)  # noqa: S311 - no secret
    kept = [(-draw.random(), number, line) for number, line in enumerate(first)]
    heapq.heapify(kept)  # the line with the highest lot comes first
    highest = 1.0
    for number, line in enumerate(chain([over], stream), start=len(first)):
        lot = draw.random()
        if lot > highest:
            continue
        heapq.heappush(kept, (-lot, number, line))
        total += size(line)
        while total > most:
            lot, _, dropped = heapq.heappop(kept)
            total -= size(dropped)
            highest = -lot
    return [line for _, line in sorted((number, line) for _, number, line in kept)]


class _BadRows:
    """Counts bad rows and remembers the first few."""

    def __init__(self, path: Path, limit: float) -> None:
        self._path, self._limit = path, limit
        self._count = 0
        self._first: list[str] = []

    def add(self, reason: str) -> None:
        """Note one row."""
        self._count += 1
        if len(self._first) < SHOWN:
            self._first.append(reason)

    def judge(self, rows: int) -> None:
        """Stop if there are too many of them, else tell."""
        more = f"; and {self._count - SHOWN} more" if self._count > SHOWN else ""
        shown = "; ".join(self._first) + more
        if self._count > self._limit * rows:
            raise InputError(
                f"{self._path}: {self._count} of {rows} rows are bad",
                why=f"{shown}; the limit is {self._limit:.1%}",
                fix="mend those rows, or raise max_bad_rows (--max-bad-rows 0.1)",
            )
        if self._count:
            log.warning("%s: %d of %d rows were left out: %s", self._path, self._count, rows, shown)
