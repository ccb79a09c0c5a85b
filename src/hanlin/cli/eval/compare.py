"""`hanlin eval compare`: scores side by side, tested, drawn, and beside published ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hanlin.cli import console
from hanlin.cli.eval.settings import existing
from hanlin.cli.eval.tables import Column, paired_table, published_table, scores_table
from hanlin.cli.options import force_option, json_option


@click.command()
@click.argument("files", nargs=-1, required=True, type=existing)
@click.option("--published", "with_published", is_flag=True, help="Add what others published.")
@click.option("--plot", type=existing, help="Draw the scores by category: a .png or .svg file.")
@click.option(
    "--plot-as", type=click.Choice(["bars", "radar"]), default="bars", show_default=True,
    help="What is drawn.",
)  # fmt: skip
@force_option
@json_option
def compare(
    files: tuple[Path, ...],
    with_published: bool,
    plot: Path | None,
    plot_as: str,
    force: bool,
    as_json: bool,
) -> None:
    """Put the scores of several FILEs side by side; scores.json of a run is one, too.

    Each file is tested against the first one on the questions that both have (paired bootstrap,
    McNemar). Published figures are shown where benchmark, metric, examples and scorer are the same;
    they are not measured here.

    \b
    Examples:
      hanlin eval compare before.json after.json
      hanlin eval compare runs/quickstart/evaluate/scores.json other.json
      hanlin eval compare ceval.json --published --plot ceval.png
    """
    from hanlin.evaluation.plot import draw
    from hanlin.evaluation.results import read_results
    from hanlin.tokenization.plot import check_plot

    if plot is not None:
        check_plot(plot, force=force)
    contents = [(file.stem, read_results(file)) for file in files]
    columns: list[Column] = [
        (f"{name}: {model}" if len(files) > 1 else model, content["rows"], model)
        for name, content in contents
        for model in content["models"]
    ]
    models = {
        title: [{**row, "scores": row["scores"].get(model)} for row in rows]
        for title, rows, model in columns
    }
    value: dict[str, Any] = {"models": models, "paired": _paired(contents), "published": []}
    parts = [scores_table(columns)]
    if value["paired"]:
        parts.append(paired_table(value["paired"]))
    if with_published:
        rows = [row for _, content in contents for row in content["rows"]]
        value["published"] = _published(rows)
        parts.append(
            published_table(value["published"], columns) if value["published"] else _why_none(rows)
        )
    if plot is not None:
        draw(columns, plot, published=value["published"], kind=plot_as)
        value["plot"] = str(plot)
        parts.append(f"drawn: {plot}")
    console.result(value, as_json=as_json, text="\n\n".join(parts))


def _paired(contents: list[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Test every file against the first one."""
    from hanlin.evaluation.compare import compared

    (base, first), *others = contents
    return [
        {"from": base, "to": name, **row}
        for name, content in others
        for row in compared(first, content)
    ]


def _published(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the published figures that can stand beside some rows, each once."""
    found = {str(sorted(entry.items())): entry for r in rows for entry in r.get("published", [])}
    return list(found.values())


def _why_none(rows: list[dict[str, Any]]) -> str:
    from hanlin.evaluation.published import published

    names = dict.fromkeys(row.get("settings", {}).get("benchmark", "") for row in rows)
    known = sorted(
        {(name, p["metric"], p["shots"]) for name in names if name for p in published(name)}
    )
    listed = "; ".join(f"{name} {metric} with {shots} examples" for name, metric, shots in known)
    return f"no published figure was got in the same way; there are: {listed or 'none'}"
