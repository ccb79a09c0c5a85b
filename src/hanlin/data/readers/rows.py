"""Which rows of a file could not be read, and are there too many of them?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from hanlin.core.errors import InputError

DEFAULT_MAX_SHARE = 0.01
KEPT = 1000  # bad rows that are remembered; all are counted
T = TypeVar("T")


@dataclass(frozen=True)
class BadRow:
    """A row that was left out: file, 1-based line, reason."""

    source: str
    line: int
    reason: str


class NoRowsError(InputError):
    """A file gave no record at all."""


class BadRows:
    """Counts rows while they are read.

    Args:
        max_share: the largest share of bad rows that is tolerated, 0 to 1.

    Attributes:
        good, bad: how many rows.
        rows: the first thousand bad ones.
        reasons: how often each reason was given.
        notes: what was left out of good rows, and of how many.
    """

    def __init__(self, max_share: float = DEFAULT_MAX_SHARE) -> None:
        self.max_share = max_share
        self.good = 0
        self.bad = 0
        self.rows: list[BadRow] = []
        self.reasons: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()

    def note(self, what: str, count: int = 1) -> None:
        """Count what a good row holds and its record does not, such as a field of another use."""
        self.notes[what] += count

    def add(self, source: str, line: int, reason: str) -> None:
        """Count one bad row."""
        self.bad += 1
        if reason in self.reasons or len(self.reasons) < KEPT:
            self.reasons[reason] += 1
        if len(self.rows) < KEPT:
            self.rows.append(BadRow(source, line, reason))

    def counted(self, path: Path, records: Iterator[T]) -> Iterator[T]:
        """Pass good records on; at the end, check the share of bad rows seen so far.

        Raises:
            InputError: too many rows are bad.
            NoRowsError: the file gave no record at all.
        """
        before = self.good
        for record in records:
            self.good += 1
            yield record
        self.check(path)
        if self.good == before:
            raise NoRowsError(
                f"{path} is empty: it gives no rows",
                why=self._why_none() if self.bad else "",
                fix=self._other_encoding(path) or f"hanlin data inspect {path}",
            )

    def _why_none(self) -> str:
        reason, count = self.reasons.most_common(1)[0]
        return f"{self.bad} rows were there, none of them usable; {count} times: {reason}"

    def check(self, path: Path) -> None:
        """Raise InputError when more rows are bad than is tolerated."""
        total = self.good + self.bad
        if self.bad <= self.max_share * total:
            return
        shown = [f"{row.source}:{row.line}: {row.reason}" for row in self.rows[:5]]
        if self.bad > len(shown):
            shown.append(f"and {self.bad - len(shown)} more")
        raise InputError(
            f"{path}: {self.bad} of {total} rows cannot be used",
            why="\n    ".join([f"more than {self.max_share:.1%} of the rows are bad:", *shown]),
            fix=self._other_encoding(path)
            or "mend these lines, or allow more of them: max_bad_rows: 0.2 means 20 %",
        )

    def _other_encoding(self, path: Path) -> str:
        """Return how to mend a file of which most bad rows are no UTF-8."""
        broken = sum(n for reason, n in self.reasons.items() if reason.startswith("not UTF-8"))
        is_likely = 2 * broken > self.bad
        return f"Chinese text: iconv -f GB18030 -t UTF-8 {path} > NEW_FILE" if is_likely else ""

    def as_records(self) -> list[dict[str, object]]:
        """Return the remembered bad rows for a JSON-lines file; files by name, not by place."""
        return [{**asdict(row), "source": Path(row.source).name} for row in self.rows]
