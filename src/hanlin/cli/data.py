"""`hanlin data`: make, inspect and prepare data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hanlin.cli import console
from hanlin.cli.options import force_option, json_option, out_option, read_config

if TYPE_CHECKING:
    from hanlin.core.stage import StageConfig
    from hanlin.data.inspect import Inspection

config_option = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="YAML file with the stage's settings, as below its name in a recipe.",
)
any_settings = {"ignore_unknown_options": True, "allow_extra_args": True}


@click.group()
def data() -> None:
    """Make, inspect and prepare data.

    \b
    Examples:
      hanlin data world --out world
      hanlin data inspect world/chat.jsonl
      hanlin data prepare corpus --config corpus.yaml --out store
    """


@data.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--tokenizer", help="Folder of a tokenizer or model; counts tokens.")
@click.option("--prompt", default="plain", show_default=True, help="Prompt format to show.")
@click.option("--rows", default=3, show_default=True, type=click.IntRange(0, 1000))
@json_option
def inspect(file: Path, tokenizer: str | None, prompt: str, rows: int, as_json: bool) -> None:
    """Show the first rows of FILE as they would be trained, and count all of them.

    FILE is a corpus, conversations, questions, a folder of these, or a token store. What the loss
    counts stands between ⟦ and ⟧.

    \b
    Examples:
      hanlin data inspect world/chat.jsonl
      hanlin data inspect world/chat.jsonl --prompt alpaca --rows 1
      hanlin data inspect world/questions --json
    """
    from dataclasses import asdict

    from hanlin.data.inspect import inspect as inspect_file

    loaded = None
    if tokenizer is not None:
        from hanlin.tokenization.load import load

        loaded = load(tokenizer)
    found = inspect_file(file, tokenizer=loaded, prompt=prompt, rows=rows)
    console.result(asdict(found), as_json=as_json, text=_as_text(found))


def _as_text(found: Inspection) -> str:
    lines = [f"{found.path}: {found.kind}"]
    lines += [f"  {name.replace('_', ' ')}: {count:,}" for name, count in found.counts.items()]
    lines += [
        f"  left out: {row['source']}:{row['line']}: {row['reason']}" for row in found.bad_rows
    ]
    for number, sample in enumerate(found.samples, 1):
        lines += ["", f"--- row {number} ---", sample]
    return "\n".join(lines)


@data.command()
@out_option()
@click.option("--seed", default=17, show_default=True, type=click.IntRange(0), help="Root seed.")
@force_option
@json_option
@click.pass_context
def world(ctx: click.Context, out: Path, seed: int, force: bool, as_json: bool) -> None:
    """Make the sample world: texts, conversations, questions, extraction examples, a graph.

    \b
    Examples:
      hanlin data world --out world
      hanlin data world --out another-world --seed 3
    """
    from hanlin.data.sample_world import STAGE

    _run_stage("sample-world", STAGE.config(), out=out, force=force, seed=seed, as_json=as_json)


@data.group()
def prepare() -> None:
    """Turn texts or conversations into a token store.

    \b
    Examples:
      hanlin data prepare corpus --config corpus.yaml --out store
      hanlin data prepare chat --config chat.yaml --out chat-store --seq-len 512
    """


@prepare.command(context_settings=any_settings)
@config_option
@out_option()
@force_option
@json_option
@click.argument("settings", nargs=-1, type=click.UNPROCESSED)
def corpus(
    config_file: Path | None, out: Path, force: bool, as_json: bool, settings: tuple[str, ...]
) -> None:
    """Turn texts into a token store for pretraining.

    Settings may be given as --key VALUE too; they win over the file.

    \b
    Examples:
      hanlin data prepare corpus --config corpus.yaml --out store
      hanlin data prepare corpus --config corpus.yaml --out store --min-characters 20
    """
    from hanlin.data.prepare_corpus import Config

    config = read_config(Config, config_file, settings)
    _run_stage("prepare-corpus", config, out=out, force=force, as_json=as_json)


@prepare.command(context_settings=any_settings)
@config_option
@out_option()
@force_option
@json_option
@click.argument("settings", nargs=-1, type=click.UNPROCESSED)
def chat(
    config_file: Path | None, out: Path, force: bool, as_json: bool, settings: tuple[str, ...]
) -> None:
    """Turn conversations into a token store with a loss mask for finetuning.

    Settings may be given as --key VALUE too; they win over the file.

    \b
    Examples:
      hanlin data prepare chat --config chat.yaml --out store
      hanlin data prepare chat --config chat.yaml --out store --prompt alpaca --seq-len 512
    """
    from hanlin.data.prepare_chat import Config

    config = read_config(Config, config_file, settings)
    _run_stage("prepare-chat", config, out=out, force=force, as_json=as_json)


def _run_stage(
    name: str, config: StageConfig, *, out: Path, force: bool, as_json: bool, seed: int = 0
) -> None:
    from hanlin.pipeline.run import run_single

    result = run_single(name, config, out=out, force=force, seed=seed, progress=console.progress())
    console.result({"out": str(result)}, as_json=as_json, text=str(result))
