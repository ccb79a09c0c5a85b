"""`hanlin weights`: merge adapters, export to GGUF, verify checkpoints."""

from __future__ import annotations

import click

from hanlin.cli.weights.gguf import gguf
from hanlin.cli.weights.merge import merge
from hanlin.cli.weights.verify import verify


@click.group()
def weights() -> None:
    """Merge, export and verify checkpoints.

    \b
    Examples:
      hanlin weights verify runs/quickstart/merge/model
      hanlin weights gguf runs/quickstart/merge/model model-q8_0.gguf --type q8_0
    """


for command in (merge, gguf, verify):
    weights.add_command(command)
