"""`hanlin tokenizer`: train, extend and compare tokenizers."""

from __future__ import annotations

import click

from hanlin.cli.tokenizer.compare import compare
from hanlin.cli.tokenizer.extend import extend
from hanlin.cli.tokenizer.train import train


@click.group()
def tokenizer() -> None:
    """Train, extend and compare tokenizers.

    \b
    Examples:
      hanlin tokenizer train corpus.txt --vocab-size 8000 --out my-tokenizer
      hanlin tokenizer compare my-tokenizer --text corpus.txt
    """


for command in (train, extend, compare):
    tokenizer.add_command(command)
