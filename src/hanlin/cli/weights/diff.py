"""`hanlin weights diff`: what makes a tuned model from its base, bit by bit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from hanlin.cli import console
from hanlin.cli.options import force_option, json_option

if TYPE_CHECKING:
    from hanlin.weights.diff.manifest import Compression


@click.command()
@click.argument("base")
@click.argument("tuned")
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--compress", type=click.Choice(["zstd", "none"]), default="zstd", show_default=True,
    help="How the differences are stored.",
)  # fmt: skip
@force_option
@json_option
def diff(base: str, tuned: str, out: Path, compress: str, force: bool, as_json: bool) -> None:
    """Write to OUT what makes the model TUNED from the model BASE, without losing a bit.

    BASE and TUNED are folders, run directories (their last model is taken), files of weights or
    hub ids; their shards, their vocabulary sizes and single types may differ. TUNED's other files
    (configs, tokenizer) go along. Given again after an interruption, it goes on.

    \b
    Examples:
      hanlin weights diff llama-2-13b-hf my-tuned-13b my-diff
      hanlin weights diff llama-2-13b-hf my-tuned-13b my-diff --compress none --json
    """
    from hanlin.core.meter import size_text
    from hanlin.weights.diff.diff import make_diff

    report = make_diff(
        base, tuned, out, compression=cast("Compression", compress), force=force,
        progress=console.progress(),
    )  # fmt: skip
    modes = ", ".join(f"{count} {mode}" for mode, count in report.modes.items())
    share = report.stored_bytes / max(1, report.tuned_bytes)
    lines = [
        f"{out}: {modes}; {size_text(report.stored_bytes)} of {size_text(report.tuned_bytes)} "
        f"({share:.1%})"
    ]
    for names, what in (
        (report.removed, "not needed from the base"),
        (report.left_out, "left out, weights in another form"),
    ):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            lines.append(f"{what}: {', '.join(names[:3])}{more}")
    console.result({"out": str(out), **report.to_json()}, as_json=as_json, text="\n".join(lines))
