"""What is known after tokenizers were tried on texts? Frozen records, and how they are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from hanlin.tokenization.fertility import Fertility

VERSION = 1


@dataclass(frozen=True)
class Row:
    """One tokenizer on the texts of one language in one file; two of them can be added.

    Attributes:
        tokenizer: its name, as it was given.
        file: where the texts are, "" for all files.
        language: as the rows say it, else the script of most letters: "Han", "Latin".
        texts: how many.
        fertility: characters, bytes, tokens.
        broken_texts: texts that do not come back from their ids exactly.
        first_broken: file and line of the first of them.
        changed_texts: texts whose ids are not those of the first tokenizer.
        changed_tokens: ids of the first tokenizer that are no more at their place in the text.
    """

    tokenizer: str
    file: str
    language: str
    texts: int = 0
    fertility: Fertility = field(default_factory=Fertility)
    broken_texts: int = 0
    first_broken: str = ""
    changed_texts: int = 0
    changed_tokens: int = 0

    def __add__(self, other: Row) -> Row:
        return replace(
            self,
            texts=self.texts + other.texts,
            fertility=self.fertility + other.fertility,
            broken_texts=self.broken_texts + other.broken_texts,
            first_broken=self.first_broken or other.first_broken,
            changed_texts=self.changed_texts + other.changed_texts,
            changed_tokens=self.changed_tokens + other.changed_tokens,
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain values on one level."""
        values = asdict(self)
        del values["fertility"]
        first = {name: values.pop(name) for name in ("tokenizer", "file", "language", "texts")}
        return first | self.fertility.as_dict() | values


@dataclass(frozen=True)
class Vocabulary:
    """One tokenizer's entries.

    Attributes:
        tokenizer: its name, as it was given.
        sha256: digest of its `tokenizer.json`.
        vocab_size: how many ids there are.
        new_pieces: entries for bytes that the first tokenizer has no single entry for.
        unused_new_pieces: those of them that none of the texts produced.
        unused_examples: the first of these.
    """

    tokenizer: str
    sha256: str
    vocab_size: int
    new_pieces: int
    unused_new_pieces: int
    unused_examples: tuple[str, ...] = ()

    @property
    def unused_share(self) -> float:
        """Return the share of new pieces that no text produced; 0 without new ones."""
        return self.unused_new_pieces / self.new_pieces if self.new_pieces else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        values = asdict(self) | {"unused_examples": list(self.unused_examples)}
        return values | {"unused_share": round(self.unused_share, 6)}


@dataclass(frozen=True)
class Input:
    """A file of texts, and what is in it."""

    file: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Comparison:
    """What tokenizers do with texts; the first tokenizer is the one that others are compared to.

    Attributes:
        inputs: one for each file.
        vocabularies: one for each tokenizer, in the order given.
        rows: one for each file, language and tokenizer, in this order.
    """

    inputs: tuple[Input, ...]
    vocabularies: tuple[Vocabulary, ...]
    rows: tuple[Row, ...]

    @property
    def languages(self) -> tuple[Row, ...]:
        """Return one row for each language and tokenizer, over all files."""
        found: dict[tuple[str, str], Row] = {}
        for language in dict.fromkeys(row.language for row in self.rows):
            for row in (row for row in self.rows if row.language == language):
                key = language, row.tokenizer
                found[key] = found.get(key, Row(row.tokenizer, "", language)) + row
        return tuple(found.values())

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "version": VERSION,
            "inputs": [asdict(entry) for entry in self.inputs],
            "tokenizers": [entry.to_json() for entry in self.vocabularies],
            "rows": [row.to_json() for row in self.rows],
            "languages": [row.to_json() for row in self.languages],
        }


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Return name -> its last part, where that tells the names apart; else the names as they are.

    For tables and plots: paths can be long.
    """
    short = {name: Path(name).name for name in names}
    is_clear = len(set(short.values())) == len(set(names)) and all(short.values())
    return short if is_clear else {name: name for name in names}
