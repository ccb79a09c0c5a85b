"""`hanlin extract`: find entities, relations and events in texts, and measure how well."""

from __future__ import annotations

import click

from hanlin.cli.extract.ask import ask
from hanlin.cli.extract.graph import graph
from hanlin.cli.extract.instruct import instruct
from hanlin.cli.extract.run import run
from hanlin.cli.extract.score import score
from hanlin.cli.extract.view import view


@click.group()
def extract() -> None:
    """Extract entities, relations and events with their places in the text.

    \b
    Examples:
      hanlin extract run runs/quickstart --schema schema.yaml --input texts.txt --out found.jsonl
      hanlin extract score gold.jsonl found.jsonl
      hanlin extract view found.jsonl --html found.html
      hanlin extract instruct examples.jsonl --schema schema.yaml --out instructions
      hanlin extract graph import world/graph --out world.sqlite
      hanlin extract ask world.sqlite --plan plan.txt
    """


for command in (run, score, view, instruct, graph, ask):
    extract.add_command(command)
