"""What stood in the rows of the step at which a loss was no number? Kept in a file to look at."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from hanlin.core.files import write_atomic

Decode = Callable[[Sequence[int]], str]


class Rows(Protocol):
    """Training rows by number."""

    def row(self, index: int) -> Any:  # noqa: ANN401 - a data.pack.Row
        """Return one row."""


def write_rows(rows: Rows, numbers: range, file: Path, *, decode: Decode | None) -> Path:
    """Write rows as JSON lines: number, text, ids, labels, lengths of the documents.

    Args:
        rows: the training rows.
        numbers: which of them.
        file: where to.
        decode: ids -> text; None leaves the text out.
    """
    lines = []
    for number in numbers:
        row = rows.row(number)
        ids = row.ids.tolist()
        record = {"row": number, "ids": ids, "labels": row.labels.tolist(), "lengths": row.lengths}
        if decode is not None:
            record = {"text": decode(ids), **record}
        lines.append(json.dumps(record, ensure_ascii=False) + "\n")
    write_atomic(file, "".join(lines).encode())
    return file
