"""`hanlin data`: make, inspect and prepare data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hanlin.cli import console
from hanlin.cli.options import force_option, json_option, out_option
from hanlin.cli.stage_command import run_stage, stage_command

if TYPE_CHECKING:
    from hanlin.data.inspect import Inspection


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
def world(out: Path, seed: int, force: bool, as_json: bool) -> None:
    """Make the sample world: texts, conversations, questions, extraction examples, a graph.

    \b
    Examples:
      hanlin data world --out world
      hanlin data world --out another-world --seed 3
    """
    run_stage("sample-world", out=out, force=force, seed=seed, as_json=as_json)


@data.group()
def prepare() -> None:
    """Turn texts or conversations into a token store.

    \b
    Examples:
      hanlin data prepare corpus --config corpus.yaml --out store
      hanlin data prepare chat --config chat.yaml --out chat-store --seq-len 512
    """


@stage_command("prepare-corpus")
def corpus() -> None:
    """Turn texts into a token store for pretraining.

    Settings may be given as --key VALUE too; they win over the file.

    \b
    Examples:
      hanlin data prepare corpus --config corpus.yaml --out store
      hanlin data prepare corpus --config corpus.yaml --out store --min-characters 20
    """


prepare.add_command(corpus)


@stage_command("prepare-chat")
def chat() -> None:
    """Turn conversations into a token store with a loss mask for finetuning.

    Settings may be given as --key VALUE too; they win over the file.

    \b
    Examples:
      hanlin data prepare chat --config chat.yaml --out store
      hanlin data prepare chat --config chat.yaml --out store --prompt alpaca --seq-len 512
    """


prepare.add_command(chat)
