"""`hanlin eval`: run a benchmark on a model, compare results, list what there is.

hanlin eval run runs/quickstart --benchmark ceval --data ceval --out ceval.json
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hanlin.cli import console
from hanlin.cli.options import force_option, json_option, out_option

existing = click.Path(path_type=Path)


@click.group("eval")
def eval_() -> None:
    """Run and compare benchmarks.

    \b
    Examples:
      hanlin eval list
      hanlin eval run runs/quickstart --benchmark ceval --data ceval --limit 200 --out ceval.json
      hanlin eval compare before.json after.json
    """


@eval_.command("list")
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


@eval_.command()
@click.argument("model")
@click.option("--benchmark", required=True, help="Its name; see hanlin eval list.")
@click.option("--data", type=existing, required=True, help="File or folder with the items.")
@click.option("--shots", type=int, help="Examples before each question.")
@click.option("--protocol", type=click.Choice(["chat", "plain"]), help="How questions are asked.")
@click.option(
    "--scorer", type=click.Choice(["text", "letter"]), help="What of an option is scored."
)
@click.option("--split", help="Folder below --data with the questions of an exam.")
@click.option("--metric", help="Metric to report, where a benchmark has several.")
@click.option("--language", help="Items of this language only.")
@click.option("--limit", type=int, help="At most so many items, spread over the data.")
@click.option("--schema", "schema_file", type=existing, help="Types to extract, for extraction.")
@click.option("--prompt", help="Prompt format; default: the one the model was tuned on.")
@click.option("--name", help="What results call the model; default: MODEL's last part.")
@click.option("--seed", default=0, show_default=True, help="Of the bootstrap intervals.")
@out_option()
@force_option
@json_option
def run(
    model: str,
    benchmark: str,
    prompt: str | None,
    name: str | None,
    as_json: bool,
    **options: Any,  # noqa: ANN401 - the benchmark's settings, as click read them
) -> None:
    """Measure MODEL on one benchmark; --out gets the scores and a record of every item.

    \b
    Examples:
      hanlin eval run runs/quickstart --benchmark cmmlu --data cmmlu --limit 200 --out cmmlu.json
      hanlin eval run base --benchmark bits-per-byte --data heldout.jsonl --out base.json
    """
    from hanlin.core.files import write_json
    from hanlin.evaluation.benchmark import Subject
    from hanlin.evaluation.run import run_benchmark, score_rows
    from hanlin.inference.conversation import prompt_format
    from hanlin.inference.engine import open_engine

    out, force, seed = options.pop("out"), options.pop("force"), options.pop("seed")
    _refuse_to_overwrite(out, force=force)
    config = _config(benchmark, options)
    engine = open_engine(model)
    name = name or Path(model).name
    subject = Subject(name, engine, prompt_format(engine, name=prompt))
    result = run_benchmark(config, subject, seed=seed)
    rows = score_rows(config, {name: result})
    scores = {"version": 1, "models": [name], "rows": rows}
    write_json(out, {**scores, "settings": _settings(config), "records": result.records})
    console.result(scores, as_json=as_json, text=_table([(name, rows, name)]))


@eval_.command()
@click.argument("files", nargs=-1, required=True, type=existing)
@json_option
def compare(files: tuple[Path, ...], as_json: bool) -> None:
    """Put the scores of several FILEs side by side; scores.json of a run is one, too.

    \b
    Examples:
      hanlin eval compare before.json after.json
      hanlin eval compare runs/quickstart/evaluate/scores.json other.json
    """
    from hanlin.core.errors import InputError
    from hanlin.core.files import read_json

    columns = []
    for file in files:
        content = read_json(file)
        if not isinstance(content, dict) or not {"models", "rows"} <= content.keys():
            raise InputError(
                f"{file} holds no scores",
                why="it has no models and rows",
                fix="give the --out file of hanlin eval run, or scores.json of a run",
            )
        for model in content["models"]:
            title = f"{file.stem}: {model}" if len(files) > 1 else model
            columns.append((title, content["rows"], model))
    value = {
        title: [{**row, "scores": row["scores"].get(model)} for row in rows]
        for title, rows, model in columns
    }
    console.result(value, as_json=as_json, text=_table(columns))


def _refuse_to_overwrite(out: Path, *, force: bool) -> None:
    from hanlin.core.errors import InputError

    if out.is_dir() or (out.exists() and not force):
        raise InputError(
            f"{out} exists already",
            why="nothing is overwritten unless it is asked for",
            fix="give another --out, or add --force to replace it",
        )


def _config(benchmark: str, options: dict[str, Any]) -> Any:  # noqa: ANN401 - a BenchmarkConfig
    """Build the benchmark's config from the options that were given."""
    from hanlin.core.config import ConfigSource, validate
    from hanlin.evaluation.benchmark import BenchmarkConfig
    from hanlin.evaluation.benchmarks import BENCHMARKS

    BENCHMARKS.get(benchmark)  # a wrong name is refused before a model is loaded
    given = {key: value for key, value in options.items() if value is not None}
    paths = {key: str(value) for key, value in given.items() if isinstance(value, Path)}
    source = ConfigSource("the command line", Path.cwd())
    values = {"id": benchmark, "benchmark": benchmark, **given, **paths}
    return validate(BenchmarkConfig, values, source=source)


def _settings(config: Any) -> dict[str, Any]:  # noqa: ANN401 - a BenchmarkConfig
    settings = config.model_dump(mode="json", exclude_none=True)
    return {**settings, "data": Path(config.data).name}


def _table(columns: list[tuple[str, list[dict[str, Any]], str]]) -> str:
    """Lay out (title, rows of scores.json, model) side by side; one line for each benchmark."""
    cells: dict[tuple[str, ...], dict[str, str]] = {}
    for title, rows, model in columns:
        for row in rows:
            arrow = "higher" if row["higher_is_better"] else "lower"
            chance = "" if row["chance"] is None else f"{row['chance']:.3f}"
            key = (row["label"], row["language"], row["metric"], arrow, chance)
            cells.setdefault(key, {})[title] = _cell(row["scores"].get(model))
    titles = [title for title, _, _ in columns]
    lines = [[*key, *(found.get(title, "") for title in titles)] for key, found in cells.items()]
    return console.table(
        lines, header=["benchmark", "language", "metric", "better", "chance", *titles]
    )


def _cell(score: dict[str, Any] | None) -> str:
    if score is None:
        return ""
    return f"{score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}] n={score['n']}"
