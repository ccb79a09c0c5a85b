"""`hanlin eval`: run benchmarks, compare results, export and submit."""

from __future__ import annotations

import click

from hanlin.cli.eval.compare import compare
from hanlin.cli.eval.export import export
from hanlin.cli.eval.list import list_
from hanlin.cli.eval.run import run
from hanlin.cli.eval.submit import submit


@click.group("eval")
def eval_() -> None:
    """Run and compare benchmarks.

    \b
    Examples:
      hanlin eval list
      hanlin eval run runs/quickstart --benchmark ceval --data ceval --limit 200 --out ceval.json
      hanlin eval compare before.json after.json
    """


for command in (run, compare, list_, submit, export):
    eval_.add_command(command)
