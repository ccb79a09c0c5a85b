"""`hanlin weights gguf`: a model becomes one file for llama.cpp."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hanlin.cli import console
from hanlin.cli.options import force_option, json_option

folder = click.Path(path_type=Path)


@click.command()
@click.argument("model")
@click.argument("out", type=folder)
@click.option(
    "--type", "type_", default="f16", show_default=True, metavar="TYPE",
    help="f32, f16, bf16, q8_0, q5_1, q5_0, q4_1, q4_0; with the extra kquants also q6_k, q5_k_m, "
    "q5_k_s, q4_k_m, q4_k_s, iq4_nl, iq4_xs, q3_k_l, q3_k_m, q3_k_s, q2_k.",
)  # fmt: skip
@click.option(
    "--check/--no-check", default=True, show_default=True,
    help="Compare with transformers (needs memory for the model in float32).",
)  # fmt: skip
@click.option(
    "--text", type=folder, metavar="FILE",
    help="Measure bits per byte on the first 20 kB of FILE, not on a short text of ours.",
)  # fmt: skip
@force_option
@json_option
def gguf(  # noqa: PLR0913 - one argument for each option
    model: str, out: Path, *, type_: str, check: bool, text: Path | None, force: bool, as_json: bool
) -> None:
    """Write MODEL (a folder, a run directory or a hub id) as the GGUF file OUT, for llama.cpp.

    LLaMA, Mistral, Qwen2 and Qwen3 with their tokenizers, extended ones too. The file is loaded
    by llama.cpp and compared with the model: token ids, next tokens, bits per byte.

    \b
    Examples:
      hanlin weights gguf runs/quickstart/merge/model model-f16.gguf
      hanlin weights gguf runs/quickstart/merge/model model-q8_0.gguf --type q8_0 --force
      hanlin weights gguf my-model model-q4_k_m.gguf --type q4_k_m --text held-out.jsonl --json
    """
    from hanlin.weights.gguf.export import export_file

    result = export_file(
        model, out, type=type_, check=check, text=text, force=force, progress=console.progress()
    )
    value = {"out": str(out), "type": type_, **result}
    console.result(value, as_json=as_json, text=_summary(value))


def _summary(value: dict[str, Any]) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(value["tensor_types"].items()))
    text = f"{value['out']}: {value['size_bytes']:,} bytes, type {value['type']} ({kinds})"
    if "greedy_agreement" not in value:
        return text
    return (
        f"{text}\n{value['greedy_agreement']:.1%} of greedy tokens agree; bits per byte "
        f"{value['bits_per_byte_before']:.4f} before, {value['bits_per_byte']:.4f} after "
        f"({value['loss']:+.2%})"
    )
