"""Which documents are kept, and with what text? Tidy newlines; no empty, short or doubled ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from hanlin.core.records import Document


@dataclass
class Dropped:
    """How many documents were left out, by reason."""

    empty: int = 0
    short: int = 0
    duplicate: int = 0
    other_language: int = 0


def clean(
    documents: Iterable[Document],
    *,
    dropped: Dropped,
    min_characters: int = 1,
    drop_duplicates: bool = True,
) -> Iterator[Document]:
    """Yield the documents with tidy text; nothing inside of a line is changed.

    Args:
        documents: what a reader gives.
        dropped: counts what is left out.
        min_characters: shorter documents are left out.
        drop_duplicates: leave out a text that came before, exactly the same. Kept are 8 bytes of a
            digest for each text: among ten million documents two different ones are taken for the
            same with a probability of 3 in a million.
    """
    seen: set[bytes] = set()
    for document in documents:
        text = tidy(document.text)
        if not text:
            dropped.empty += 1
        elif len(text) < min_characters:
            dropped.short += 1
        else:
            if drop_duplicates:
                digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()
                if digest in seen:
                    dropped.duplicate += 1
                    continue
                seen.add(digest)
            yield replace(document, text=text)


def tidy(text: str) -> str:
    """Return the text with line feeds only, and no white space around it or at the ends of lines.

    The white space that begins a paragraph's first line goes too, full-width spaces as well.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")
    return "\n".join(line.rstrip() for line in text.split("\n")).strip()
