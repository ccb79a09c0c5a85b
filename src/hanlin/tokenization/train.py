"""How is a SentencePiece tokenizer trained on texts?

hanlin tokenizer train corpus.txt --vocab-size 8000 --out my-tokenizer
"""

from __future__ import annotations

import io
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from hanlin.core.errors import ConfigError, InputError
from hanlin.core.extras import require
from hanlin.core.files import write_atomic
from hanlin.tokenization import sentencepiece
from hanlin.tokenization.load import load

log = logging.getLogger(__name__)

BYTES_AND_SPECIALS = 256 + 3
CHARACTERS_PER_LINE = 1_000  # SentencePiece passes over lines of more than 4,192 bytes in silence
ALPHABET_SHARE = 0.5  # of the free places; the rest is for merges


def train_sentencepiece(
    texts: Iterable[str], *, vocab_size: int, out: Path, seed: int = 0, model_type: str = "bpe"
) -> Path:
    """Train a LLaMA-like tokenizer and write a complete folder that transformers loads.

    Byte fallback, no normalization, digits apart, a dummy space in front; unk 0, bos 1, eos 2.
    Where the corpus cannot fill the vocabulary it becomes smaller, with a warning.

    Args:
        texts: the corpus.
        vocab_size: entries wanted, the 259 bytes and special tokens included.
        out: the folder.
        seed: for SentencePiece's own random numbers.
        model_type: "bpe".

    Raises:
        InputError: the corpus holds no text.
        ConfigError: the vocabulary is too small for the byte pieces, or the type is unknown.
    """
    model = train_model(texts, vocab_size=vocab_size, seed=seed, model_type=model_type)
    if len(model.pieces) < vocab_size:
        log.warning(
            "the tokenizer has %d entries, not %d: the corpus holds no more repeated pieces; "
            "give more text for a larger vocabulary", len(model.pieces), vocab_size,
        )  # fmt: skip
    return write_folder(model, out)


def write_folder(model: Any, out: Path) -> Path:  # noqa: ANN401 - a ModelProto
    """Write a SentencePiece model as a tokenizer folder: `tokenizer.model` and both JSON files."""
    write_atomic(out / "tokenizer.model", model.SerializeToString())
    load(out / "tokenizer.model").save(out)
    return out


def train_model(
    texts: Iterable[str],
    *,
    vocab_size: int,
    seed: int = 0,
    model_type: str = "bpe",
    alphabet: int | None = None,
    dummy_prefix: bool = True,
) -> Any:  # noqa: ANN401 - a ModelProto
    """Train as `train_sentencepiece` does, and return the model instead of writing it.

    Args:
        texts: the corpus.
        vocab_size: entries wanted; fewer if the corpus cannot fill them.
        seed: for SentencePiece's own random numbers.
        model_type: "bpe".
        alphabet: most characters with a piece of their own, the rarest go first; None: half of
            the places that bytes and special tokens leave.
        dummy_prefix: put a space before every line; False where the pieces are meant to be
            added to another model and lines are no words' beginnings.
    """
    _check(vocab_size, model_type)
    lines = list(_lines(texts))
    characters: Counter[str] = Counter()
    for line in lines:
        characters.update(line)
    if not characters:
        raise InputError(
            "the corpus for the tokenizer is empty",
            why="no text is left after splitting it into lines",
            fix="give files with text in them",
        )
    module = require("sentencepiece", extra="train", purpose="training a tokenizer")
    module.set_random_generator_seed(seed)
    places = alphabet or max(1, int((vocab_size - BYTES_AND_SPECIALS) * ALPHABET_SHARE))
    written = io.BytesIO()
    module.SentencePieceTrainer.train(
        sentence_iterator=_without_rare(lines, characters, places),
        model_writer=written,
        vocab_size=vocab_size,
        add_dummy_prefix=dummy_prefix,
        **_options(model_type),
    )
    return sentencepiece.parse_model(written.getvalue(), name="the trained model")


def _options(model_type: str) -> dict[str, Any]:
    """Return what makes it LLaMA-like; one thread, so that the bytes are always the same."""
    return {
        "model_type": model_type,
        "character_coverage": 1.0,
        "byte_fallback": True,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "split_digits": True,
        "allow_whitespace_only_pieces": True,
        "hard_vocab_limit": False,
        "num_threads": 1,
        "unk_id": 0,
        "bos_id": 1,
        "eos_id": 2,
        "pad_id": -1,
        "minloglevel": 2,
    }


def _check(vocab_size: int, model_type: str) -> None:
    if model_type != "bpe":
        raise ConfigError(
            f"unknown tokenizer type {model_type!r}",
            why="LLaMA's tokenizers are byte-pair encodings, and only those can be extended",
            fix="use bpe",
        )
    if vocab_size <= BYTES_AND_SPECIALS:
        raise ConfigError(
            f"a vocabulary of {vocab_size} is too small",
            why=f"{BYTES_AND_SPECIALS} entries are taken by bytes and special tokens",
            fix=f"ask for more than {BYTES_AND_SPECIALS}, for example 2000",
        )


def _lines(texts: Iterable[str]) -> Iterator[str]:
    """Yield pieces short enough for SentencePiece to read all of them."""
    for text in texts:
        for line in text.splitlines():
            for start in range(0, len(line), CHARACTERS_PER_LINE):
                part = line[start : start + CHARACTERS_PER_LINE]
                if part.strip():
                    yield part


def _without_rare(lines: Iterable[str], characters: Counter[str], places: int) -> Iterator[str]:
    """Cut lines at characters too rare for a piece of their own; those are written in bytes.

    (SentencePiece's `character_coverage` does not go below 0.98, which is too much for a small
    vocabulary and Chinese text.)
    """
    by_count = sorted(characters, key=lambda c: (-characters[c], c))
    if len(by_count) <= places:
        yield from lines
        return
    cuts = {ord(character): "\n" for character in by_count[places:]}
    for line in lines:
        yield from filter(None, line.translate(cuts).split("\n"))
