"""`hanlin weights quantize`: a float model becomes a smaller checkpoint for transformers."""

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
    "--method", required=True, metavar="METHOD",
    help="int8 or nf4 (bitsandbytes: the extra quantize), gptq or awq (gptqmodel: the extra gptq; "
    "a GPU for models of billions of parameters).",
)  # fmt: skip
@click.option(
    "--calibration", type=folder, metavar="FILE",
    help="Texts or conversations: gptq and awq calibrate on four rows in five; the fifth measures "
    "bits per byte before and after. int8 and nf4 only measure.",
)  # fmt: skip
@click.option(
    "--rows", type=click.IntRange(1), default=256, show_default=True, help="Calibrate on so many."
)
@click.option(
    "--seq-len", type=click.IntRange(16), default=2048, show_default=True,
    help="Tokens of a row to calibrate on.",
)  # fmt: skip
@click.option(
    "--group-size", type=click.IntRange(1), default=128, show_default=True,
    help="Weights that share a scale, for gptq and awq.",
)  # fmt: skip
@force_option
@json_option
def quantize(  # noqa: PLR0913 - one argument for each option
    model: str, out: Path, *, method: str, calibration: Path | None, rows: int, seq_len: int,
    group_size: int, force: bool, as_json: bool,
) -> None:  # fmt: skip
    """Write MODEL as a quantized checkpoint to OUT.

    MODEL is the folder of a float model, a run directory (its last model is taken) or a hub id.
    transformers loads it, and so does every command here. The file quantize.json in it says what
    it costs.

    \b
    Examples:
      hanlin weights quantize runs/quickstart/merge/model small --method nf4
      hanlin weights quantize my-model small --method int8 --calibration texts.jsonl --json
      hanlin weights quantize my-model small --method gptq --calibration texts.jsonl --force
    """
    from hanlin.weights.quantize.quantize import Options, quantize_model

    options = Options(method, calibration, rows=rows, seq_len=seq_len, group_size=group_size)
    done = quantize_model(model, out, options=options, force=force, progress=console.progress())
    text = (
        f"{out}: {done.size_bytes:,} bytes ({done.size_bytes / done.size_bytes_before:.0%} of the "
        f"float weights)\nbits per byte {done.bits_per_byte_before:.4f} before, "
        f"{done.bits_per_byte:.4f} after ({done.loss:+.2%}), on {done.held_out_texts} texts"
    )
    console.result({"out": str(out), **done.to_json()}, as_json=as_json, text=text)
