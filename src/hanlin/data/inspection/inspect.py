"""What is in this file, and what of it would be trained? Is it fit to be trained on at all?

hanlin data inspect chat.jsonl --tokenizer base/model --prompt plain
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hanlin.core.errors import InputError
from hanlin.core.records import Conversation, Document
from hanlin.data.inspection.rows import Measure, Problem, Tally
from hanlin.data.inspection.samples import Sample, bracketed, sample_of
from hanlin.data.inspection.tokens import inspect_store, inspect_token_ids
from hanlin.data.readers import (
    BadRows,
    files_in,
    read_conversations,
    read_documents,
    read_questions,
)
from hanlin.data.readers.kinds import kind_of
from hanlin.data.readers.rows import NoRowsError
from hanlin.data.sources import ticking
from hanlin.data.store import HEADER
from hanlin.prompts.formats import get_format
from hanlin.prompts.render import unsupported

if TYPE_CHECKING:
    from hanlin.prompts.format import PromptFormat
    from hanlin.tokenization.load import Tokenizer

Tick = Callable[[int], None]
BATCH = 256  # rows that are encoded together
READERS = {
    "questions": read_questions,
    "conversations": read_conversations,
    "documents": read_documents,
}


@dataclass(frozen=True)
class Inspection:
    """What is known of a file.

    Attributes:
        path: the file, folder, hub id or token store.
        kind: "documents", "conversations", "questions", "token ids" or "token store".
        counts: rows, bad_rows, characters, duplicates; with a tokenizer tokens, trained_tokens,
            begin_tokens, end_tokens; with a row length shortened_rows, dropped_turns,
            too_long_rows.
        samples: the first rows as they would be trained.
        bad_rows: the first rows that cannot be used: source, line, reason.
        reasons: why rows cannot be used -> how many, the most frequent first.
        left_out: what good rows hold and their records do not, such as `field id` -> how many.
        languages: language or script -> rows.
        lengths: "characters" and "tokens" -> rows by length, in powers of two.
        problems: why the data must not be trained on; empty where it may.
    """

    path: str
    kind: str
    counts: dict[str, int]
    samples: list[Sample] = field(default_factory=list)
    bad_rows: list[dict[str, object]] = field(default_factory=list)
    reasons: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    languages: dict[str, int] = field(default_factory=dict)
    lengths: dict[str, list[dict[str, int]]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return it for --json; in samples, ⟦ ⟧ stand around what the loss counts."""
        problems = [vars(problem) for problem in self.problems]
        samples = [bracketed(sample) for sample in self.samples]
        changed = {"samples": samples, "problems": problems, "is_blessed": not problems}
        return {**vars(self), **changed}


def inspect(
    path: Path,
    *,
    tokenizer: Tokenizer | None = None,
    prompt: str = "plain",
    rows: int = 3,
    seq_len: int | None = None,
    tick: Tick = lambda _: None,
) -> Inspection:
    """Read a file to its end, count what would be trained, and render its first rows.

    Args:
        path: a corpus, conversations, questions, token ids or a token store (the last two show
            text only with the tokenizer).
        tokenizer: counts tokens, if given.
        prompt: prompt format that conversations are shown in.
        rows: how many rows to show.
        seq_len: the longest row in tokens, to count what is cut; needs the tokenizer.
        tick: told the number of rows now and then.

    Raises:
        InputError: nothing in the file is of a known kind.
        ConfigError: the prompt format is unknown.
    """
    format = get_format(prompt)
    if (path / HEADER).exists():
        return Inspection(str(path), "token store", **inspect_store(path, tokenizer, rows))
    kind = kind_of(path)
    if kind == "token ids":
        return Inspection(str(path), kind, **inspect_token_ids(files_in(path), tokenizer, rows))
    bad = BadRows(max_share=1.0)
    tally = Tally(Measure(format, tokenizer, seq_len))
    samples: list[Sample] = []
    records = ticking(_until_nothing(READERS[kind](path, bad=bad), bad), tick)
    for batch in _batches(_renderable(records, format, bad)):
        samples += [sample_of(record, format) for record in batch[: rows - len(samples)]]
        tally.add(batch)
    return Inspection(
        str(path),
        kind,
        {"rows": tally.rows, "bad_rows": bad.bad, **tally.counts()},
        samples,
        bad_rows=bad.as_records()[: max(rows, 1)],
        reasons=dict(bad.reasons.most_common(20)),
        left_out=dict(sorted(bad.notes.items())),
        languages=dict(tally.languages.most_common()),
        lengths=tally.lengths(),
        problems=tally.problems(),
    )


def check_blessed(found: Inspection) -> None:
    """Refuse data of which some row teaches nothing, or teaches no end.

    Raises:
        InputError: it has such rows, or no usable row at all.
    """
    if not found.problems:
        return
    lines = [f"{p.rows:,} rows: {p.what}; the first: {p.where}" for p in found.problems]
    raise InputError(
        f"{found.path} is not fit for training",
        why="\n    ".join(lines),
        fix="\n    ".join(dict.fromkeys(problem.fix for problem in found.problems)),
    )


def _until_nothing(records: Iterator[Any], bad: BadRows) -> Iterator[Any]:
    """Pass records on; that all rows are bad is a finding here, not the end."""
    try:
        yield from records
    except NoRowsError:
        if not bad.bad:
            raise


def _renderable(records: Iterable[Any], format: PromptFormat, bad: BadRows) -> Iterator[Any]:
    """Leave out conversations that the prompt format cannot hold, as bad rows."""
    for record in records:
        reason = unsupported(record, format) if isinstance(record, Conversation) else ""
        if reason:
            bad.add(record.source, record.line, reason)
        elif isinstance(record, Document) and not record.text.strip():
            bad.add(record.source, record.line, "an empty text")
        else:
            yield record


def _batches(records: Iterator[Any]) -> Iterator[list[Any]]:
    while batch := list(islice(records, BATCH)):
        yield batch
