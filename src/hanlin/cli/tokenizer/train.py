"""`hanlin tokenizer train`: a tokenizer from texts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hanlin.cli import console
from hanlin.cli.options import ManyFiles, force_option, json_option, out_option

if TYPE_CHECKING:
    pass

FILE = click.Path(path_type=Path)


@click.command(cls=ManyFiles)
@click.argument("files", nargs=-1, required=True, type=FILE)
@click.option("--vocab-size", type=int, required=True, help="Entries, bytes and specials included.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the training.")
@out_option()
@force_option
@json_option
def train(
    files: tuple[Path, ...], vocab_size: int, seed: int, out: Path, force: bool, as_json: bool
) -> None:
    """Train a SentencePiece tokenizer like LLaMA's on FILES (.txt, or .jsonl with "text").

    \b
    Examples:
      hanlin tokenizer train corpus.txt --vocab-size 8000 --out my-tokenizer
      hanlin tokenizer train en.jsonl more.txt --vocab-size 32000 --out my-tokenizer --force
    """
    from hanlin.core.files import atomic_directory
    from hanlin.tokenization.load import load
    from hanlin.tokenization.texts import read_all
    from hanlin.tokenization.train import train_sentencepiece

    texts = [row.text for row in read_all(files)]
    with atomic_directory(out, force=force) as folder:
        train_sentencepiece(texts, vocab_size=vocab_size, out=folder, seed=seed)
    made = load(out)
    value = {"path": str(out), "vocab_size": made.vocab_size, "sha256": made.sha256}
    console.result(value, as_json=as_json, text=f"{out}: {made.vocab_size} entries")
