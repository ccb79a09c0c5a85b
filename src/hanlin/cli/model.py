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
@click.option(
    "--init", type=click.Choice(["mean", "exponential", "global-mean", "random"]), default="mean",
    show_default=True, help="What new rows are made of: the rows of the old tokens of a piece, all "
    "alike; or the last of them most in the embeddings and the first one in the lm_head; the mean "
    "of all old rows; random numbers like theirs.",
)  # fmt: skip
@click.option("--pad-to-multiple", type=click.IntRange(1), default=1, show_default=True,
              help="Fill the rows up to a multiple of this.")  # fmt: skip
@click.option("--max-shard-gb", type=click.FloatRange(0, min_open=True), default=5.0,
              show_default=True, help="Size of a file of weights.")  # fmt: skip
@seed_option
@out_option()
@force_option
@json_option
def grow(model: str, out: Path, force: bool, seed: int, as_json: bool, **given: Any) -> None:  # noqa: ANN401
    """Give MODEL rows for the pieces that its tokenizer was extended by; old rows stay.

    Needs memory for blocks of rows, however large the model is. Given again after an
    interruption, it goes on.

    \b
    Examples:
      hanlin model grow MODEL --tokenizer extended --out grown
      hanlin model grow MODEL --tokenizer extended --out grown --init random --force
      hanlin model grow MODEL --tokenizer extended --out grown --pad-to-multiple 64 --json
    """
    from hanlin.core.config import ConfigSource, validate
    from hanlin.models.grow import Config
    from hanlin.models.grow import grow as grow_model
    from hanlin.models.info import read_info

    source = ConfigSource("the command line", Path.cwd())
    config = validate(Config, {"model": model, **given}, source=source)
    grow_model(config, out, seed=seed, force=force, progress=console.progress())
    rows = read_info(out).vocab_size
    value = {"out": str(out), "rows": rows, "init": config.init}
    console.result(value, as_json=as_json, text=f"{out}: {rows} rows")


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
