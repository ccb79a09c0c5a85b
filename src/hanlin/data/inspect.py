"""What is in this file, and what of it would be trained?

hanlin data inspect chat.jsonl --tokenizer base/model --prompt plain
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hanlin.core.errors import InputError
from hanlin.core.records import Conversation, Document, Question
from hanlin.data.readers import (
    BadRows,
    detect,
    files_in,
    read_conversations,
    read_documents,
    read_questions,
)
from hanlin.data.readers.json_rows import read_values
from hanlin.data.store import HEADER, TokenStore
from hanlin.prompts.encode import encode_conversation, render
from hanlin.prompts.format import PromptFormat
from hanlin.prompts.formats import get_format

if TYPE_CHECKING:
    from hanlin.tokenization.load import Tokenizer

OPENS, CLOSES = "⟦", "⟧"  # around what the loss counts
END = "</s>"
SHOWN_CHARACTERS = 600  # of a document
SNIFFED_ROWS = 20
READERS = {
    "questions": read_questions,
    "conversations": read_conversations,
    "documents": read_documents,
}


@dataclass(frozen=True)
class Inspection:
    """What is known of a file.

    Attributes:
        path: the file, folder or token store.
        kind: "documents", "conversations", "questions" or "token store".
        counts: rows, bad_rows, characters, and tokens where a tokenizer is given.
        samples: the first rows as they would be trained; ⟦ ⟧ stand around what the loss counts.
        bad_rows: the first rows that cannot be used: source, line, reason.
    """

    path: str
    kind: str
    counts: dict[str, int]
    samples: list[str] = field(default_factory=list)
    bad_rows: list[dict[str, object]] = field(default_factory=list)


def inspect(
    path: Path, *, tokenizer: Tokenizer | None = None, prompt: str = "plain", rows: int = 3
) -> Inspection:
    """Read a file to its end and render its first rows.

    Args:
        path: a corpus, conversations, questions, or a token store (which needs the tokenizer).
        tokenizer: counts tokens, if given.
        prompt: prompt format that conversations are shown in.
        rows: how many rows to show.

    Raises:
        InputError: nothing in the file is of a known kind.
        ConfigError: the prompt format is unknown.
    """
    if (path / HEADER).exists():
        return _inspect_store(path, tokenizer, rows)
    format = get_format(prompt)
    kind = kind_of(path)
    bad = BadRows(max_share=1.0)
    counts = {"rows": 0, "bad_rows": 0, "characters": 0}
    samples: list[str] = []
    for record in READERS[kind](path, bad=bad):
        counts["rows"] += 1
        counts["characters"] += len(_plain_text(record))
        _count_tokens(counts, record, format, tokenizer)
        if len(samples) < rows:
            samples.append(_show(record, format))
    counts["bad_rows"] = bad.bad
    return Inspection(str(path), kind, counts, samples, bad.as_records()[:rows])


def kind_of(path: Path) -> str:
    """Return "documents", "conversations" or "questions", from the first rows of a file or folder.

    Raises:
        InputError: no row is of a known kind.
    """
    for file in files_in(path):
        format = detect(file)
        if format != "json":
            return "questions" if format == "csv" else "documents"
        for _, row in islice(read_values(file, BadRows()), SNIFFED_ROWS):
            if kind := _kind_of_row(row):
                return kind
    raise InputError(
        f"{path} holds no rows of a known kind",
        why="none of the first rows is a text, a conversation or a question",
        fix='corpus rows look like {"text": ...}, conversations like {"messages": [...]} or '
        '{"instruction": ..., "output": ...}',
    )


def _kind_of_row(row: object) -> str | None:
    if isinstance(row, str):
        return "documents"
    keys = {str(key).lower() for key in row} if isinstance(row, dict) else set()
    if "question" in keys and keys & {"options", "a"}:
        return "questions"
    if keys & {"messages", "conversations", "instruction"} or {"input", "output"} <= keys:
        return "conversations"
    return "documents" if keys & {"text", "content", "paragraphs"} else None


def _inspect_store(path: Path, tokenizer: Tokenizer | None, rows: int) -> Inspection:
    store = TokenStore.open(path)
    counts = {"rows": sum(s.documents for s in store.sources), "tokens": store.tokens}
    counts["trained_tokens"] = sum(s.trained_tokens for s in store.sources)
    counts["bad_rows"] = sum(s.bad_rows for s in store.sources)
    samples = []
    if tokenizer is not None:
        store.check_tokenizer(tokenizer.sha256, where=str(tokenizer.path))
        samples = [
            _decode(*document, tokenizer=tokenizer) for document in islice(_documents(store), rows)
        ]
    return Inspection(str(path), "token store", counts, samples)


def _documents(store: TokenStore) -> Iterator[tuple[list[int], list[bool]]]:
    for source in range(len(store.sources)):
        offsets = store.offsets(source)
        for start, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
            yield store.ids(source, start, end).tolist(), store.mask(source, start, end).tolist()


def _decode(ids: list[int], trained: list[bool], *, tokenizer: Tokenizer) -> str:
    parts, at = [], 0
    while at < len(ids):
        end = at
        while end < len(ids) and trained[end] == trained[at]:
            end += 1
        text = tokenizer.decode_continuation(ids[at:end])
        text += END if tokenizer.eos_id in ids[at:end] else ""
        parts.append(f"{OPENS}{text}{CLOSES}" if trained[at] else text)
        at = end
    return _cut("".join(parts))


def _show(record: Any, format: PromptFormat) -> str:  # noqa: ANN401 - any of the three records
    if isinstance(record, Document):
        return _cut(f"{OPENS}{record.text}{END}{CLOSES}")
    if isinstance(record, Question):
        options = [f"{number}. {text}" for number, text in enumerate(record.options, 1)]
        answer = "hidden" if record.answer is None else options[record.answer]
        return "\n".join([record.question, *options, f"-> {answer}  ({record.subject})"])
    return _show_conversation(record, format)


def _show_conversation(conversation: Conversation, format: PromptFormat) -> str:
    parts, is_open = [], False
    for segment in render(conversation.messages, format=format, opens_answer=False):
        is_trained = segment.answer is not None
        if is_trained != is_open:
            parts.append(OPENS if is_trained else CLOSES)
            is_open = is_trained
        parts.append(END if segment.text is None else segment.text)
    return "".join(parts) + (CLOSES if is_open else "")


def _plain_text(record: Any) -> str:  # noqa: ANN401 - any of the three records
    if isinstance(record, Document):
        return record.text
    if isinstance(record, Question):
        return "".join([record.question, *record.options])
    return "".join(message.content for message in record.messages)


def _count_tokens(
    counts: dict[str, int],
    record: Any,  # noqa: ANN401 - any of the three records
    format: PromptFormat,
    tokenizer: Tokenizer | None,
) -> None:
    if tokenizer is None:
        return
    if isinstance(record, Conversation):
        encoded = encode_conversation(record, format=format, tokenizer=tokenizer)
        tokens, trained = len(encoded.ids), sum(encoded.trained)
        counts["trained_tokens"] = counts.get("trained_tokens", 0) + trained
    else:
        tokens = len(tokenizer.encode(_plain_text(record), at_start=True))
    counts["tokens"] = counts.get("tokens", 0) + tokens


def _cut(text: str) -> str:
    if len(text) <= SHOWN_CHARACTERS:
        return text
    return f"{text[:SHOWN_CHARACTERS]} ... ({len(text)} characters)"
