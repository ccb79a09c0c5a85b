"""`hanlin weights`: merge adapters, export to GGUF, verify checkpoints."""

from __future__ import annotations

import click

from hanlin.cli.weights.card import card
from hanlin.cli.weights.convert import convert
from hanlin.cli.weights.diff import diff
from hanlin.cli.weights.download import download
from hanlin.cli.weights.gguf import gguf
from hanlin.cli.weights.merge import merge
from hanlin.cli.weights.quantize import quantize
from hanlin.cli.weights.recover import recover
from hanlin.cli.weights.verify import verify


@click.group()
def weights() -> None:
    """Merge, export and verify checkpoints.

    \b
    Examples:
      hanlin weights verify runs/quickstart/merge/model
      hanlin weights gguf runs/quickstart/merge/model model-q8_0.gguf --type q8_0
      hanlin weights card runs/quickstart
    """


for command in (merge, gguf, quantize, verify, convert, download, diff, recover, card):
    weights.add_command(command)
