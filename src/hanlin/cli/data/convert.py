"""`hanlin data convert`: write a file of one format in another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hanlin.cli import console
from hanlin.cli.data.rows_so_far import rows_so_far
from hanlin.cli.options import Finite, json_option

if TYPE_CHECKING:
    from hanlin.data.conversion.convert import Conversion

FILE = click.Path(path_type=Path)


@click.command()
@click.argument("source", type=FILE, metavar="IN")
@click.argument("out", type=FILE)
@click.option(
    "--to", required=True, metavar="FORMAT",
    help="messages, sharegpt, alpaca, chinese-vicuna, cutegpt, self-instruct; or text.",
)  # fmt: skip
@click.option("--tokenizer", help="Folder of the tokenizer or model that made token ids.")
@click.option("--max-bad-rows", type=Finite(0, 1), default=0.01, show_default=True,
              help="Share of unreadable rows above which nothing is written.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace what is at OUT already.")
@json_option
def convert(  # noqa: PLR0913 - one argument for each option
    source: Path, out: Path, to: str, tokenizer: str | None,
    max_bad_rows: float, force: bool, as_json: bool,
) -> None:  # fmt: skip
    """Write the rows of IN (a file, a folder or a hub id) to OUT in another format.

    The format of IN is found by itself. OUT is .jsonl or .json, with .gz, .xz or .zst behind it if
    wanted. A conversation is written whole or not at all; what is missing is counted, and listed in
    OUT.left_out.jsonl.

    \b
    Examples:
      hanlin data convert alpaca.json chat.jsonl --to messages
      hanlin data convert ift_data.pkl chat.jsonl.zst --to sharegpt
      hanlin data convert corpus.parquet corpus.jsonl.gz --to text --json
      hanlin data convert knowlm/train.idx texts.jsonl --to text --tokenizer base/model
    """
    from dataclasses import asdict

    from hanlin.data.conversion.convert import convert as convert_file

    loaded = None
    if tokenizer is not None:
        from hanlin.tokenization.load import load

        loaded = load(tokenizer)
    done = convert_file(
        source, out, to=to, force=force, max_bad_rows=max_bad_rows, tokenizer=loaded,
        tick=rows_so_far(),
    )  # fmt: skip
    console.result(asdict(done), as_json=as_json, text=_as_text(done))


def _as_text(done: Conversion) -> str:
    lines = [f"{done.out}: {done.rows:,} rows ({done.kind} of {done.path} as {done.to})"]
    if done.bad_rows:
        lines.append(f"  could not be read: {done.bad_rows:,}")
    lines += [f"  not written, {done.to} cannot hold it: {n:,} x {w}"
              for w, n in done.not_held.items()]  # fmt: skip
    lines += [f"  not in the new rows: {n:,} x {what}" for what, n in done.changed.items()]
    if done.left_out:
        lines.append(f"  listed in {done.left_out}")
    return "\n".join(lines)
