"""`hanlin data world`: make the sample world."""

from __future__ import annotations

from pathlib import Path

import click

from hanlin.cli.options import force_option, json_option, out_option
from hanlin.cli.stage_command import run_stage


@click.command()
@out_option()
@click.option("--seed", default=17, show_default=True, type=click.IntRange(0), help="Root seed.")
@force_option
@json_option
def world(out: Path, seed: int, force: bool, as_json: bool) -> None:
    """Make the sample world: texts, conversations, questions, extraction examples, a graph.

    \b
    Examples:
      hanlin data world --out world
      hanlin data world --out another-world --seed 3
    """
    run_stage("sample-world", out=out, force=force, seed=seed, as_json=as_json)
