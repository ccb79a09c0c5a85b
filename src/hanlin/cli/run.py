"""`hanlin run RECIPE`: the one command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hanlin.cli import console
from hanlin.cli.options import json_option
from hanlin.cli.recipe import compat_option, tiny_option

if TYPE_CHECKING:
    from hanlin.pipeline.plan import PlannedStage
    from hanlin.pipeline.run import Observer


@click.command()
@click.argument("recipe")
@click.option("--out", type=click.Path(path_type=Path), help="Run directory.  [default: runs/NAME]")
@click.option(
    "--set", "changes", multiple=True, metavar="STAGE.KEY=VALUE", help="Change a setting."
)
@click.option("--until", metavar="STAGE", help="Stop after this stage.")
@click.option("--redo", multiple=True, metavar="STAGE", help="Run this stage again.")
@click.option("--dry-run", is_flag=True, help="Show the plan and change nothing.")
@tiny_option
@compat_option
@click.option("--no-preflight", is_flag=True, help="Run although the check beforehand objects.")
@json_option
def run(  # noqa: PLR0913 - one argument for each option
    recipe: str,
    out: Path | None,
    changes: tuple[str, ...],
    until: str | None,
    redo: tuple[str, ...],
    dry_run: bool,
    tiny: bool,
    compat: bool,
    no_preflight: bool,
    as_json: bool,
) -> None:
    """Run RECIPE (a file, or the name of a built-in one) from base model to report card.

    The same command again skips what is unchanged and intact, goes on with what was interrupted
    and repairs what was damaged. Before hours are spent, what would stop the run is looked for:
    memory, disk, extras, the hub.

    \b
    Examples:
      hanlin run chinese-vicuna-7b --tiny --dry-run
      hanlin run quickstart --dry-run
      hanlin run quickstart --set pretrain.schedule.steps=50 --until pretrain --dry-run
      hanlin run quickstart --redo evaluate --dry-run --json
    """
    from hanlin.models.runs import models_of_run
    from hanlin.pipeline.plan import make_plan
    from hanlin.pipeline.preflight import check_inputs, preflight
    from hanlin.pipeline.recipe import find_recipe, load_recipe
    from hanlin.pipeline.report.build import summary, write
    from hanlin.pipeline.run import run_plan

    loaded = load_recipe(find_recipe(recipe), changes=changes, is_tiny=tiny, is_compat=compat)
    check_inputs(loaded)
    run_dir = out or Path("runs") / loaded.name
    plan = make_plan(loaded, run_dir, until=until, redo=redo)
    if dry_run:
        rows = [{"id": p.id, "stage": p.kind, "action": p.action, "reason": p.reason} for p in plan]
        text = console.table([list(row.values()) for row in rows], header=list(rows[0]))
        console.result(rows, as_json=as_json, text=text)
        return
    if not no_preflight:
        preflight(loaded, plan, run_dir)
    run_plan(loaded, plan, run_dir, observer=_console_observer())
    card = write(run_dir)
    if card.status == "finished" and models_of_run(run_dir):
        console.note(f"before you pass the model on: hanlin weights card {run_dir}")
    console.result(card.to_json(), as_json=as_json, text=summary(card, run_dir / "report.html"))


def _console_observer() -> Observer:
    from hanlin.pipeline.run import Observer

    def started(position: int, count: int, item: PlannedStage) -> None:
        doing = "running" if item.action == "run" else "up to date"
        console.note(f"[{position}/{count}] {item.id}: {doing} ({item.reason})")

    def finished(item: PlannedStage, seconds: float) -> None:
        if item.action == "run":
            console.note(f"      {item.id}: done in {seconds:.1f} s")

    return Observer(
        started=started, finished=finished, progress=console.progress(), note=console.note
    )
