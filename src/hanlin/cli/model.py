"""`hanlin model`: make a small base model, grow a model's rows, show what a folder holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hanlin.cli import console
from hanlin.cli.options import force_option, json_option, out_option, seed_option
from hanlin.cli.stage_command import stage_command

if TYPE_CHECKING:
    from hanlin.models.info import ModelInfo


@click.group()
def model() -> None:
    """Make a small base model, grow a model's rows, show what a folder holds.

    \b
    Examples:
      hanlin model info MODEL
      hanlin model grow MODEL --tokenizer extended --out grown
    """


@stage_command("base")
def base() -> None:
    """Train a small LLaMA from nothing, with a tokenizer of its own or a given one.

    Every key of the stage's config can be given as --KEY VALUE too; these win over the file.

    \b
    Examples:
      hanlin model base --config base.yaml --out small
      hanlin model base --config base.yaml --out small --vocab-size 2000 --force
    """


model.add_command(base)


@model.command()
@click.argument("model")
@click.option("--tokenizer", required=True, help="An extension of the model's own tokenizer.")
@click.option("--init", type=click.Choice(["mean", "random"]), default="mean", show_default=True,
              help="New rows: the mean of the old tokens' rows, or random.")  # fmt: skip
@seed_option
@out_option()
@force_option
def grow(model: str, out: Path, force: bool, seed: int, **given: Any) -> None:  # noqa: ANN401
    """Give MODEL rows for the pieces that its tokenizer was extended by; old rows stay.

    \b
    Examples:
      hanlin model grow MODEL --tokenizer extended --out grown
      hanlin model grow MODEL --tokenizer extended --out grown --init random --force
    """
    from hanlin.core.config import ConfigSource, validate
    from hanlin.models.grow import Config
    from hanlin.models.info import read_info
    from hanlin.pipeline.run import run_single

    source = ConfigSource("the command line", Path.cwd())
    config = validate(Config, {"model": model, **given}, source=source)
    made = run_single("grow", config, out=out, force=force, seed=seed, progress=console.progress())
    console.result(str(made), as_json=False, text=f"{made}: {read_info(made).vocab_size} rows")


@model.command()
@click.argument("model")
@json_option
def info(model: str, as_json: bool) -> None:
    """Show the shape and the size of MODEL, from its config.json.

    \b
    Examples:
      hanlin model info MODEL
      hanlin model info MODEL --json
    """
    from hanlin.models.info import read_info

    found = read_info(model)
    console.result(found.as_dict(), as_json=as_json, text=_table(model, found))


def _table(name: str, found: ModelInfo) -> str:
    rows = [
        ["model type", found.model_type],
        ["parameters", f"{found.parameters:,}"],
        ["  in embeddings", f"{found.embedding_parameters:,}"],
        ["layers", str(found.layers)],
        ["hidden size", str(found.hidden_size)],
        ["feed-forward size", str(found.intermediate_size)],
        ["heads (key, value)", f"{found.heads} ({found.kv_heads})"],
        ["entries", str(found.vocab_size)],
        ["longest sequence", str(found.max_length)],
        ["tied embeddings", "yes" if found.is_tied else "no"],
        ["weights", f"{found.weight_bytes / 1e6:.1f} MB, {found.dtype}"],
    ]
    return console.table(rows, header=["", name])
