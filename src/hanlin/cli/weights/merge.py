"""`hanlin weights merge`: base and adapters become one model."""

from __future__ import annotations

import math
from pathlib import Path

import click

from hanlin.cli import console
from hanlin.cli.options import force_option, json_option, max_shard_option
from hanlin.core.errors import ConfigError

folder = click.Path(path_type=Path)


@click.command()
@click.argument("base")
@click.argument("adapter", metavar="ADAPTER[=WEIGHT]")
@click.argument("out", type=folder)
@click.option(
    "--also", multiple=True, metavar="ADAPTER[=WEIGHT]",
    help="Add what another adapter learned on the same BASE; repeatable.",
)  # fmt: skip
@click.option(
    "--then", multiple=True, metavar="ADAPTER[=WEIGHT]",
    help="Then merge an adapter that was trained on the result so far; repeatable.",
)  # fmt: skip
@click.option(
    "--check/--no-check", default=None,
    help="Compare the logits afterwards; left out: if there is memory for it.",
)  # fmt: skip
@click.option("--any-base", is_flag=True, help="Accept a base with other weights than trained on.")
@click.option(
    "--dequantize", is_flag=True,
    help="Merge onto the rounded numbers of a BASE that bitsandbytes quantized.",
)  # fmt: skip
@max_shard_option
@force_option
@json_option
def merge(  # noqa: PLR0913 - one argument for each option
    base: str,
    adapter: str,
    out: Path,
    *,
    also: tuple[str, ...],
    then: tuple[str, ...],
    check: bool | None,
    any_base: bool,
    dequantize: bool,
    max_shard_gb: float,
    force: bool,
    as_json: bool,
) -> None:
    """Merge the LoRA adapter in ADAPTER into BASE and write a standalone model to OUT.

    Needs memory for blocks of rows, however large the model is; the check needs more. A WEIGHT
    other than 1 takes a part of what an adapter learned. Adapters of --also were trained on BASE
    like the first one: their changes are added up, in any order. Those of --then were trained on
    what came before them and follow in the order given. Given again after an interruption, it goes
    on.

    \b
    Examples:
      hanlin weights merge runs/quickstart/pretrain/model runs/quickstart/finetune/adapter merged
      hanlin weights merge my-base my-adapter merged --no-check --force --json
      hanlin weights merge my-base chat=0.7 merged --also law=0.3
      hanlin weights merge my-base chat merged --then law
    """
    from hanlin.core.config import ConfigSource, validate
    from hanlin.weights.merge.merge import Config
    from hanlin.weights.merge.merge import merge as merge_weights

    values = {
        "base": base,
        **_weighted(adapter),
        "also": [_weighted(text) for text in also],
        "then": [_weighted(text) for text in then],
        "check_logits": "auto" if check is None else check,
        "any_base": any_base,
        "dequantize": dequantize,
        "max_shard_gb": max_shard_gb,
    }
    config = validate(Config, values, source=ConfigSource("the command line", Path.cwd()))
    report = merge_weights(config, out, force=force, progress=console.progress())
    text = f"merged {report.changed} of {report.tensors} tensors into {out}"
    if report.check:
        text += f"\nlogits differ by at most {report.check.max_difference:.2g}"
    elif check is not False:
        text += f"\nlogits were not compared: {report.unchecked}"
    console.result({"out": str(out), **report.to_json()}, as_json=as_json, text=text)


def _weighted(text: str) -> dict[str, object]:
    """Read `FOLDER` or `FOLDER=WEIGHT`; a folder whose name has a `=` in it is a folder."""
    name, equals, number = text.rpartition("=")
    if not equals or Path(text).exists():
        return {"adapter": text}
    try:
        weight = float(number)
    except ValueError:
        weight = math.nan
    if not math.isfinite(weight):
        raise ConfigError(
            f"{text!r}: the weight {number!r} is no number",
            why="an adapter is given as FOLDER or as FOLDER=WEIGHT",
            fix=f"write for example {name}=0.5",
        )
    return {"adapter": name, "weight": weight}
