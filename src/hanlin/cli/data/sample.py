"""`hanlin data sample`: choose the rows that together cover most of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hanlin.cli import console
from hanlin.cli.options import Finite, json_option, seed_option

if TYPE_CHECKING:
    from hanlin.data.sampling.quotas import PerSource
    from hanlin.data.sampling.sample import Sample

FILE = click.Path(path_type=Path)


@click.command()
@click.argument("inputs", type=FILE, nargs=-1, required=True, metavar="IN...")
@click.argument("out", type=FILE)
@click.option("--n", type=click.IntRange(1), required=True, help="Rows to choose.")
@seed_option
@click.option("--per-source", multiple=True, metavar="proportional|equal|NAME=COUNT",
              help="Rows of each input: by its share (the default), as many of each, or a number "
              "for an input by its file name (repeatable; the others share the rest).")  # fmt: skip
@click.option("--length-buckets", type=click.IntRange(1, 100), default=5, show_default=True,
              help="Ranges of lengths; each gives its share of the rows.")  # fmt: skip
@click.option("--threshold", type=Finite(0.3, 1), default=0.8, show_default=True,
              help="Similarity from which on a row is a near duplicate and left out.")  # fmt: skip
@click.option("--report", type=FILE, metavar="FILE",
              help="Say of each row what became of it, as JSON lines.")  # fmt: skip
@click.option("--max-bad-rows", type=Finite(0, 1), default=0.01, show_default=True,
              help="Share of unusable rows above which nothing is written.")  # fmt: skip
@click.option("--workers", type=click.IntRange(1, 256), default=1, show_default=True,
              help="Processes that look at the texts; the choice is the same.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace what is at OUT and --report already.")
@json_option
def sample(  # noqa: PLR0913 - one argument for each option
    inputs: tuple[Path, ...], out: Path, n: int, seed: int, per_source: tuple[str, ...],
    length_buckets: int, threshold: float, report: Path | None, max_bad_rows: float, workers: int,
    force: bool, as_json: bool,
) -> None:  # fmt: skip
    """Choose the N rows of the files or folders IN that cover most of their words.

    Near duplicates of earlier rows are left out; of the others, each row taken is the one that adds
    most of the words (of Chinese: character pairs) that are not yet covered. Rows are written to
    OUT (.jsonl or .json) as they are and in their order.

    \b
    Examples:
      hanlin data sample chat.jsonl chosen.jsonl --n 20000
      hanlin data sample zh.json en.json chosen.jsonl --n 3000 --per-source equal
      hanlin data sample zh.json en.json chosen.jsonl --n 3000 --per-source zh.json=2500
      hanlin data sample chat.jsonl chosen.jsonl --n 500 --report report.jsonl --json
    """
    from dataclasses import asdict

    from hanlin.data.sampling.sample import Settings
    from hanlin.data.sampling.sample import sample as choose

    settings = Settings(
        n=n, seed=seed, per_source=_per_source(per_source), length_buckets=length_buckets,
        threshold=threshold, max_bad_rows=max_bad_rows, workers=workers,
    )  # fmt: skip
    found = choose(inputs, out, settings, report=report, force=force, progress=console.progress())
    console.result(asdict(found), as_json=as_json, text=_as_text(found))


def _per_source(words: tuple[str, ...]) -> PerSource:
    from hanlin.core.errors import ConfigError

    if words in ((), ("proportional",)):
        return "proportional"
    if words == ("equal",):
        return "equal"
    quotas: dict[str, int] = {}
    for word in words:
        name, _, count = word.rpartition("=")
        if not name or not count.isdecimal() or name in quotas:
            raise ConfigError(
                f"--per-source {word} cannot be used",
                why="it is proportional or equal, or NAME=COUNT once for each of some inputs",
                fix="for example --per-source zh.json=2000",
            )
        quotas[name] = int(count)
    return quotas


def _as_text(found: Sample) -> str:
    lines = [
        f"{found.out}: {found.chosen:,} of {found.rows:,} rows",
        f"  near duplicates left out: {found.near_duplicates:,}",
        f"  words covered: {found.covered:.1%} (rows at random: {found.covered_at_random:.1%})",
    ]
    if found.bad_rows:
        lines.insert(1, f"  could not be used: {found.bad_rows:,}")
    if found.report:
        lines.append(f"  what became of each row: {found.report}")
    sources = [
        [s.source, f"{s.rows:,}", f"{s.near_duplicates:,}", f"{s.chosen:,}"] for s in found.sources
    ]
    lengths = [
        [c.source, f"{c.shortest:,} to {c.longest:,}", f"{c.different:,}", f"{c.chosen:,}"]
        for c in found.lengths
    ]
    tables = [
        console.table(sources, header=["source", "rows", "near duplicates", "chosen"]),
        console.table(lengths, header=["source", "words", "different rows", "chosen"]),
    ]
    return "\n\n".join(["\n".join(lines), *tables])
