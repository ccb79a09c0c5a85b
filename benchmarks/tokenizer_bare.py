"""python benchmarks/tokenizer_bare.py KIND FOLDER FILE...

How does a short script train a tokenizer, with the bare library and nothing else? The other side of
`tokenizer_speed.py`: the options of `hanlin tokenizer train`, on the same lines, so that the pieces
come out the same. KIND is sp-bpe, unigram or byte-bpe.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import sentencepiece as spm
import tokenizers

SENTENCEPIECE_VOCAB = 16_000  # at 8,000 Hanlin spells the rarest characters in bytes: other work
BYTE_LEVEL_VOCAB = 8_000
MOST_CHARACTERS = 1_000  # of a line; SentencePiece passes over lines of more than 4,192 bytes
LLAMA3_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def rows(files: list[Path]) -> Iterator[str]:
    """Yield lines of text files, and the "text" of JSON lines."""
    for file in files:
        with file.open(encoding="utf-8") as stream:
            for line in stream:
                text = json.loads(line)["text"] if file.suffix == ".jsonl" else line.rstrip("\n")
                if text.strip():
                    yield text


def sentences(files: list[Path]) -> Iterator[str]:
    """Yield lines that SentencePiece reads all of."""
    for row in rows(files):
        for line in row.splitlines():
            for start in range(0, len(line), MOST_CHARACTERS):
                part = line[start : start + MOST_CHARACTERS]
                if part.strip():
                    yield part


def train(kind: str, folder: Path, files: list[Path]) -> None:
    """Train a tokenizer of one kind, up to the library's own file in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "byte-bpe":
        train_byte_level(folder, files)
        return
    spm.set_random_generator_seed(0)
    spm.SentencePieceTrainer.train(
        sentence_iterator=sentences(files),
        model_prefix=str(folder / "m"),
        model_type=kind.removeprefix("sp-"),
        vocab_size=SENTENCEPIECE_VOCAB,
        character_coverage=1.0,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        split_digits=True,
        allow_whitespace_only_pieces=True,
        required_chars="<>x0123456789ABCDEF" if kind == "unigram" else "",
        num_threads=1,
        minloglevel=2,
    )


def train_byte_level(folder: Path, files: list[Path]) -> None:
    """Train a byte-level BPE with LLaMA 3's words."""
    pre = tokenizers.pre_tokenizers
    made = tokenizers.Tokenizer(tokenizers.models.BPE(ignore_merges=True))
    made.pre_tokenizer = pre.Sequence([
        pre.Split(tokenizers.Regex(LLAMA3_WORDS), behavior="isolated"),
        pre.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=BYTE_LEVEL_VOCAB - 3,  # without special tokens
        show_progress=False,
        initial_alphabet=pre.ByteLevel.alphabet(),
    )
    made.train_from_iterator(rows(files), trainer)
    made.save(str(folder / "m.json"))


if __name__ == "__main__":
    train(sys.argv[1], Path(sys.argv[2]), [Path(name) for name in sys.argv[3:]])
