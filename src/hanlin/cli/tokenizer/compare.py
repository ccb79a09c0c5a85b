"""`hanlin tokenizer compare`: which tokenizer needs how many tokens for which text?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hanlin.cli import console
from hanlin.cli.options import ManyFiles, json_option, max_bad_rows_option

if TYPE_CHECKING:
    from hanlin.tokenization.comparison import Comparison, Row

FILE = click.Path(path_type=Path)


@click.command(cls=ManyFiles)
@click.argument("tokenizers", nargs=-1, required=True)
@click.option("--text", "texts", type=FILE, multiple=True, required=True, metavar="FILE...",
              help="Texts to measure on (.txt, or .jsonl with \"text\").")  # fmt: skip
@click.option("--plot", type=FILE, metavar="FILE", help="Draw the result as .png or .svg.")
@click.option("--force", is_flag=True, help="Replace what is at --plot already.")
@max_bad_rows_option
@json_option
def compare(
    tokenizers: tuple[str, ...], texts: tuple[Path, ...], plot: Path | None,
    force: bool, max_bad_rows: float, as_json: bool,
) -> None:  # fmt: skip
    """Measure TOKENIZERS (folders, files or hub ids) on texts, by file and language.

    The first one is the base: whose ids have changed, and which pieces are new, is meant against
    it. Languages are those that the rows name, else the script of most letters.

    \b
    Examples:
      hanlin tokenizer compare base extended --text zh.jsonl en.txt
      hanlin tokenizer compare base extended --text zh.jsonl --plot fertility.png --json
    """
    from hanlin.core.errors import ConfigError
    from hanlin.tokenization.compare import compare as measure
    from hanlin.tokenization.load import load
    from hanlin.tokenization.plot import check_plot, draw

    twice = next((name for name in tokenizers if tokenizers.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"{twice} is given twice", fix="name each tokenizer once")
    if plot is not None:
        check_plot(plot, force=force)
    comparison = measure(
        {name: load(name) for name in tokenizers}, texts, max_bad_rows=max_bad_rows,
        progress=console.progress(),
    )  # fmt: skip
    if plot is not None:
        draw(comparison, plot)
    value = comparison.to_json() | {"plot": str(plot) if plot is not None else None}
    console.result(value, as_json=as_json, text=_text(comparison, plot))


def _text(comparison: Comparison, plot: Path | None) -> str:
    """Lay out a comparison for people: texts, then vocabularies."""
    from hanlin.tokenization.comparison import short_names

    names = short_names([v.tokenizer for v in comparison.vocabularies])
    files = short_names([entry.file for entry in comparison.inputs])
    header = ["text", "language", "tokenizer", "characters", "tokens", "chars/token",
              "bytes/token", "fallen back", "round trip", "other ids"]  # fmt: skip
    first = comparison.vocabularies[0].tokenizer
    rows = [
        [files[row.file], row.language, names[row.tokenizer], *_cells(row, first)]
        for row in comparison.rows
    ]
    tables = [console.table(rows, header=header)]
    if len(comparison.languages) < len(comparison.rows):
        rows = [
            [row.language, names[row.tokenizer], *_cells(row, first)]
            for row in comparison.languages
        ]
        tables.append(console.table(rows, header=["all texts in", *header[2:]]))
    rows = [
        [v.tokenizer, f"{v.vocab_size:,}", f"{v.new_pieces:,}" if v.tokenizer != first else "",
         f"{v.unused_new_pieces:,} ({v.unused_share:.1%})" if v.new_pieces else "", v.sha256[:12]]
        for v in comparison.vocabularies
    ]  # fmt: skip
    header = ["tokenizer", "entries", "new", "of them not used", "sha256"]
    tables.append(console.table(rows, header=header))
    notes = [
        f"{names[row.tokenizer]}: the first text that does not come back is {row.first_broken}"
        for row in comparison.rows
        if row.broken_texts
    ]
    if plot is not None:
        notes.append(f"plot: {plot}")
    return "\n\n".join([*tables, *(["\n".join(notes)] if notes else [])])


def _cells(row: Row, first: str) -> list[str]:
    found = row.fertility
    changed = f"{row.changed_texts:,} of {row.texts:,} texts, {row.changed_tokens:,} ids"
    return [
        f"{found.characters:,}", f"{found.tokens:,}",
        f"{found.characters_per_token:.3f}", f"{found.bytes_per_token:.3f}",
        f"{found.bytes_fallen_back_share:.1%}",
        "exact" if row.broken_texts == 0 else f"{row.broken_texts:,} of {row.texts:,} differ",
        "" if row.tokenizer == first else changed if row.changed_texts else "none",
    ]  # fmt: skip
