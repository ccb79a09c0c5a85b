"""`hanlin weights`: merge adapters, export to GGUF, verify checkpoints."""

from __future__ import annotations

from pathlib import Path

import click

from hanlin.cli import console
from hanlin.cli.options import force_option, json_option

folder = click.Path(path_type=Path)


@click.group()
def weights() -> None:
    """Merge, export and verify checkpoints.

    \b
    Examples:
      hanlin weights verify runs/quickstart/merge/model
      hanlin weights gguf runs/quickstart/merge/model model-q8_0.gguf --type q8_0
    """


@weights.command()
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


@weights.command()
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


@weights.command()
@click.argument("directory", metavar="DIR", type=folder)
@json_option
def verify(directory: Path, as_json: bool) -> None:
    """Check a model or adapter in DIR: digests, NaN, empty tensors, types, rows, tokenizer.

    Ends with exit code 4 if it is unfit for use.

    \b
    Examples:
      hanlin weights verify runs/quickstart/merge/model
      hanlin weights verify runs/quickstart/merge/model --json
    """
    from hanlin.core.errors import InputError
    from hanlin.weights.verify import verify_checkpoint

    found = verify_checkpoint(directory, progress=console.progress())
    rows = [[finding.level, finding.where, finding.what] for finding in found.findings]
    digests = "digests compared" if found.has_digests else "no tensors.json to compare with"
    types = ", ".join(f"{count} {dtype}" for dtype, count in found.dtypes.items())
    summary = f"{found.tensors} tensors ({types}), {found.size_bytes:,} bytes, {digests}"
    table = console.table(rows, header=["level", "where", "what"]) + "\n" if rows else ""
    console.result(
        {"dir": str(directory), **found.to_json()}, as_json=as_json, text=table + summary
    )
    if found.errors:
        first = found.errors[0]
        raise InputError(
            f"{directory} has {len(found.errors)} error{'s' * (len(found.errors) > 1)}",
            why=f"{first.where}: {first.what}",
            fix="make or download it again",
        )
