"""How is a SentencePiece tokenizer trained on texts?

hanlin tokenizer train corpus.txt --vocab-size 8000 --out my-tokenizer
"""

from __future__ import annotations

import io
import logging
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from hanlin.core.errors import ConfigError, InputError
from hanlin.core.extras import require
from hanlin.tokenization import sentencepiece
from hanlin.tokenization.load import from_model
from hanlin.tokenization.sentencepiece import NORMAL, SPACE, UNIGRAM
from hanlin.tokenization.texts import lines_of, sample

log = logging.getLogger(__name__)

TYPES = ("bpe", "unigram")
BYTES_AND_SPECIALS = 256 + 3
CHARACTERS_PER_BLOCK = 1 << 20
ALPHABET_SHARE = 0.5  # of the free places; the rest is for merges
# So that a text which spells a byte piece, such as <0x0A>, is always cheaper letter by letter.
LETTERS_OF_BYTES = "<>x0123456789ABCDEF"
# Scores of a unigram model are multiples of 1/256: sums of them are exact in single and in double
# precision, so SentencePiece and tokenizers see the same ties and break them alike.
STEPS = 256


@dataclass(frozen=True)
class Training:
    """How a tokenizer is trained.

    Attributes:
        model_type: "bpe" or "unigram".
        seed: of the sample, and of SentencePiece's own random numbers.
        character_coverage: share of the text that characters with a piece of their own make up;
            the others are spelled in bytes.
        most_characters: most characters with a piece of their own, the rarest go first; None:
            half of the places that bytes and special tokens leave.
        max_sentences: most lines that are kept in memory and learned from, drawn at random.
        symbols: texts that are always one token, never part of another. With them no dummy space
            is put before texts: llama.cpp would put one after every symbol too.
        special: special tokens, which no text can become.
        dummy_prefix: put a space before every text, as LLaMA does.
    """

    model_type: str = "bpe"
    seed: int = 0
    character_coverage: float = 1.0
    most_characters: int | None = None
    max_sentences: int = 1_000_000
    symbols: tuple[str, ...] = ()
    special: tuple[str, ...] = ()
    dummy_prefix: bool = True


def train_sentencepiece(
    texts: Iterable[str],
    *,
    vocab_size: int,
    out: Path,
    seed: int = 0,
    training: Training | None = None,
) -> Path:
    """Train a LLaMA-like tokenizer and write a complete folder that transformers loads.

    Byte fallback, no normalization, digits apart, a dummy space in front; unk 0, bos 1, eos 2.
    Where the corpus cannot fill the vocabulary it becomes smaller, with a warning.

    Args:
        texts: the corpus, read once.
        vocab_size: entries wanted, the 259 bytes and special tokens included.
        out: the folder.
        seed: of a training without other settings.
        training: all settings; None: a BPE with the seed.

    Raises:
        InputError: the corpus holds no text.
        ConfigError: the vocabulary is too small for the byte pieces, or a setting is no good.
    """
    model = train_model(texts, vocab_size=vocab_size, training=training or Training(seed=seed))
    if len(model.pieces) < vocab_size:
        log.warning(
            "the tokenizer has %d entries, not %d: the corpus holds no more repeated pieces; "
            "give more text for a larger vocabulary", len(model.pieces), vocab_size,
        )  # fmt: skip
    return write_folder(model, out)


def write_folder(model: Any, out: Path) -> Path:  # noqa: ANN401 - a ModelProto
    """Write a SentencePiece model as a tokenizer folder: `tokenizer.model` and both JSON files."""
    from_model(model, settings={}, path=out).save(out)
    return out


def train_model(texts: Iterable[str], *, vocab_size: int, training: Training) -> Any:  # noqa: ANN401
    """Train as `train_sentencepiece` does, and return the ModelProto instead of writing it."""
    _check(vocab_size, training)
    counts = _CharacterCounts()
    lines = sample(counts.passing(lines_of(texts)), most=training.max_sentences, seed=training.seed)
    characters = counts.ranked()
    if not characters:
        raise InputError(
            "the corpus for the tokenizer is empty",
            why="no text is left after splitting it into lines",
            fix="give files with text in them",
        )
    free = vocab_size - _taken(training)
    places = training.most_characters or max(1, int(free * ALPHABET_SHARE))
    places = min(places, _covering(characters, training.character_coverage))
    module = require("sentencepiece", extra="train", purpose="training a tokenizer")
    module.set_random_generator_seed(training.seed)
    written = io.BytesIO()
    module.SentencePieceTrainer.train(
        sentence_iterator=_cut(lines, [character for character, _ in characters[places:]]),
        model_writer=written,
        vocab_size=vocab_size,
        **_options(training),
    )
    model = sentencepiece.parse_model(written.getvalue(), name="the trained model")
    return _rounded(model) if training.model_type == "unigram" else model


