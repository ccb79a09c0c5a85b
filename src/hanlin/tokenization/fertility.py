"""How many tokens does a tokenizer need for a text, and how much of it falls back to bytes?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

from hanlin.tokenization.load import Tokenizer

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")

BATCH_CHARACTERS = 500_000  # encoded at once; bounds the memory for texts of any length in all


@dataclass(frozen=True)
class Fertility:
    """Counts over texts; two can be added.

    Attributes:
        characters: Unicode code points.
        bytes: of the same texts in UTF-8.
        tokens: ids, special tokens not counted.
        byte_fallback_tokens: ids that stand for a bare byte, or for some bytes of a character
            that has no piece of its own.
        byte_fallback_bytes: bytes of the texts that such ids stand for.
    """

    characters: int = 0
    bytes: int = 0
    tokens: int = 0
    byte_fallback_tokens: int = 0
    byte_fallback_bytes: int = 0

    def __add__(self, other: Fertility) -> Fertility:
        return Fertility(
            self.characters + other.characters,
            self.bytes + other.bytes,
            self.tokens + other.tokens,
            self.byte_fallback_tokens + other.byte_fallback_tokens,
            self.byte_fallback_bytes + other.byte_fallback_bytes,
        )

    @property
    def tokens_per_character(self) -> float:
        """Return tokens for one character; 0 for no text."""
        return self.tokens / self.characters if self.characters else 0.0

    @property
    def characters_per_token(self) -> float:
        """Return characters that one token stands for; 0 for no text."""
        return self.characters / self.tokens if self.tokens else 0.0

    @property
    def bytes_per_token(self) -> float:
        """Return bytes that one token stands for; 0 for no text."""
        return self.bytes / self.tokens if self.tokens else 0.0

    @property
    def byte_fallback_share(self) -> float:
        """Return the share of tokens that are bare bytes; 0 for no text."""
        return self.byte_fallback_tokens / self.tokens if self.tokens else 0.0

    @property
    def bytes_fallen_back_share(self) -> float:
        """Return the share of the texts' bytes that have no better piece; 0 for no text."""
        return self.byte_fallback_bytes / self.bytes if self.bytes else 0.0

    def as_dict(self) -> dict[str, float]:
        """Return counts and ratios, as `fertility.json` has them."""
        return {
            "characters": self.characters,
            "bytes": self.bytes,
            "tokens": self.tokens,
            "tokens_per_character": round(self.tokens_per_character, 6),
            "characters_per_token": round(self.characters_per_token, 6),
            "bytes_per_token": round(self.bytes_per_token, 6),
            "byte_fallback_share": round(self.byte_fallback_share, 6),
            "bytes_fallen_back_share": round(self.bytes_fallen_back_share, 6),
        }


def measure(tokenizer: Tokenizer, texts: Iterable[str]) -> Fertility:
    """Count characters, bytes and tokens of texts, each encoded as the start of a document."""
    total = Fertility()
    for batch in batches(texts, characters=len):
        ids = tokenizer.encode_batch(batch, at_start=True)
        total += count(tokenizer, batch, flatten(ids))
    return total


def flatten(ids: Iterable[Iterable[int]]) -> np.ndarray:
    """Return the ids of several texts in one array."""
    import numpy as np

    return np.fromiter(chain.from_iterable(ids), dtype=np.int64)


def count(tokenizer: Tokenizer, texts: Sequence[str], ids: np.ndarray) -> Fertility:
    """Count texts that are encoded already; `ids` has the ids of all of them."""
    lengths, is_fallback = tables(tokenizer)
    fallen = ids[is_fallback[ids]]
    return Fertility(
        characters=sum(map(len, texts)),
        bytes=sum(len(text.encode("utf-8")) for text in texts),
        tokens=len(ids),
        byte_fallback_tokens=len(fallen),
        byte_fallback_bytes=int(lengths[fallen].sum()),
    )


@lru_cache(maxsize=16)
def tables(tokenizer: Tokenizer) -> tuple[np.ndarray, np.ndarray]:
    """Return for every id the number of its bytes, and whether it is no whole character."""
    import numpy as np

    pieces = [tokenizer.bytes_of(token_id) for token_id in range(tokenizer.vocab_size)]
    is_fallback = [tokenizer.is_byte(i) or not _is_text(piece) for i, piece in enumerate(pieces)]
    return np.array([len(piece) for piece in pieces], dtype=np.int64), np.array(is_fallback)


def _is_text(piece: bytes) -> bool:
    try:
        piece.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def batches(
    items: Iterable[T], *, characters: Callable[[T], int], limit: int = BATCH_CHARACTERS
) -> Iterator[list[T]]:
    """Yield items in lists of about `limit` characters; `characters` tells an item's length."""
    batch: list[T] = []
    size = 0
    for item in items:
        batch.append(item)
        size += characters(item)
        if size >= limit:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
