"""`hanlin eval`: run a benchmark on a model, compare results, list what there is.

hanlin eval run runs/quickstart --benchmark ceval --data ceval --out ceval.json
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from hanlin.cli import console
from hanlin.cli.options import force_option, json_option, out_option

existing = click.Path(path_type=Path)
PROTOCOLS = ["chat", "plain", "official", "lm-eval", "cutegpt-mrr"]
SCORERS = ["text", "letter", "text-norm", "pmi", "generate", "cot"]


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
@click.option(
    "--protocol",
    type=click.Choice(PROTOCOLS),
    multiple=True,
    help="How questions are asked; several are reported side by side.",
)
@click.option("--scorer", type=click.Choice(SCORERS), help="What of an option is scored.")
@click.option("--average", type=click.Choice(["micro", "macro", "category"]), help="Of subjects.")
@click.option("--options", type=int, help="Fill questions up to so many options.")
@click.option("--shuffle/--no-shuffle", default=True, help="Order of options filled up.")
@click.option(
    "--shot-choice",
    type=click.Choice(["first", "fixed", "label", "seeded"]),
    help="Which examples stand before a question.",
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
    protocol: tuple[str, ...],
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
    configs = _configs(benchmark, options, protocol)
    engine = _with_journal(open_engine(model), model)
    name = name or Path(model).name
    subject = Subject(name, engine, prompt_format(engine, name=prompt))
    results = [run_benchmark(config, subject, seed=seed) for config in configs]
    pairs = list(zip(configs, results, strict=True))
    rows = [row for config, result in pairs for row in score_rows(config, {name: result})]
    scores = {"version": 1, "models": [name], "rows": rows}
    written = {
        **scores,
        "settings": _settings(configs[0]),
        "measures": {c.id: _measures(result) for c, result in pairs},
        "details": {c.id: result.details for c, result in pairs},
        "records": [{**r, "benchmark": c.id} for c, result in pairs for r in result.records],
    }
    write_json(out, written)
    console.result(scores, as_json=as_json, text=_table([(name, rows, name)]))


@eval_.command()
@click.argument("model")
@click.option("--benchmark", required=True, help="Its name; see hanlin eval list.")
@click.option("--data", type=existing, required=True, help="Folder with the questions.")
@click.option("--split", help="Split whose answers are hidden.")
@click.option("--shots", type=int, help="Examples before each question.")
@click.option("--protocol", type=click.Choice(PROTOCOLS), help="How questions are asked.")
@click.option("--limit", type=int, help="At most so many questions, spread over the data.")
@out_option()
@force_option
@json_option
def submit(
    model: str,
    benchmark: str,
    as_json: bool,
    **options: Any,  # noqa: ANN401 - the benchmark's settings, as click read them
) -> None:
    """Answer the questions whose answers are hidden, as the authors' servers take it.

    \b
    Examples:
      hanlin eval submit runs/quickstart --benchmark ceval --data ceval --split test --out sub.json
      hanlin eval submit runs/quickstart --benchmark m3ke --data m3ke --out answers.json
    """
    from hanlin.core.files import write_json
    from hanlin.evaluation.benchmark import Subject
    from hanlin.evaluation.submission import predict
    from hanlin.inference.conversation import prompt_format
    from hanlin.inference.engine import open_engine

    out = options.pop("out")
    _refuse_to_overwrite(out, force=options.pop("force"))
    config = _config(benchmark, options)
    engine = open_engine(model)
    subject = Subject(Path(model).name, engine, prompt_format(engine))
    found = predict(config, subject, seed=0)
    write_json(out, found)
    counts = {name: len(letters) for name, letters in found.items()}
    text = f"{sum(counts.values())} answers in {len(counts)} subjects: {out}"
    console.result({"subjects": counts, "file": str(out)}, as_json=as_json, text=text)


@eval_.command()
@click.argument("files", nargs=-1, required=True, type=existing)
@click.option("--published", "with_published", is_flag=True, help="Add what others published.")
@json_option
def compare(files: tuple[Path, ...], with_published: bool, as_json: bool) -> None:
    """Put the scores of several FILEs side by side; scores.json of a run is one, too.

    Each file is tested against the first one on the questions that both have (paired bootstrap,
    McNemar).

    \b
    Examples:
      hanlin eval compare before.json after.json
      hanlin eval compare runs/quickstart/evaluate/scores.json other.json
      hanlin eval compare ceval.json --published
    """
    from hanlin.core.errors import InputError
    from hanlin.core.files import read_json

    columns, contents = [], []
    for file in files:
        content = read_json(file)
        if not isinstance(content, dict) or not {"models", "rows"} <= content.keys():
            raise InputError(
                f"{file} holds no scores",
                why="it has no models and rows",
                fix="give the --out file of hanlin eval run, or scores.json of a run",
            )
        contents.append((file.stem, content))
        for model in content["models"]:
            title = f"{file.stem}: {model}" if len(files) > 1 else model
            columns.append((title, content["rows"], model))
    models = {
        title: [{**row, "scores": row["scores"].get(model)} for row in rows]
        for title, rows, model in columns
    }
    value = {"models": models, "paired": _paired(contents), "published": []}
    if with_published:
        value["published"] = _published([row for _, rows, _ in columns for row in rows])
    console.result(value, as_json=as_json, text=_compared(columns, value))


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
    from hanlin.evaluation.published import published

    names = dict.fromkeys(row["benchmark"].partition(".")[0] for row in rows)
    return [entry for name in names for entry in published(name)]


def _compared(columns: list[tuple[str, list[dict[str, Any]], str]], value: dict[str, Any]) -> str:
    parts = [_table(columns)]
    if value["paired"]:
        lines = [
            [f"{r['from']} -> {r['to']}", r["benchmark"], str(r["n"]),
             f"{r['difference']:+.3f} [{r['low']:+.3f}, {r['high']:+.3f}]", f"{r['mcnemar_p']:.3f}"]
            for r in value["paired"]
        ]  # fmt: skip
        header = ["paired", "benchmark", "n", "difference", "McNemar p"]
        parts.append(console.table(lines, header=header))
    if value["published"]:
        lines = [
            [r["model"], r["benchmark"], r["part"], r["metric"], str(r["shots"]),
             f"{r['value']:.3f}" + (" below chance" if r["below_chance"] else ""), r["source"]]
            for r in value["published"]
        ]  # fmt: skip
        header = ["published", "benchmark", "part", "metric", "shots", "value", "source"]
        parts.append(console.table(lines, header=header))
    return "\n\n".join(parts)


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


def _with_journal(engine: Any, model: str) -> Any:  # noqa: ANN401 - an Engine
    """Keep the engine's answers in HANLIN_CACHE, so that a run that was killed goes on."""
    from hanlin.evaluation.cache import CachedEngine, model_digest
    from hanlin.pipeline.cache import cache_folder

    stages = cache_folder()
    if stages is None:
        return engine
    return CachedEngine(engine, stages.parent / "responses" / f"{model_digest(model)}.jsonl")


def _configs(benchmark: str, options: dict[str, Any], protocols: tuple[str, ...]) -> list[Any]:
    """Build a config for each protocol; ids tell them apart where there are several."""
    if len(protocols) < 2:
        return [_config(benchmark, {**options, "protocol": next(iter(protocols), None)})]
    return [
        _config(benchmark, {**options, "protocol": protocol, "id": f"{benchmark}.{protocol}"})
        for protocol in dict.fromkeys(protocols)
    ]


def _measures(result: Any) -> dict[str, Any]:  # noqa: ANN401 - a BenchmarkResult
    return {m.metric: {**asdict(m.estimate), "chance": m.chance} for m in result.measures}


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
