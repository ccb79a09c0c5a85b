"""Tables of docs/plan.md and docs/recipes.md that come from code and package data.

The Chinese pages have the same tables; docs/words.zh.yaml holds their words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import yaml

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
WORDS = Path(__file__).resolve().with_name("words.zh.yaml")
Say = Callable[[str], str]  # English words to those of the page


def has_tables(page: Path) -> bool:
    """Tell whether a page has a place for a table."""
    return BLOCK.search(page.read_text(encoding="utf-8")) is not None


def filled(page: Path) -> str:
    """Return a page with the table between each pair of marks written anew."""
    say = in_chinese if page.name.endswith(".zh.md") else str

    def replaced(match: re.Match[str]) -> str:
        return f"{match[1]}\n{TABLES[match[2]](say)}\n{match[3]}"

    return BLOCK.sub(replaced, page.read_text(encoding="utf-8"))


def in_chinese(words: str) -> str:
    """Return the Chinese of words in a table, or the words where there is none yet."""
    return chinese().get(words, words)


@cache
def chinese() -> dict[str, str]:
    """Return docs/words.zh.yaml: English words -> Chinese."""
    return dict(yaml.safe_load(WORDS.read_text(encoding="utf-8")))


def untranslated() -> list[str]:
    """Return the words of all tables that docs/words.zh.yaml lacks."""
    asked: dict[str, None] = {}

    def say(words: str) -> str:
        asked[words] = None
        return words

    for fill in TABLES.values():
        fill(say)
    return [words for words in asked if words not in chinese()]


def table(header: Sequence[str], rows: Sequence[Sequence[str]], say: Say) -> str:
    """Return a table in Markdown."""
    lines = [[say(word) for word in header], ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def memory(say: Say) -> str:
    """Return predicted and published memory, a table for each program."""
    rows = memory_comparisons()
    total = say("Median error of {} rows: **{}**.")
    text = total.format(len(rows), f"{median_error(rows):.1%}") + "\n"
    about_one = say("**{}** (median {}): {}.")
    for program, about in programs().items():
        mine = [row for row in rows if row.program == program]
        if mine:
            of_it = about_one.format(program, f"{median_error(mine):.1%}", say(about))
            text += f"\n{of_it}\n\n{compared(mine, say)}"
    return text


def speed(say: Say) -> str:
    """Return predicted and published tokens a second."""
    rows = speed_comparisons()
    alone = [row for row in rows if row.program != "knowlm"]
    intro = say("Median error on one card: {}.").format(f"{median_error(alone):.0%}")
    return f"{intro}\n\n{compared(rows, say, with_program=True)}"


def compared(rows: Sequence[Comparison], say: Say, *, with_program: bool = False) -> str:
    """Return rows of figures with their errors."""
    header = ["model", "method", "settings", "published", "predicted", "error"]
    cells = [
        [
            row.model,
            row.method,
            say(row.note) if row.note else "",
            f"{row.published:,g} {say(row.unit)}",
            f"{row.predicted:,.0f}" if row.predicted >= 1000 else f"{row.predicted:.4g}",
            f"{row.error:+.0%}",
        ]
        for row in rows
    ]
    if with_program:
        header = ["by", *header]
        cells = [[row.program, *line] for row, line in zip(rows, cells, strict=True)]
    return table(header, cells, say)


def cards(say: Say) -> str:
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
    return table(header, rows, say)


def shapes(say: Say) -> str:
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
    header = ["`--model`", "parameters", "vocabulary", "hub ids"]
    return table(header, rows, say)


def recipes(say: Say) -> str:
    """Return the recipes of the package."""
    loaded = [load_recipe(path) for path in builtin_recipes().values()]
    rows = [
        [
            f"`{item.name}`",
            say(item.description),
            ", ".join(stage.id for stage in item.stages),
            ", ".join(item.inputs) or say("nothing"),
        ]
        for item in loaded
    ]
    header = ["recipe", "what it does", "stages", "what you supply"]
    return table(header, rows, say)


def compat(say: Say) -> str:
    """Return what --compat changes in each recipe."""
    loaded = [load_recipe(path) for path in builtin_recipes().values()]
    rows = [
        [f"`{item.name}`", f"`{key}`", f"`{value}`"]
        for item in loaded
        for key, value in item.compat.items()
    ]
    header = ["recipe", "setting", "value with `--compat`"]
    return table(header, rows, say)


def times(say: Say) -> str:
    """Return what each rehearsal took when `benchmarks/recipes.py` was run."""
    result = read_json(RESULTS / "recipes.json")
    machine = result["machine"]
    rows = [
        [
            f"`{name}`",
            str(row["stages"]),
            f"{row['seconds']:.0f} s",
            f"{row['processor_seconds']:.0f} s",
            f"{row['peak_bytes'] / 1e9:.2f} GB",
        ]
        for name, row in result["recipes"].items()
    ]
    intro = say("On {} CPUs ({}), from command to report card:")
    header = ["recipe", "stages", "time", "processor time", "memory"]
    return f"{intro.format(machine['cpus'], machine['processor'])}\n\n{table(header, rows, say)}"


TABLES: dict[str, Callable[[Say], str]] = {
    "memory": memory,
    "speed": speed,
    "cards": cards,
    "shapes": shapes,
    "recipes": recipes,
    "compat": compat,
    "times": times,
}
