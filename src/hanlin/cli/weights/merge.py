"""`hanlin weights merge`: base and adapter become one model."""

from __future__ import annotations

from pathlib import Path

import click

from hanlin.cli import console
from hanlin.cli.options import force_option, json_option

folder = click.Path(path_type=Path)


@click.command()
@click.argument("base")
@click.argument("adapter")
@click.argument("out", type=folder)
@click.option(
    "--check/--no-check", default=True, show_default=True,
    help="Compare the logits afterwards (needs memory for the model in float32).",
)  # fmt: skip
@click.option("--any-base", is_flag=True, help="Accept a base with other weights than trained on.")
@force_option
@json_option
def merge(  # noqa: PLR0913 - one argument for each option
    base: str, adapter: str, out: Path, *, check: bool, any_base: bool, force: bool, as_json: bool
) -> None:
    """Merge the LoRA adapter in ADAPTER into BASE and write a standalone model to OUT.

    Needs memory for one tensor, however large the model is; the check needs more.

    \b
    Examples:
      hanlin weights merge runs/quickstart/pretrain/model runs/quickstart/finetune/adapter merged
      hanlin weights merge my-base my-adapter merged --no-check --force --json
    """
    from hanlin.core.config import ConfigSource, validate
    from hanlin.core.files import read_json
    from hanlin.pipeline.run import run_single
    from hanlin.weights.merge import REPORT, Config

    values = {"base": base, "adapter": adapter, "check_logits": check, "any_base": any_base}
    config = validate(Config, values, source=ConfigSource("the command line", Path.cwd()))
    run_single("merge", config, out=out, force=force, progress=console.progress())
    report = read_json(out / REPORT)
    text = f"merged {report['changed']} of {report['tensors']} tensors into {out}"
    if report["logits"]:
        text += f"\nlogits differ by at most {report['logits']['max_difference']:.2g}"
    console.result({"out": str(out), **report}, as_json=as_json, text=text)
