"""`hanlin weights convert`: a checkpoint in another layout."""

from __future__ import annotations

from pathlib import Path

import click

from hanlin.cli import console
from hanlin.cli.options import force_option, json_option, max_shard_option

place = click.Path(path_type=Path)


@click.command()
@click.argument("path", metavar="IN")
@click.argument("out", type=place)
@click.option("--to", required=True, metavar="hf|meta", help="Layout of OUT.")
@click.option(
    "--shards", type=click.IntRange(1), default=1, show_default=True, metavar="N",
    help="Files of Meta's layout, one for each GPU: 1, 2, 4 or 8.",
)  # fmt: skip
@max_shard_option
@click.option("--dtype", metavar="TYPE", help="float32, float16 or bfloat16; left out: as it is.")
@click.option("--tokenizer", type=place, help="Tokenizer, if it is not in or beside IN.")
@click.option(
    "--max-length", type=click.IntRange(1), metavar="TOKENS",
    help="Longest sequence, which Meta's layout does not say.",
)  # fmt: skip
@force_option
@json_option
def convert(  # noqa: PLR0913 - one argument for each option
    path: str,
    out: Path,
    *,
    to: str,
    shards: int,
    max_shard_gb: float,
    dtype: str | None,
    tokenizer: Path | None,
    max_length: int | None,
    force: bool,
    as_json: bool,
) -> None:
    """Write the checkpoint IN in the layout of Hugging Face or of Meta to the folder OUT.

    IN is a folder of Hugging Face's layout (safetensors or pytorch_model.bin), a folder of Meta's
    (params.json and consolidated.00.pth, ...), a .bin file of llama2.c, or a run directory, whose
    last model is taken. No bit of a weight changes unless --dtype is given. Given again after an
    interruption, it goes on.

    \b
    Examples:
      hanlin weights convert llama-2-13b llama-2-13b-hf --to hf
      hanlin weights convert my-model my-model-meta --to meta --shards 2
      hanlin weights convert stories260K.bin stories --to hf --tokenizer tok512.bin
    """
    from hanlin.weights.convert.convert import Options
    from hanlin.weights.convert.convert import convert as convert_weights

    options = Options(
        to=to,
        shards=shards,
        max_shard_bytes=int(max_shard_gb * 1e9),
        dtype=dtype,
        tokenizer=tokenizer,
        max_length=max_length,
    )
    done = convert_weights(path, out, options, force=force, progress=console.progress())
    text = (
        f"{done.tensors} tensors ({done.size_bytes:,} bytes, {done.dtype}) from {done.layout} to "
        f"{done.to}: {done.files} file{'s' * (done.files > 1)} of weights in {out}"
    )
    if done.layout == "meta" and done.to == "hf":
        text += f"\nlongest sequence {done.max_length:,} tokens (change it with --max-length)"
    console.result({"out": str(out), **done.to_json()}, as_json=as_json, text=text)
