"""Tables of docs/plan.md and docs/recipes.md that come from code and package data."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from hanlin.core.files import read_json
from hanlin.models.cards import known_cards
from hanlin.models.published import (
    Comparison,
    median_error,
    memory_comparisons,
    programs,
    speed_comparisons,
)
from hanlin.models.shapes import hub_ids, known_shapes
from hanlin.pipeline.recipe import builtin_recipes, load_recipe

RESULTS = Path(__file__).resolve().parent.parent / "benchmarks" / "results"
BLOCK = re.compile(r"(<!-- table: ([a-z]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def filled(page: Path) -> str:
    """Return a page with the table between each pair of marks written anew."""

    def replaced(match: re.Match[str]) -> str:
        return f"{match[1]}\n{TABLES[match[2]]()}\n{match[3]}"

    return BLOCK.sub(replaced, page.read_text(encoding="utf-8"))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def memory() -> str:
    """Return predicted and published memory, a table for each program."""
    rows = memory_comparisons()
    text = f"Median error of {len(rows)} rows: **{median_error(rows):.1%}**.\n"
    for program, about in programs().items():
        mine = [row for row in rows if row.program == program]
        if mine:
            text += f"\n**{program}** (median {median_error(mine):.1%}): {about}.\n\n"
            text += compared(mine)
    return text


def speed() -> str:
    """Return predicted and published tokens a second."""
    rows = speed_comparisons()
    alone = [row for row in rows if row.program != "knowlm"]
    intro = f"Median error on one card: {median_error(alone):.0%}.\n\n"
    return intro + compared(rows, with_program=True)


def compared(rows: Sequence[Comparison], *, with_program: bool = False) -> str:
    """Return rows of figures with their errors."""
    header = ["model", "method", "settings", "published", "predicted", "error"]
    cells = [
        [
            row.model,
            row.method,
            row.note or "",
            f"{row.published:,g} {row.unit}",
            f"{row.predicted:,.0f}" if row.predicted >= 1000 else f"{row.predicted:.4g}",
            f"{row.error:+.0%}",
        ]
        for row in rows
    ]
    if with_program:
        header = ["by", *header]
        cells = [[row.program, *line] for row, line in zip(rows, cells, strict=True)]
    return table(header, cells)


def cards() -> str:
    """Return the known cards."""
    header = ["`--gpu`", "GiB", "TFLOP/s", "GB/s", "link GB/s", "US$ an hour", "source"]
    rows = [
        [
            f"`{card.name}`",
            f"{card.memory_gb:g}",
            f"{card.tflops:g}",
            f"{card.bandwidth:g}",
            f"{card.link:g}",
            "-" if card.usd_per_hour is None else f"{card.usd_per_hour:.2f}",
            card.source,
        ]
        for card in known_cards().values()
    ]
    return table(header, rows)


def shapes() -> str:
    """Return the known models."""
    ids = hub_ids()
    rows = [
        [
            f"`{name}`",
            f"{info.parameters / 1e9:.2f} B",
            f"{info.vocab_size:,}",
            ", ".join(hub for hub in ids if ids[hub] == name),
        ]
        for name, info in known_shapes().items()
    ]
    return table(["`--model`", "parameters", "vocabulary", "hub ids"], rows)


def recipes() -> str:
    """Return the recipes of the package."""
    loaded = [load_recipe(path) for path in builtin_recipes().values()]
    rows = [
        [
            f"`{item.name}`",
            item.description,
            ", ".join(stage.id for stage in item.stages),
            ", ".join(item.inputs) or "nothing",
        ]
        for item in loaded
    ]
    return table(["recipe", "what it does", "stages", "what you supply"], rows)


def compat() -> str:
    """Return what --compat changes in each recipe."""
    loaded = [load_recipe(path) for path in builtin_recipes().values()]
    rows = [
        [f"`{item.name}`", f"`{key}`", f"`{value}`"]
        for item in loaded
        for key, value in item.compat.items()
    ]
    return table(["recipe", "setting", "value with `--compat`"], rows)


def times() -> str:
    """Return what each rehearsal took when `benchmarks/recipes.py` was run."""
    result = read_json(RESULTS / "recipes.json")
    machine = result["machine"]
    rows = [
        [
            f"`{name}`",
            str(row["stages"]),
            f"{row['seconds']:.0f} s",
            f"{row['peak_bytes'] / 1e9:.2f} GB",
        ]
        for name, row in result["recipes"].items()
    ]
    intro = f"On {machine['cpus']} CPUs ({machine['processor']}), from command to report card:\n\n"
    return intro + table(["recipe", "stages", "time", "memory"], rows)


TABLES: dict[str, Callable[[], str]] = {
    "memory": memory,
    "speed": speed,
    "cards": cards,
    "shapes": shapes,
    "recipes": recipes,
    "compat": compat,
    "times": times,
}
