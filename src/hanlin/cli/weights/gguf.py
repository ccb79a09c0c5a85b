"""`hanlin weights gguf`: a model becomes one file for llama.cpp."""

from __future__ import annotations

from pathlib import Path

import click

from hanlin.cli import console
from hanlin.cli.options import force_option, json_option

folder = click.Path(path_type=Path)


@click.command()
@click.argument("model")
@click.argument("out", type=folder)
@click.option(
    "--type", "type_", default="f16", show_default=True, metavar="TYPE",
    help="f32, f16, bf16, q8_0, q5_1, q5_0, q4_1 or q4_0.",
)  # fmt: skip
@click.option(
    "--check/--no-check", default=True, show_default=True,
    help="Compare with transformers (needs memory for the model in float32).",
)  # fmt: skip
@force_option
@json_option
def gguf(model: str, out: Path, type_: str, check: bool, force: bool, as_json: bool) -> None:
    """Write MODEL (a folder or a hub id) as the GGUF file OUT, for llama.cpp and its relatives.

    \b
    Examples:
      hanlin weights gguf runs/quickstart/merge/model model-f16.gguf
      hanlin weights gguf runs/quickstart/merge/model model-q8_0.gguf --type q8_0 --force
    """
    from hanlin.weights.export import export_file

    result = export_file(
        model, out, type=type_, check=check, force=force, progress=console.progress()
    )
    size = f"{out}: {result['size_bytes']:,} bytes, type {type_}"
    agreement = f", {result['greedy_agreement']:.1%} of greedy tokens agree" if check else ""
    value = {"out": str(out), "type": type_, **result}
    console.result(value, as_json=as_json, text=size + agreement)
