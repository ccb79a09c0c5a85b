"""Which files does a source of a token store have, and how are they written on after a kill?"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

BLOCK = 1 << 22  # bytes


@dataclass(frozen=True)
class StoreSource:
    """What is known of one source of a store.

    Attributes:
        name: unique in the store; begins its files' names.
        language: "zh", "en", ... or None.
        weight: its share of the tokens that training draws, relative to the other sources;
            None = as many as it has.
        documents: how many documents (or conversations) it has.
        tokens: how many tokens.
        trained_tokens: how many of them the loss counts.
        text_bytes: UTF-8 bytes of the text that became tokens.
        bad_rows: rows that were left out because they could not be read.
        sentences: ends of sentences that are kept; 0 where none are looked for.
        clauses: ends of clauses in long sentences.
        digests: documents whose digest is kept.
    """

    name: str
    language: str | None
    weight: float | None
    documents: int = 0
    tokens: int = 0
    trained_tokens: int = 0
    text_bytes: int = 0
    bad_rows: int = 0
    sentences: int = 0
    clauses: int = 0
    digests: int = 0


def file_sizes(source: StoreSource, dtype: np.dtype[Any], *, has_mask: bool) -> dict[str, int]:
    """Return what the files of a source hold, and how many bytes of it.

    Args:
        source: what is known of it.
        dtype: of the ids.
        has_mask: conversations have a mask, texts have sentences, clauses and digests.
    """
    sizes = {"ids": source.tokens * dtype.itemsize, "offsets": 8 * (source.documents + 1)}
    if has_mask:
        return sizes | {"mask": source.tokens}
    return sizes | {name: 8 * getattr(source, name) for name in ("sentences", "clauses", "digests")}


class Column:
    """One file of a source, written on from a given place, with the checksum of all of it."""

    def __init__(self, path: Path, *, kept_bytes: int = 0) -> None:
        self.checksum = checksum(path, kept_bytes) if kept_bytes else 0
        self.file: IO[bytes] = path.open("r+b" if kept_bytes else "wb")
        self.file.truncate(kept_bytes)
        self.file.seek(kept_bytes)

    def write(self, values: npt.NDArray[Any]) -> None:
        """Append an array."""
        data = values.tobytes()
        self.checksum = zlib.crc32(data, self.checksum)
        self.file.write(data)

    def flush(self) -> int:
        """Hand what was written to the operating system; return the checksum."""
        self.file.flush()
        return self.checksum

    def close(self) -> None:
        """Close the file."""
        self.file.close()


def checksum(path: Path, size: int) -> int:
    """Return the CRC-32 of the first `size` bytes of a file."""
    value = 0
    with path.open("rb") as stream:
        while size and (block := stream.read(min(size, BLOCK))):
            value, size = zlib.crc32(block, value), size - len(block)
    return value
