"""`hanlin eval submit`: answers to questions whose answers are hidden."""

from __future__ import annotations

from typing import Any

import click

from hanlin.cli import console
from hanlin.cli.eval.settings import (
    PROTOCOLS,
    benchmark_option,
    config_of,
    limit_option,
    model_options,
    open_subject,
    refuse_to_overwrite,
    shots_option,
)
from hanlin.cli.options import force_option, json_option, out_option


@click.command()
@click.argument("model")
@benchmark_option
@click.option("--data", required=True, help="Folder with the questions, or a hub id.")
@click.option("--split", help="Split whose answers are hidden.")
@shots_option
@click.option("--protocol", type=click.Choice(PROTOCOLS), help="How questions are asked.")
@limit_option
@model_options
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
    from hanlin.core.ranks import is_first, together
    from hanlin.evaluation.submission import predict

    out = options.pop("out")
    refuse_to_overwrite(out, force=options.pop("force"))
    loading = {key: options.pop(key) for key in ("prompt", "dtype", "tokenizer")}
    config = config_of(benchmark, options)
    with together():
        found = predict(config, open_subject(model, name=None, **loading), seed=0)
        if not is_first():
            return
        write_json(out, found)
    counts = {name: len(letters) for name, letters in found.items()}
    text = f"{sum(counts.values())} answers in {len(counts)} subjects: {out}"
    console.result({"subjects": counts, "file": str(out)}, as_json=as_json, text=text)
