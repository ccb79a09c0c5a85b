"""`hanlin data inspect`: what is in a file, and what of it would be trained?"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hanlin.cli import console
from hanlin.cli.data.rows_so_far import rows_so_far
from hanlin.cli.options import json_option

if TYPE_CHECKING:
    from hanlin.data.inspection.inspect import Inspection

BAR = 40  # columns of the longest bar


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--tokenizer", help="Folder of a tokenizer or model; counts tokens.")
@click.option("--prompt", default="plain", show_default=True, help="Prompt format to show.")
@click.option("--rows", default=3, show_default=True, type=click.IntRange(0, 1000),
              help="How many rows to show.")  # fmt: skip
@click.option("--seq-len", type=click.IntRange(8), help="Count what does not fit in N tokens.")
@json_option
def inspect(
    file: Path, tokenizer: str | None, prompt: str, rows: int, seq_len: int | None, as_json: bool
) -> None:
    """Show the first rows of FILE as they would be trained, count all, and tell whether it is fit.

    FILE is a corpus, conversations, questions, a folder of these, a hub id, a token store, or token
    ids of KnowLM or CuteGPT. What the loss counts is colored; where there are no colors, it stands
    between ⟦ and ⟧. Exit code 4: a row has no trained token or no end token, so that nothing
    should be trained on it as it is.

    \b
    Examples:
      hanlin data inspect world/chat.jsonl
      hanlin data inspect world/chat.jsonl --prompt alpaca --rows 1
      hanlin data inspect world/chat.jsonl --tokenizer base/model --seq-len 512
      hanlin data inspect world/questions --json
    """
    from hanlin.data.inspection.inspect import check_blessed
    from hanlin.data.inspection.inspect import inspect as inspect_file

    loaded = None
    if tokenizer is not None:
        from hanlin.tokenization.load import load

        loaded = load(tokenizer)
    found = inspect_file(
        file, tokenizer=loaded, prompt=prompt, rows=rows, seq_len=seq_len, tick=rows_so_far()
    )
    console.result(found.to_json(), as_json=as_json, text="" if as_json else _as_text(found))
    check_blessed(found)


def _as_text(found: Inspection) -> str:
    lines = [f"{found.path}: {found.kind}"]
    lines += [f"  {name.replace('_', ' ')}: {count:,}" for name, count in found.counts.items()]
    if found.languages:
        total = sum(found.languages.values())
        shares = [f"{name} {count / total:.1%}" for name, count in found.languages.items()]
        lines.append(f"  languages: {', '.join(shares[:6])}")
    for what, count in found.reasons.items():
        lines.append(f"  cannot be used: {count:,} x {what}")
    for row in found.bad_rows:
        lines.append(f"  left out: {row['source']}:{row['line']}: {row['reason']}")
    for what, count in found.left_out.items():
        lines.append(f"  not read: {what} of {count:,} rows")
    for name, buckets in found.lengths.items():
        lines += ["", f"{name} in a row:", *_histogram(buckets)]
    for number, sample in enumerate(found.samples, 1):
        lines += ["", f"--- row {number} ---", _shown(sample)]
    return "\n".join(lines)


def _histogram(buckets: list[dict[str, int]]) -> list[str]:
    most = max(bucket["rows"] for bucket in buckets)
    width = len(f"{buckets[-1]['below']:,}")
    return [
        f"  {b['from']:>{width},} to {b['below'] - 1:>{width},}  {b['rows']:>9,}  "
        f"{'#' * -(-BAR * b['rows'] // most)}".rstrip()
        for b in buckets
    ]


def _shown(sample: list[tuple[str, bool]]) -> str:
    """Return a sample with colors on a terminal, else with brackets."""
    from hanlin.data.inspection.samples import bracketed

    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return bracketed(sample)
    return "".join(click.style(text, fg="green") if counts else text for text, counts in sample)
