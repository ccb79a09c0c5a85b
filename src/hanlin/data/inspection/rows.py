"""What do the rows of a file add up to, and which of them would teach nothing?"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from hanlin.core.errors import ConfigError
from hanlin.core.records import Conversation, Document, Question
from hanlin.prompts.encode import up_to_last_answer
from hanlin.prompts.fit import fit_conversations
from hanlin.prompts.format import BOS, PromptFormat
from hanlin.prompts.render import render
from hanlin.text.script import main_script

if TYPE_CHECKING:
    from hanlin.tokenization.load import Tokenizer

SCRIPT_CHARACTERS = 200  # that tell the script of a row
ENDLESS = 1 << 62
TOKEN_SUMS = ("tokens", "trained_tokens", "begin_tokens", "end_tokens")
CUT_SUMS = ("shortened_rows", "dropped_turns", "too_long_rows")
NOTHING_TRAINED = "no trained token"
NO_END = "no trained end token"
NO_ROW = "no row can be used"
FIXES = {
    NOTHING_TRAINED: "leave such rows out, or give an answer in them weight 1",
    NO_END: "leave such rows out: a model that learns from them never stops",
    NO_ROW: "see the reasons above; hanlin data convert writes what can be read",
}


@dataclass(frozen=True)
class Problem:
    """Why data must not be trained on: how many rows, and where the first one is."""

    what: str
    rows: int
    where: str
    fix: str


class Problems:
    """Counts the rows that teach nothing, and remembers the first of each kind."""

    def __init__(self) -> None:
        self._rows: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def add(self, what: str, where: str) -> None:
        """Count one row."""
        self._rows[what] += 1
        self._first.setdefault(what, where)

    def found(self, rows: int) -> list[Problem]:
        """Return what was found among so many rows; that there is none is a problem too."""
        if not rows:
            return [Problem(NO_ROW, 0, "none", FIXES[NO_ROW])]
        return [Problem(w, n, self._first[w], FIXES[w]) for w, n in self._rows.items()]


@dataclass(frozen=True)
class Row:
    """What a row would be in training.

    Attributes:
        trained: tokens that the loss counts; without a tokenizer, texts.
        ends: end tokens that it counts.
        begins: whether it begins with the begin token.
        tokens: how many; None without a tokenizer.
        dropped_turns: turns that do not fit.
        is_too_long: nothing of it fits.
    """

    trained: int
    ends: int
    begins: bool
    tokens: int | None = None
    dropped_turns: int = 0
    is_too_long: bool = False


@dataclass(frozen=True)
class Measure:
    """How rows are measured: the prompt format, and perhaps a tokenizer and the longest row."""

    format: PromptFormat
    tokenizer: Tokenizer | None
    seq_len: int | None

    def __post_init__(self) -> None:
        if self.seq_len is not None and self.tokenizer is None:
            raise ConfigError(
                "a row length is counted in tokens, and no tokenizer is given",
                fix="add --tokenizer DIR",
            )

    def of(self, records: Sequence[Any]) -> list[Row]:
        """Measure records of one kind."""
        if not isinstance(records[0], Conversation):
            return self._of_texts([text_of(record) for record in records])
        if self.tokenizer is None:
            return [self._of_parts(conversation) for conversation in records]
        fitted = fit_conversations(
            records, format=self.format, tokenizer=self.tokenizer,
            seq_len=self.seq_len or ENDLESS, truncate="oldest" if self.seq_len else "never",
        )  # fmt: skip
        bos, kept = self.tokenizer.bos_id, iter(fitted.encoded.each())
        rows = [next(kept) if is_kept else None for is_kept in fitted.is_kept.tolist()]
        return [
            Row(0, 0, False, is_too_long=True) if row is None else
            Row(sum(row.trained), row.end_tokens, row.ids[:1] == [bos], len(row.ids), dropped)
            for row, dropped in zip(rows, fitted.dropped_turns.tolist(), strict=True)
        ]  # fmt: skip

    def _of_parts(self, conversation: Conversation) -> Row:
        segments = render(
            up_to_last_answer(conversation.messages),
            format=self.format,
            opens_answer=False,
            tools=conversation.tools,
        )
        trained = [segment for segment in segments if segment.answer is not None]
        ends = sum(bool(segment.special) for segment in trained)
        return Row(len(trained), ends, bool(segments) and segments[0].special == BOS)

    def _of_texts(self, texts: Sequence[str]) -> list[Row]:
        """Measure texts: between a begin and an end token, all of it trained."""
        if self.tokenizer is None:
            return [Row(1, 1, False) for _ in texts]
        has_bos = self.tokenizer.bos_id is not None
        lengths = map(len, self.tokenizer.encode_batch(texts, at_start=True))
        return [Row(n + 1 + has_bos, 1, has_bos, n + 1 + has_bos) for n in lengths]


class Tally:
    """Adds rows up; memory grows by 8 bytes a row, to find those that are there twice."""

    def __init__(self, measure: Measure) -> None:
        self.measure = measure
        self.rows = 0
        self.languages: Counter[str] = Counter()
        self._sums: Counter[str] = Counter()
        self._digests = array("Q")
        self._lengths: dict[str, Counter[int]] = {"characters": Counter(), "tokens": Counter()}
        self._problems = Problems()

    def add(self, records: Sequence[Any]) -> None:
        """Count records of one kind."""
        for record, row in zip(records, self.measure.of(records), strict=True):
            self.rows += 1
            text = text_of(record)
            self._sums["characters"] += len(text)
            self._lengths["characters"][len(text).bit_length()] += 1
            digest = blake2b(_identity(record).encode("utf-8", "replace"), digest_size=8).digest()
            self._digests.append(int.from_bytes(digest, "little"))
            named = record.language if isinstance(record, Document | Question) else None
            self.languages[named or main_script(text[:SCRIPT_CHARACTERS])] += 1
            if not isinstance(record, Question):
                self._add_row(record, row)

    def counts(self) -> dict[str, int]:
        """Return the sums."""
        import numpy as np

        known = {"characters": self._sums["characters"]}
        known["duplicates"] = self.rows - len(np.unique(np.frombuffer(self._digests, np.uint64)))
        if self.measure.tokenizer is not None:
            known |= {name: self._sums[name] for name in TOKEN_SUMS}
        if self.measure.seq_len is not None:
            known |= {name: self._sums[name] for name in CUT_SUMS}
        return known

    def lengths(self) -> dict[str, list[dict[str, int]]]:
        """Return how many rows have which length in characters and in tokens."""
        return {name: by_length(counter) for name, counter in self._lengths.items() if counter}

    def problems(self) -> list[Problem]:
        """Return why the rows must not be trained on."""
        return self._problems.found(self.rows)

    def _add_row(self, record: Document | Conversation, row: Row) -> None:
        if row.is_too_long:
            self._sums["too_long_rows"] += 1
            return
        if row.tokens is not None:
            self._sums.update(tokens=row.tokens, trained_tokens=row.trained, end_tokens=row.ends)
            self._lengths["tokens"][row.tokens.bit_length()] += 1
        self._sums["begin_tokens"] += row.begins
        self._sums.update(dropped_turns=row.dropped_turns, shortened_rows=row.dropped_turns > 0)
        if not row.trained:
            self._problems.add(NOTHING_TRAINED, f"{record.source}:{record.line}")
        elif not row.ends:
            self._problems.add(NO_END, f"{record.source}:{record.line}")


def by_length(bits: Counter[int]) -> list[dict[str, int]]:
    """Return how many rows have a length from 2^n to below 2^(n+1).

    Args:
        bits: number of binary digits of a length -> rows.
    """
    every = range(min(bits), max(bits) + 1)
    return [{"from": (1 << n) >> 1, "below": 1 << n, "rows": bits[n]} for n in every]


def text_of(record: Any) -> str:  # noqa: ANN401 - any of the three records
    """Return all text of a record."""
    if isinstance(record, Document):
        return record.text
    if isinstance(record, Question):
        return "".join([record.question, *record.options])
    return "".join(message.content for message in record.messages)


def _identity(record: Any) -> str:  # noqa: ANN401 - any of the three records
    """Return a text that is the same for records that are the same."""
    if not isinstance(record, Conversation):
        return text_of(record)
    turns = (
        f"{message.role}\0{message.content}\0{message.tool_calls or ''}"
        for message in record.messages
    )
    return "\0".join([*turns, *record.tools])
