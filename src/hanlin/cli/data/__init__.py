"""`hanlin data`: make, inspect, convert, choose and prepare data."""

from __future__ import annotations

import click

from hanlin.cli.data.convert import convert
from hanlin.cli.data.inspect import inspect
from hanlin.cli.data.prepare import prepare
from hanlin.cli.data.sample import sample
from hanlin.cli.data.world import world


@click.group()
def data() -> None:
    """Make, inspect, convert, choose and prepare data.

    \b
    Examples:
      hanlin data world --out world
      hanlin data inspect world/chat.jsonl
      hanlin data convert alpaca.json chat.jsonl --to messages
      hanlin data sample chat.jsonl chosen.jsonl --n 1000
      hanlin data prepare corpus --config corpus.yaml --out store
    """


for command in (world, inspect, convert, sample, prepare):
    data.add_command(command)
