"""`hanlin eval run`: one benchmark on one model, by one protocol or by several."""

from __future__ import annotations

from typing import Any

import click

from hanlin.cli import console
from hanlin.cli.eval.settings import (
    PROTOCOLS,
    SCORERS,
    benchmark_option,
    configs_of,
    existing,
    limit_option,
    model_options,
    open_subject,
    refuse_to_overwrite,
    shots_option,
)
from hanlin.cli.eval.tables import scores_table
from hanlin.cli.options import force_option, json_option, out_option


@click.command()
@click.argument("model")
@benchmark_option
@click.option("--data", required=True, help="File or folder with the items, or a hub id.")
@shots_option
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
@limit_option
@click.option("--schema", "schema_file", type=existing, help="Types to extract, for extraction.")
@click.option("--max-bad-rows", type=float, help="Largest share of unusable rows; default 0.01.")
@click.option("--name", help="What results call the model; default: MODEL's last part.")
@click.option("--seed", default=0, show_default=True, help="Of the bootstrap intervals.")
@model_options
@out_option()
@force_option
@json_option
def run(
    model: str,
    benchmark: str,
    protocol: tuple[str, ...],
    as_json: bool,
    **options: Any,  # noqa: ANN401 - the benchmark's settings, as click read them
) -> None:
    """Measure MODEL on one benchmark; --out gets the scores and a record of every item.

    MODEL may be the address of an OpenAI-compatible server that returns the log-probabilities of
    its prompt, such as vLLM. Under torchrun the questions are shared between the processes.

    \b
    Examples:
      hanlin eval run runs/quickstart --benchmark cmmlu --data cmmlu --limit 200 --out cmmlu.json
      hanlin eval run base --benchmark bits-per-byte --data heldout.jsonl --out base.json
      hanlin eval run http://127.0.0.1:8000/v1 --benchmark ceval --data ceval --out ceval.json
    """
    from hanlin.core.files import write_json
    from hanlin.core.ranks import is_first, together
    from hanlin.evaluation.results import result_file
    from hanlin.evaluation.run import run_benchmark

    out, force, seed = options.pop("out"), options.pop("force"), options.pop("seed")
    loading = {key: options.pop(key) for key in ("name", "prompt", "dtype", "tokenizer")}
    refuse_to_overwrite(out, force=force)
    configs = configs_of(benchmark, options, protocol)
    with together():
        subject = open_subject(model, **loading)
        results = [run_benchmark(config, subject, seed=seed) for config in configs]
        if not is_first():
            return
        written = result_file(subject.name, list(zip(configs, results, strict=True)))
        write_json(out, written)
    scores = {key: written[key] for key in ("version", "models", "rows")}
    table = scores_table([(subject.name, written["rows"], subject.name)])
    lines = [
        f"{row['benchmark']}: {line}"
        for row in written["rows"]
        for line in row.get("problems", {}).get(subject.name, [])
    ]
    console.result(scores, as_json=as_json, text="\n".join([table, *lines]))
