"""What else is written of what was found: a page with the spans marked, and a graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

existing = click.Path(path_type=Path)
html_option = click.option("--html", type=existing, help="Also write a page with the spans marked.")
graph_option = click.option(
    "--graph", type=existing,
    help="Also write a graph: .jsonl, .ttl, .graphml, .cypher, or a folder of CSV for Neo4j.",
)  # fmt: skip


def refuse_to_overwrite(file: Path | None, *, force: bool) -> None:
    """Stop where a result would replace something that is there.

    Raises:
        InputError: something is there, and `force` is not set.
    """
    from hanlin.core.errors import InputError

    if file is not None and file.exists() and not force:
        raise InputError(
            f"{file} exists already",
            why="nothing is overwritten unless it is asked for",
            fix="give another path, or add --force to replace it",
        )


def write_pages(found_file: Path, options: dict[str, Any], *, title: str) -> dict[str, int]:
    """Write the page and the graph that are asked for; return the counts of what was found."""
    from hanlin.core.files import write_atomic
    from hanlin.extraction.facts import read_extractions
    from hanlin.extraction.graph_files import write_graph
    from hanlin.extraction.html import page

    counts = dict.fromkeys(
        ("texts", "entities", "not in the text", "relations", "events", "unreadable parts"), 0
    )
    for one in read_extractions(found_file):
        counts["texts"] += 1
        counts["entities"] += len(one.entities)
        counts["not in the text"] += sum(m.start is None for m in one.entities)
        counts["relations"] += len(one.relations)
        counts["events"] += len(one.events)
        counts["unreadable parts"] += one.unreadable
    if options.get("html"):
        shown = page(list(read_extractions(found_file)), title=title)
        write_atomic(options["html"], shown.encode("utf-8", "replace"))
    if options.get("graph"):
        write_graph(read_extractions(found_file), options["graph"], force=options["force"])
    return counts
