"""How does a comparison of two runs look as a page and as Markdown?"""

from __future__ import annotations

from dataclasses import replace

from hanlin.pipeline.report import findings, sections, theme, words
from hanlin.pipeline.report.compare import Comparison
from hanlin.pipeline.report.elements import Child, Markup, join, table, tag
from hanlin.pipeline.report.html import page
from hanlin.pipeline.report.markdown import escape, fenced, md_table, score_table
from hanlin.pipeline.report.sections import legend, missing, section


def comparison_html(comparison: Comparison) -> str:
    """Return the comparison as one self-contained HTML page."""
    first, second = comparison.names
    parts = [
        section("results", "Results", *_results(comparison)),
        section("training", "Training", _curves(comparison)),
        section("cost", "Time and memory", _costs(comparison)),
        section("origin", "What was set otherwise", *_settings(comparison)),
    ]
    return page(
        f"{first} against {second}",
        kicker="Hanlin comparison of two runs",
        intro="",
        facts="the last evaluated model of each run",
        notes=list(comparison.notes),
        parts=parts,
    )


def comparison_markdown(comparison: Comparison) -> str:
    """Return the comparison as one Markdown document."""
    first, second = map(escape, comparison.names)
    costs = [
        [escape(cost.id), *map(words.seconds, cost.seconds), *map(words.size, cost.peak_bytes)]
        for cost in comparison.costs
    ]
    facts = [[escape(name), *map(escape, values)] for name, values in comparison.facts.items()]
    header = ["stage", f"time, {first}", f"time, {second}", f"peak, {first}", f"peak, {second}"]
    changes = comparison.recipe_changes
    parts = [
        f"# {first} against {second}",
        score_table(comparison.scores) if comparison.scores.rows else "Not evaluated.",
        "\n".join(f"- {escape(line)}" for line in only_lines(comparison)),
        "## Time and memory",
        md_table(header, costs) if costs else "No stage is known.",
        "## What was set otherwise",
        md_table(["what", first, second], facts) if facts else "Versions and machine are equal.",
        fenced(changes, "diff") if changes else "The recipes are equal.",
        "\n".join(f"- {escape(note)}" for note in comparison.notes),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def only_lines(comparison: Comparison) -> list[str]:
    """Say which benchmarks only one of the runs has."""
    return [
        f"only in {name}: {', '.join(only)}"
        for name, only in zip(comparison.names, comparison.only_in, strict=True)
        if only
    ]


def _results(comparison: Comparison) -> list[Child]:
    if not comparison.scores.rows:
        return [missing("Not evaluated: neither run has scores.")]
    both = tuple(row for row in comparison.scores.rows if len(row.scores) == 2)
    return [
        sections.headline_tiles(replace(comparison.scores, rows=both)) if both else None,
        tag("h3", "Every score"),
        findings.score_table(comparison.scores),
        findings.interval_plots(comparison.scores),
    ]


def _curves(comparison: Comparison) -> Markup:
    if not comparison.curves:
        return missing("No curve was recorded.")
    colors = theme.model_colors(comparison.names)
    names = {name: colors[name] for name in comparison.names}
    return join(legend(names), sections.multiples(comparison.curves, colors))


def _costs(comparison: Comparison) -> Markup:
    first, second = comparison.names
    rows: list[list[Child]] = [
        [cost.id, *map(words.seconds, cost.seconds), *map(words.size, cost.peak_bytes)]
        for cost in comparison.costs
    ]
    header: list[Child] = ["stage"]
    header += [f"time, {first}", f"time, {second}", f"peak memory, {first}"]
    header += [f"peak memory, {second}"]
    caption = "Time and peak memory of each stage in both runs"
    return table(header, rows, caption=caption, numeric=frozenset({1, 2, 3, 4}))


def _settings(comparison: Comparison) -> list[Child]:
    parts: list[Child] = []
    rows: list[list[Child]] = [[name, *values] for name, values in comparison.facts.items()]
    if rows:
        caption = "Versions and machine where they differ"
        parts.append(table(["what", *comparison.names], rows, caption=caption, numeric=frozenset()))
    else:
        parts.append(tag("p", "Versions and machine are equal."))
    if comparison.recipe_changes:
        parts += [tag("h3", "Recipe"), tag("pre", tag("code", comparison.recipe_changes))]
    else:
        parts.append(tag("p", "The recipes are equal."))
    return parts
