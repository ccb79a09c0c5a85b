"""How are many (or very long) texts gone through so that a kill loses nothing and repeats nothing?

What is found in each chunk is written to a journal beside the result, batch by batch. The same
command finds it there, leaves out what is done, and goes on. When all chunks are done, the journal
is read once more, text by text, and becomes the result: never more than one text's facts are held.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby, islice
from pathlib import Path
from typing import Any, TextIO

from hanlin import __version__
from hanlin.core.errors import ResourceError
from hanlin.core.files import os_error, write_jsonl
from hanlin.extraction.chunks import Chunking, chunks, joined
from hanlin.extraction.facts import Extraction, from_row, to_row

Extract = Callable[[Sequence[Extraction]], list[Extraction]]
Progress = Callable[[int, int, str], None]
Piece = tuple[int, int, Extraction]  # number of the text, first character of the chunk, the chunk
BATCH_SIZE = 32  # chunks that are asked about, and written, at a time


def run_job(
    texts: Sequence[Extraction],
    extract: Extract,
    *,
    out: Path,
    chunking: Chunking,
    key: str,
    progress: Progress = lambda _done, _total, _text: None,
) -> int:
    """Extract from texts and write one row for each; return how many chunks were done before.

    Args:
        texts: of which id, text and language are taken.
        extract: finds what is in some chunks (`Extractor.batch`).
        out: JSON lines with the result; `.NAME.journal` beside it until all is done.
        chunking: how texts are divided.
        key: what else the result depends on, such as the model; another key begins anew.
        progress: called with (done, total, text) after each batch.

    Raises:
        ResourceError: another process writes the same result, or the disk is full.
    """
    digest = hashlib.sha256()
    for text in texts:
        digest.update(json.dumps([text.id, text.text, text.language]).encode())
    mark = json.dumps([__version__, key, repr(chunking), digest.hexdigest()])
    total = sum(1 for _ in _pieces(texts, chunking))
    with _journal(out.with_name(f".{out.name}.journal"), mark) as (journal, done):
        before = done
        pieces = islice(_pieces(texts, chunking), done, None)
        while batch := list(islice(pieces, BATCH_SIZE)):
            found = extract([piece for _, _, piece in batch])
            _append(journal, batch, found)
            done += len(batch)
            progress(done, total, "chunks")
        path = Path(journal.name)
        write_jsonl(out, (to_row(one) for one in _results(path, texts)))
        path.unlink()
    return before


def _pieces(texts: Sequence[Extraction], chunking: Chunking) -> Iterator[Piece]:
    for number, text in enumerate(texts):
        for span in chunks(text.text, chunking):
            part = text.text[span.start : span.end]
            yield number, span.start, Extraction(text.id, part, text.language)


@contextmanager
def _journal(path: Path, mark: str) -> Iterator[tuple[TextIO, int]]:
    """Open a journal for more rows; tell how many whole ones are in it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+", encoding="utf-8") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ResourceError(
                    f"another process is writing {path}",
                    fix="wait for it, stop it, or give another place for the result",
                ) from error
            yield stream, _go_on(stream, mark)
    except OSError as error:
        raise os_error(error, path) from error


def _go_on(stream: TextIO, mark: str) -> int:
    """Cut a row that a kill left half-written; begin anew where the mark is another one."""
    stream.seek(0)
    if stream.readline() != mark + "\n":
        stream.seek(0)
        stream.truncate()
        stream.write(mark + "\n")
        stream.flush()
        return 0
    rows, end = 0, stream.tell()
    while stream.readline().endswith("\n"):
        rows, end = rows + 1, stream.tell()
    stream.seek(end)
    stream.truncate()
    return rows


def _append(journal: TextIO, batch: Sequence[Piece], found: Sequence[Extraction]) -> None:
    rows = [
        {"number": number, "start": start, **to_row(one)}
        for (number, start, _), one in zip(batch, found, strict=True)
    ]
    journal.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    journal.flush()
    os.fsync(journal.fileno())


def _results(path: Path, texts: Sequence[Extraction]) -> Iterator[Extraction]:
    with path.open(encoding="utf-8") as stream:
        next(stream)
        rows: Iterator[dict[str, Any]] = map(json.loads, stream)
        for number, own in groupby(rows, key=lambda row: row["number"]):
            parts = [(row["start"], from_row(row)) for row in own]
            yield parts[0][1] if len(parts) == 1 else joined(texts[number], parts)
