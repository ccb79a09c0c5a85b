"""`hanlin weights verify`: is a checkpoint whole?"""

from __future__ import annotations

from pathlib import Path

import click

from hanlin.cli import console
from hanlin.cli.options import json_option

path = click.Path(path_type=Path)


@click.command()
@click.argument("directory", metavar="DIR", type=path)
@click.option(
    "--list", "lists", metavar="FILE", multiple=True, type=path,
    help="MD5 or SHA digests of files in DIR, as md5sum and sha256sum write them; lists that lie "
    "in DIR (checklist.chk, md5sum.txt, SHA256SUMS, ...) are found. May be repeated.",
)  # fmt: skip
@json_option
def verify(directory: Path, lists: tuple[Path, ...], as_json: bool) -> None:
    """Look for damage in DIR: a model (Hugging Face or Meta), an adapter, or a file with tensors.

    Of a run directory, the last model is taken.

    Reads every tensor once and compares with tensors.json and lists of digests; looks for NaN and
    infinite values, empty tensors, several types, missing layers, a head that does not fit, and
    rows that do not fit the tokenizer. Nothing in PyTorch's .bin and .pth files is executed. Ends
    with exit code 4 if it is unfit for use.

    \b
    Examples:
      hanlin weights verify runs/quickstart/merge/model
      hanlin weights verify llama/13B --json
      hanlin weights verify zhixi-13b --list zhixi-13b.md5
    """
    from hanlin.core.errors import InputError
    from hanlin.models.runs import last_model
    from hanlin.weights.verify.verify import verify_checkpoint

    directory = last_model(directory)
    found = verify_checkpoint(directory, lists=lists, progress=console.progress())
    rows = [[finding.level, finding.where, finding.what] for finding in found.findings]
    digests = "digests compared" if found.has_digests else "no tensors.json to compare with"
    if found.files_checked:
        digests += f", {found.files_checked} files compared with lists"
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