class _CharacterCounts:
    """Counts the characters of lines that pass by, a block at a time."""

    def __init__(self) -> None:
        import numpy as np

        self._counts = np.zeros(sys.maxunicode + 1, dtype=np.int64)

    def passing(self, lines: Iterable[str]) -> Iterator[str]:
        """Yield lines, and count their characters."""
        block: list[str] = []
        size = 0
        for line in lines:
            block.append(line)
            size += len(line)
            if size >= CHARACTERS_PER_BLOCK:
                self._add("".join(block))
                block, size = [], 0
            yield line
        self._add("".join(block))

    def _add(self, text: str) -> None:
        import numpy as np

        points = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
        self._counts += np.bincount(points, minlength=len(self._counts))

    def ranked(self) -> list[tuple[str, int]]:
        """Return the characters that were seen with their counts, the most frequent first."""
        points = self._counts.nonzero()[0].tolist()
        counted = [(chr(point), int(self._counts[point])) for point in points]
        return sorted(counted, key=lambda pair: (-pair[1], pair[0]))


def _options(training: Training) -> dict[str, Any]:
    """Return what makes it LLaMA-like; one thread, so that the bytes are always the same."""
    is_unigram = training.model_type == "unigram"
    return {
        "model_type": training.model_type,
        "character_coverage": 1.0,
        "byte_fallback": True,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "add_dummy_prefix": training.dummy_prefix and not training.symbols,
        "split_digits": True,
        "allow_whitespace_only_pieces": True,
        "hard_vocab_limit": False,
        "num_threads": 1,
        "required_chars": LETTERS_OF_BYTES if is_unigram else "",
        "user_defined_symbols": list(training.symbols),
        "control_symbols": list(training.special),
        "unk_id": 0,
        "bos_id": 1,
        "eos_id": 2,
        "pad_id": -1,
        "minloglevel": 2,
    }


def _taken(training: Training) -> int:
    return BYTES_AND_SPECIALS + len(training.symbols) + len(training.special)


def _check(vocab_size: int, training: Training) -> None:
    if training.model_type not in TYPES:
        raise ConfigError(
            f"unknown tokenizer type {training.model_type!r}",
            why="LLaMA's tokenizers are byte-pair encodings (bpe); T5's are unigram models",
            fix=f"use one of {', '.join(TYPES)}",
        )
    taken = _taken(training)
    if vocab_size <= taken:
        raise ConfigError(
            f"a vocabulary of {vocab_size} is too small",
            why=f"{taken} entries are taken by bytes, symbols and special tokens",
            fix=f"ask for more than {taken}, for example {taken + 2000}",
        )
    names = [*training.symbols, *training.special]
    for name in names:
        if not name or SPACE in name or any(c.isspace() for c in name) or names.count(name) > 1:
            raise ConfigError(
                f"{name!r} cannot be a symbol or a special token",
                why="it is empty, holds a space, or is named twice",
                fix="give each one once, without spaces, for example <sep>",
            )


def _covering(characters: list[tuple[str, int]], share: float) -> int:
    """Return how many of the most frequent characters make up a share of the text."""
    if share >= 1:
        return len(characters)
    sums = list(accumulate(count for _, count in characters))
    return sum(total < share * sums[-1] for total in sums) + 1


def _cut(lines: Iterable[str], rare: list[str]) -> Iterator[str]:
    """Cut lines at characters too rare for a piece of their own; those are written in bytes.

    (SentencePiece's `character_coverage` does not go below 0.98, which is too much for a small
    vocabulary and Chinese text.)
    """
    if not rare:
        return iter(lines)
    split = re.compile("[" + "".join(map(re.escape, rare)) + "]").split
    return (part for line in lines for part in split(line) if part)


def _rounded(model: Any) -> Any:  # noqa: ANN401 - a ModelProto
    """Round the scores of a unigram model, see STEPS."""
    assert model.trainer_spec.model_type == UNIGRAM
    for piece in model.pieces:
        if piece.type == NORMAL:
            piece.score = round(piece.score * STEPS) / STEPS
    return model
