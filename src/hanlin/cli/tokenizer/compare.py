"""`hanlin tokenizer compare`: which tokenizer needs how many tokens for which text?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hanlin.cli import console
from hanlin.cli.options import ManyFiles, json_option

if TYPE_CHECKING:
    from hanlin.tokenization.load import Tokenizer

FILE = click.Path(path_type=Path)


@click.command(cls=ManyFiles)
@click.argument("tokenizers", nargs=-1, required=True)
@click.option("--text", "texts", type=FILE, multiple=True, required=True, metavar="FILE...",
              help="Texts to measure on (.txt, or .jsonl with \"text\").")  # fmt: skip
@json_option
def compare(tokenizers: tuple[str, ...], texts: tuple[Path, ...], as_json: bool) -> None:
    """Measure TOKENIZERS on texts: tokens per character, bytes, and whether texts come back.

    \b
    Examples:
      hanlin tokenizer compare base extended --text zh.jsonl en.txt
      hanlin tokenizer compare base extended --text zh.jsonl --json
    """
    from hanlin.tokenization.load import load
    from hanlin.tokenization.texts import read_all

    samples = {str(file): [row.text for row in read_all([file])] for file in texts}
    value = [
        _measured(load(path), path, file, sample)
        for path in tokenizers
        for file, sample in samples.items()
    ]
    header = ["tokenizer", "text", "entries", "characters", "tokens", "tokens/char", "bytes share",
              "round trip"]  # fmt: skip
    rows = [
        [
            row["tokenizer"], row["text"], str(row["vocab_size"]), str(row["characters"]),
            str(row["tokens"]), f"{row['tokens_per_character']:.3f}",
            f"{row['byte_fallback_share']:.1%}",
            "exact" if row["broken_texts"] == 0 else f"{row['broken_texts']} texts differ",
        ]
        for row in value
    ]  # fmt: skip
    console.result(value, as_json=as_json, text=console.table(rows, header=header))


def _measured(tokenizer: Tokenizer, path: str, file: str, texts: list[str]) -> dict[str, Any]:
    from hanlin.tokenization.fertility import count_broken, measure

    return {
        "tokenizer": path,
        "text": file,
        "vocab_size": tokenizer.vocab_size,
        **measure(tokenizer, texts).as_dict(),
        "broken_texts": count_broken(tokenizer, texts),
    }
