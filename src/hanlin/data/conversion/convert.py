"""How does a file of one format become a file of another, and what is lost on the way?

hanlin data convert alpaca.json chat.jsonl.zst --to messages
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hanlin.core.errors import ConfigError, InputError
from hanlin.core.files import write_jsonl
from hanlin.core.records import Conversation, Document
from hanlin.core.registry import did_you_mean
from hanlin.data.conversion.file import check_target, write_rows
from hanlin.data.conversion.rows import FORMATS, CannotHoldError, Row
from hanlin.data.readers import BadRows, files_in, read_conversations, read_documents
from hanlin.data.readers.conversations import conversations_of
from hanlin.data.readers.kinds import kind_of
from hanlin.data.readers.rows import DEFAULT_MAX_SHARE
from hanlin.data.readers.token_ids import read_token_ids
from hanlin.data.readers.turns import BadRowError
from hanlin.data.sources import ticking

if TYPE_CHECKING:
    from hanlin.tokenization.load import Tokenizer

Tick = Callable[[int], None]
TEXT = "text"
OTHERWISE = "it would be read as another conversation"
WHITE_SPACE = "outer white space, which readers of this format take away"
BORDER = "the border between instruction and input"


@dataclass(frozen=True)
class Conversion:
    """What became of a file.

    Attributes:
        path: what was read.
        out: what was written.
        kind: "conversations", "documents" or "token ids".
        to: the format that was written.
        rows: records that were written.
        bad_rows: rows that could not be read, in `left_out`.
        not_held: why records were not written -> how many; they are in `left_out`.
        changed: what of written records the format has no place for -> how many; and the fields
            of the rows that no record has.
        left_out: a file beside `out` with source, line and reason of what is missing; or None.
    """

    path: str
    out: str
    kind: str
    to: str
    rows: int
    bad_rows: int
    not_held: dict[str, int] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)
    left_out: str | None = None


def convert(  # noqa: PLR0913 - one argument for each option of the command
    path: Path,
    out: Path,
    *,
    to: str,
    force: bool = False,
    max_bad_rows: float = DEFAULT_MAX_SHARE,
    tokenizer: Tokenizer | None = None,
    tick: Tick = lambda _: None,
) -> Conversion:
    """Write the records of a file or folder in another format.

    A conversation is written whole or not at all: each written one is read back at once and
    compared. What is missing is counted and listed beside `out`.

    Args:
        path: what to read: anything that `read_conversations` or `read_documents` takes, or token
            ids (which need the tokenizer, and `to="text"`).
        out: .jsonl or .json, with .gz, .xz or .zst behind it if wanted.
        to: a name of `convert_rows.FORMATS` for conversations, "text" for documents.
        force: replace what is at `out`.
        max_bad_rows: largest share of unreadable rows that is tolerated.
        tokenizer: turns token ids into text.
        tick: told the number of rows now and then.

    Raises:
        ConfigError: the format is unknown, or cannot hold this kind of records.
        InputError: nothing readable is there, nothing could be written, or `out` exists.
    """
    check_target(out, force=force, is_list=to == "cutegpt")
    _check_not_input(path, out)
    kind = kind_of(path)
    _check_format(path, kind, to, tokenizer)
    bad, lost = BadRows(max_bad_rows), BadRows(1.0)
    if kind == "conversations":
        rows = _conversation_rows(read_conversations(path, bad=bad), to, lost)
    elif kind == "documents":
        rows = map(_document_row, read_documents(path, bad=bad))
    else:
        assert tokenizer is not None
        rows = _decoded(path, tokenizer, lost)
    count = write_rows(out, _at_least_one(ticking(rows, tick), path, to, lost))
    return Conversion(
        str(path),
        str(out),
        kind,
        to,
        count,
        bad.bad,
        not_held=_sorted(lost.reasons),
        changed=_sorted(lost.notes + bad.notes),
        left_out=_list_left_out(out, bad, lost),
    )


def _check_not_input(path: Path, out: Path) -> None:
    if path.exists() and out.exists() and any(out.samefile(file) for file in files_in(path)):
        raise InputError(f"{out} is read and cannot be written", fix="give another place for it")


def _check_format(path: Path, kind: str, to: str, tokenizer: Tokenizer | None) -> None:
    names = [*FORMATS, TEXT]
    if to not in names:
        raise ConfigError(
            f"unknown format {to!r}",
            why=f"known formats: {', '.join(names)}",
            fix=did_you_mean(to, names),
        )
    fitting = {"conversations": list(FORMATS), "documents": [TEXT], "token ids": [TEXT]}.get(kind)
    if fitting is None:
        raise ConfigError(f"{path} holds {kind}, which are not converted")
    if to not in fitting:
        raise ConfigError(
            f"{path} holds {kind}, which {to!r} cannot hold",
            why=f"formats for {kind}: {', '.join(fitting)}",
            fix=f"--to {fitting[0]}",
        )
    if kind == "token ids" and tokenizer is None:
        raise ConfigError(
            f"{path} holds token ids, not text",
            fix="name the tokenizer that made them: --tokenizer",
        )


def _conversation_rows(
    conversations: Iterator[Conversation], to: str, lost: BadRows
) -> Iterator[Row]:
    write = FORMATS[to]
    for conversation in conversations:
        try:
            row = write(conversation)
            details = _differences(conversation, row, is_exact=to == "messages")
        except (CannotHoldError, BadRowError) as error:
            lost.add(conversation.source, conversation.line, str(error))
            continue
        for detail in details:
            lost.note(detail)
        yield row


def _differences(conversation: Conversation, row: Row, *, is_exact: bool) -> list[str]:
    """Return what a row loses of its conversation, found by reading it back.

    Raises:
        CannotHoldError: it would be another conversation.
    """
    back = conversations_of(row)
    found = [] if is_exact or trimmed(conversation) == conversation else [WHITE_SPACE]
    wanted = trimmed(conversation) if found else conversation
    if [(c.messages, c.tools) for c in back] != [(wanted.messages, wanted.tools)]:
        raise CannotHoldError(OTHERWISE)
    pairs = zip(wanted.messages, back[0].messages, strict=True)
    if any(before.input_at != after.input_at for before, after in pairs):
        found.append(BORDER)
    return found


def trimmed(conversation: Conversation) -> Conversation:
    """Return a conversation without outer white space, as most formats are read."""
    messages = tuple(
        m
        if m.content == m.content.strip()
        else replace(m, content=m.content.strip(), input_at=None)
        for m in conversation.messages
    )
    return replace(conversation, messages=messages)


def _document_row(document: Document) -> dict[str, Any]:
    row = {"text": document.text}
    return row | {"language": document.language} if document.language else row


def _decoded(path: Path, tokenizer: Tokenizer, lost: BadRows) -> Iterator[dict[str, Any]]:
    special = {tokenizer.bos_id, tokenizer.eos_id}
    for file in files_in(path):
        if file.suffix in (".bin", ".dis", ".tmp") and file.with_suffix(".idx").exists():
            continue  # read together with the index
        for sample in read_token_ids(file, end_id=tokenizer.eos_id):
            ids = sample.ids.tolist()
            if any(id_ >= tokenizer.vocab_size for id_ in ids):
                raise InputError(
                    f"{file}: token {max(ids)} is none of the tokenizer's {tokenizer.vocab_size}",
                    why="another tokenizer made these ids",
                    fix="give the tokenizer that did: --tokenizer",
                )
            if not sample.trained.all():
                lost.note("which tokens the loss counts")
            yield {"text": tokenizer.decode([id_ for id_ in ids if id_ not in special])}


def _at_least_one(rows: Iterator[Any], path: Path, to: str, lost: BadRows) -> Iterator[Any]:
    count = 0
    for row in rows:
        count += 1
        yield row
    if not count:
        reasons = "; ".join(f"{number} times: {what}" for what, number in lost.reasons.items())
        raise InputError(
            f"{path}: {to!r} can hold none of it",
            why=reasons,
            fix="--to messages holds every conversation",
        )


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items()))


def _list_left_out(out: Path, bad: BadRows, lost: BadRows) -> str | None:
    """Write what is missing beside the result; an older list never stays."""
    file = out.with_name(f"{out.name}.left_out.jsonl")
    file.unlink(missing_ok=True)
    if not bad.bad and not lost.bad:
        return None
    write_jsonl(file, [*bad.as_records(), *lost.as_records()])
    return str(file)
