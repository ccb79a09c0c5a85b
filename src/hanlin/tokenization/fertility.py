"""How many tokens does a tokenizer need for a text, and how many of them are bare bytes?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hanlin.tokenization.load import Tokenizer


@dataclass(frozen=True)
class Fertility:
    """Counts over texts; two can be added.

    Attributes:
        characters: Unicode code points.
        bytes: of the same texts in UTF-8.
        tokens: ids, special tokens not counted.
        byte_fallback_tokens: ids that stand for one byte of a character without a piece.
    """

    characters: int = 0
    bytes: int = 0
    tokens: int = 0
    byte_fallback_tokens: int = 0

    def __add__(self, other: Fertility) -> Fertility:
        return Fertility(
            self.characters + other.characters,
            self.bytes + other.bytes,
            self.tokens + other.tokens,
            self.byte_fallback_tokens + other.byte_fallback_tokens,
        )

    @property
    def tokens_per_character(self) -> float:
        """Return tokens for one character; 0 for no text."""
        return self.tokens / self.characters if self.characters else 0.0

    @property
    def byte_fallback_share(self) -> float:
        """Return the share of tokens that are bare bytes; 0 for no text."""
        return self.byte_fallback_tokens / self.tokens if self.tokens else 0.0

    def as_dict(self) -> dict[str, float]:
        """Return counts and ratios, as `fertility.json` has them."""
        return {
            "characters": self.characters,
            "bytes": self.bytes,
            "tokens": self.tokens,
            "tokens_per_character": round(self.tokens_per_character, 6),
            "byte_fallback_share": round(self.byte_fallback_share, 6),
        }


def measure(tokenizer: Tokenizer, texts: Iterable[str]) -> Fertility:
    """Count characters, bytes and tokens of texts, each encoded as the start of a document."""
    total = Fertility()
    for text in texts:
        ids = tokenizer.encode(text, at_start=True)
        byte_ids = sum(map(tokenizer.is_byte, ids))
        total += Fertility(len(text), len(text.encode("utf-8")), len(ids), byte_ids)
    return total


def count_broken(tokenizer: Tokenizer, texts: Iterable[str]) -> int:
    """Count texts that do not come back from their ids exactly."""
    return sum(tokenizer.decode(tokenizer.encode(t, at_start=True)) != t for t in texts)
