"""`hanlin weights verify`: is a checkpoint whole?"""

from __future__ import annotations

from pathlib import Path

import click

from hanlin.cli import console
from hanlin.cli.options import json_option

folder = click.Path(path_type=Path)


@click.command()
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
