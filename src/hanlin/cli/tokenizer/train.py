"""`hanlin tokenizer train`: a tokenizer from texts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from hanlin.cli import console
from hanlin.cli.options import (
    Finite,
    ManyFiles,
    force_option,
    json_option,
    max_bad_rows_option,
    out_option,
    seed_option,
)  # fmt: skip

FILE = click.Path(path_type=Path)
TYPES = {"sp-bpe": "bpe", "unigram": "unigram", "byte-bpe": "byte-bpe"}


@click.command(cls=ManyFiles)
@click.argument("files", nargs=-1, required=True, type=FILE)
@click.option("--vocab-size", type=int, required=True, help="Entries, bytes and specials included.")
@click.option("--type", "kind", type=click.Choice(list(TYPES)), default="sp-bpe", show_default=True,
              help="SentencePiece BPE (LLaMA 1), unigram (T5), byte-level (LLaMA 3).")  # fmt: skip
@click.option("--character-coverage", type=Finite(0, 1, min_open=True), default=1.0,
              show_default=True, help="Share of the text whose characters get pieces.")  # fmt: skip
@click.option("--max-sentences", type=click.IntRange(1), default=1_000_000, show_default=True,
              help="Lines kept in memory, drawn at random from more.")  # fmt: skip
@click.option("--symbols", multiple=True, metavar="TEXT...", help="Always one token each.")
@click.option("--special", multiple=True, metavar="TOKEN...", help="Special tokens.")
@click.option("--style", type=click.Choice(["llama3", "qwen2"]),
              help="Words and specials of a byte-level BPE; llama3 unless given.")  # fmt: skip
@max_bad_rows_option
@seed_option
@out_option()
@force_option
@json_option
def train(
    files: tuple[Path, ...], out: Path, force: bool, as_json: bool, **given: Any  # noqa: ANN401
) -> None:  # fmt: skip
    """Train a tokenizer like LLaMA's on FILES (.txt, or .jsonl with "text"), read row by row.

    No text is unknown and none is normalized; digits stay apart. A unigram tokenizer loads in
    transformers and SentencePiece, the others in llama.cpp too.

    \b
    Examples:
      hanlin tokenizer train corpus.txt --vocab-size 8000 --out my-tokenizer
      hanlin tokenizer train en.jsonl more.txt --vocab-size 32000 --out my-tokenizer --force
      hanlin tokenizer train corpus.txt --type unigram --vocab-size 8000 --out my-tokenizer
      hanlin tokenizer train corpus.txt --type byte-bpe --vocab-size 8000 --out my-tokenizer
    """
    from hanlin.core.files import atomic_directory
    from hanlin.tokenization.load import load
    from hanlin.tokenization.texts import read_many

    rows = read_many(files, max_bad_rows=given["max_bad_rows"], progress=console.progress())
    texts = (row.text for row in rows)
    with atomic_directory(out, force=force) as folder:
        (_train_bytes if given["kind"] == "byte-bpe" else _train)(texts, folder, given)
    made = load(out)
    value = {"path": str(out), "vocab_size": made.vocab_size, "sha256": made.sha256}
    console.result(value, as_json=as_json, text=f"{out}: {made.vocab_size} entries")


def _train(texts: Iterator[str], folder: Path, given: dict[str, Any]) -> None:
    from hanlin.core.errors import ConfigError
    from hanlin.tokenization.train import Training, train_sentencepiece

    if given["style"] is not None:
        raise ConfigError(
            f"--style {given['style']} does not go with --type {given['kind']}",
            why="only byte-level tokenizers come in styles",
            fix="leave --style out, or add --type byte-bpe",
        )
    training = Training(
        model_type=TYPES[given["kind"]],
        seed=given["seed"],
        character_coverage=given["character_coverage"],
        max_sentences=given["max_sentences"],
        symbols=given["symbols"],
        special=given["special"],
    )
    train_sentencepiece(texts, vocab_size=given["vocab_size"], out=folder, training=training)


def _train_bytes(texts: Iterator[str], folder: Path, given: dict[str, Any]) -> None:
    from hanlin.core.errors import ConfigError
    from hanlin.tokenization.bpe import train_byte_bpe

    if given["symbols"] or given["character_coverage"] < 1:
        raise ConfigError(
            "--symbols and --character-coverage do not go with --type byte-bpe",
            why="a byte-level tokenizer has no characters to choose from, and no symbols",
            fix="leave them out; --special adds tokens that no text can become",
        )
    train_byte_bpe(
        texts,
        vocab_size=given["vocab_size"],
        out=folder,
        style=given["style"] or "llama3",
        special_tokens=given["special"],
    )
