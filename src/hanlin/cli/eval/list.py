"""`hanlin eval list`: the benchmarks that there are."""

from __future__ import annotations

import click

from hanlin.cli import console
from hanlin.cli.options import json_option


@click.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the benchmarks.

    \b
    Examples:
      hanlin eval list
      hanlin eval list --json
    """
    from hanlin.evaluation.benchmarks import BENCHMARKS

    entries = {name: BENCHMARKS.get(name) for name in BENCHMARKS}
    rows = [[name, entry.summary, entry.data] for name, entry in entries.items()]
    value = [{"name": name, "summary": summary, "data": data} for name, summary, data in rows]
    text = console.table(rows, header=["benchmark", "what it measures", "--data"])
    console.result(value, as_json=as_json, text=text)
