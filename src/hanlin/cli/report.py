"""`hanlin report`: show a run's report card, or compare two runs."""

from __future__ import annotations

from pathlib import Path

import click

from hanlin.cli import console
from hanlin.cli.options import force_option, json_option
from hanlin.core.errors import InputError

html_option = click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the page to this file (and leave the run's folder as it is).",
)


class ReportGroup(click.Group):
    """A group whose first word may be a run's folder instead of a command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the command `show` before anything that names no command."""
        if args and args[0] not in {*self.commands, *self.get_help_option_names(ctx)}:
            args = ["show", *args]
        return super().parse_args(ctx, args)


@click.group(cls=ReportGroup, subcommand_metavar="RUN | compare RUN RUN")
def report() -> None:
    """Show a run's report card (`hanlin report RUN`), or compare two runs.

    RUN is the folder that `hanlin run` wrote. `hanlin report RUN` writes report.html, report.md
    and report.json into it anew and prints the scores.

    \b
    Examples:
      hanlin report runs/quickstart
      hanlin report runs/quickstart --html card.html
      hanlin report runs/quickstart --json
      hanlin report compare runs/quickstart runs/other
    """


@report.command(hidden=True)
@click.argument("run", type=click.Path(path_type=Path))
@html_option
@force_option
@json_option
def show(run: Path, html: Path | None, force: bool, as_json: bool) -> None:
    """Write a run's report card and print its scores.

    \b
    Examples:
      hanlin report runs/quickstart
      hanlin report runs/quickstart --html card.html
    """
    from hanlin.pipeline.report.build import build, summary, write

    if html is None:
        card = write(run)
        page = run / "report.html"
    else:
        from hanlin.pipeline.report.html import render

        card = build(run)
        _write_page(html, render(card), force=force)
        page = html
    console.result(card.to_json(), as_json=as_json, text=summary(card, page))


@report.command()
@click.argument("run_a", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("run_b", metavar="RUN", type=click.Path(path_type=Path))
@html_option
@force_option
@json_option
def compare(run_a: Path, run_b: Path, html: Path | None, force: bool, as_json: bool) -> None:
    """Compare two runs: scores, curves, costs, versions and recipes.

    \b
    Examples:
      hanlin report compare runs/quickstart runs/other
      hanlin report compare runs/quickstart runs/other --html difference.html
    """
    from hanlin.pipeline.report.compare import compare as compare_runs
    from hanlin.pipeline.report.compare import comparison_text

    comparison = compare_runs(run_a, run_b)
    if html is not None:
        from hanlin.pipeline.report.compare_pages import comparison_html

        _write_page(html, comparison_html(comparison), force=force)
        console.note(f"page: {html}")
    console.result(comparison.to_json(), as_json=as_json, text=comparison_text(comparison))


def _write_page(path: Path, text: str, *, force: bool) -> None:
    from hanlin.pipeline.report.build import write_if_changed

    if path.is_dir() or (path.exists() and not force):
        raise InputError(
            f"{path} is a folder" if path.is_dir() else f"{path} exists already",
            why="nothing is overwritten unless it is asked for",
            fix="give another --html FILE, or add --force to replace it",
        )
    write_if_changed(path, text)
