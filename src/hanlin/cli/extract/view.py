"""`hanlin extract view`: look at what was found, in the terminal, as a page, or as a graph."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hanlin.cli import console
from hanlin.cli.extract.pages import graph_option, html_option, refuse_to_overwrite, write_pages
from hanlin.cli.options import force_option, json_option

if TYPE_CHECKING:
    from hanlin.extraction.facts import Extraction


@click.command()
@click.argument("found", type=click.Path(path_type=Path))
@html_option
@graph_option
@click.option(
    "--kind", help="Form of the file, such as cluener or bio; without it told by its content."
)
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(1), help="Texts in the terminal."
)
@force_option
@json_option
def view(found: Path, kind: str | None, limit: int, as_json: bool, **options: Any) -> None:  # noqa: ANN401
    """Show the facts in FOUND: what `hanlin extract run` wrote, or a data set of extraction.

    \b
    Examples:
      hanlin extract view found.jsonl
      hanlin extract view found.jsonl --html found.html
      hanlin extract view found.jsonl --graph triples.ttl
      hanlin extract view cluener_dev.jsonl --limit 5
    """
    from itertools import islice

    from hanlin.extraction.facts import to_row
    from hanlin.extraction.readers import read_set

    for file in (options["html"], options["graph"]):
        refuse_to_overwrite(file, force=options["force"])
    if options["html"] or options["graph"]:
        value: object = write_pages(found, options, title=found.name)
        written = [str(file) for file in (options["html"], options["graph"]) if file]
        console.result(value, as_json=as_json, text=f"written: {', '.join(written)}")
        return
    shown = list(islice(read_set(found, kind=kind), limit))
    text = "\n\n".join(map(_told, shown))
    console.result([to_row(one) for one in shown], as_json=as_json, text=text)


def _told(one: Extraction) -> str:
    """Return a text with what is in it, a line for each fact."""
    lines = [f"[{one.id}] {one.text}"]
    for mention in one.entities:
        if mention.type:
            status = "" if mention.status == "exact" else f" {mention.status}"
            place = _place(mention.start, mention.end)
            lines.append(f"  {mention.type}: {mention.text}  {place}{status}")
    for relation in one.relations:
        names = (one.named(relation.head), one.named(relation.tail))
        lines.append(f"  {names[0]} — {relation.type} → {names[1]}")
    for event in one.events:
        arguments = "; ".join(f"{role}: {one.named(index)}" for role, index in event.arguments)
        lines.append(f"  {event.type} ({event.trigger.text}) {arguments}".rstrip())
    return "\n".join(lines)


def _place(start: int | None, end: int | None) -> str:
    return "" if start is None else f"[{start}, {end})"
