"""`hanlin eval export`: a benchmark as task files of lm-evaluation-harness."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hanlin.cli import console
from hanlin.cli.eval.settings import PROTOCOLS, SCORERS, config_of, limit_option, shots_option
from hanlin.cli.options import force_option, json_option


@click.command()
@click.argument("benchmark")
@click.option("--data", required=True, help="Folder with the questions, or a hub id.")
@shots_option
@click.option("--protocol", type=click.Choice(PROTOCOLS), help="How questions are asked.")
@click.option("--scorer", type=click.Choice(SCORERS), help="What of an option is scored.")
@click.option("--options", type=int, help="Fill questions up to so many options.")
@click.option("--split", help="Folder below --data with the questions of an exam.")
@click.option("--language", help="Items of this language only.")
@limit_option
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A new folder.")
@force_option
@json_option
def export(
    benchmark: str,
    out: Path,
    force: bool,
    as_json: bool,
    **options: Any,  # noqa: ANN401 - the benchmark's settings, as click read them
) -> None:
    """Write a benchmark as task files that lm-evaluation-harness runs.

    \b
    Examples:
      hanlin eval export ceval --data ceval --out tasks/ceval
      hanlin eval export xiezhi --data xiezhi --options 50 --out tasks/xiezhi-50
    """
    from hanlin.core.errors import InputError
    from hanlin.evaluation.lm_eval_export import export_task

    if out.exists() and not (out.is_dir() and (force or not any(out.iterdir()))):
        raise InputError(
            f"{out} exists already",
            why="nothing is overwritten unless it is asked for",
            fix="give another --out, or add --force to replace what is in it",
        )
    made = export_task(config_of(benchmark, options), out)
    command = f"lm_eval --model hf --model_args pretrained=MODEL --tasks {made.task} " \
              f"--include_path {out}"  # fmt: skip
    value = {"task": made.task, "subjects": made.subjects, "questions": made.questions,
             "left_out": made.left_out,
             "files": [str(path) for path in made.files], "command": command}  # fmt: skip
    text = f"{made.questions} questions in {made.subjects} subjects: {out}\n  {command}"
    if made.left_out:
        text += f"\n{made.left_out} questions have no answer or no options and are left out"
    console.result(value, as_json=as_json, text=text)
