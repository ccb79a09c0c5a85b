"""`hanlin extract graph`: keep a knowledge graph in one file, and look things up in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hanlin.cli import console
from hanlin.cli.extract.graphs import connect, open_graph, server_options
from hanlin.cli.options import force_option, json_option, max_bad_rows_option, out_option

if TYPE_CHECKING:
    from hanlin.extraction.knowledge.lookups import Found

FILE = click.Path(path_type=Path)


@click.group()
def graph() -> None:
    """Keep a knowledge graph in one file, and look things up in it.

    \b
    Examples:
      hanlin extract graph import triples.tsv aliases.tsv --out world.sqlite
      hanlin extract graph find world.sqlite 三体 --relation 作者
      hanlin extract graph neo4j world.sqlite neo4j://localhost:7687
    """


@graph.command("import")
@click.argument("sources", type=FILE, nargs=-1, required=True, metavar="SOURCE...")
@max_bad_rows_option
@out_option()
@force_option
@json_option
def import_(
    sources: tuple[Path, ...], max_bad_rows: float, out: Path, force: bool, as_json: bool
) -> None:
    """Read triples and names into a new store OUT (.sqlite).

    A SOURCE is a table of triples or names (.tsv), JSON rows, RDF (.ttl, .nt, .nq, .trig, .rdf,
    .jsonld), a Wikidata dump (.json, .json.gz, .json.bz2), or a folder of such files.

    \b
    Examples:
      hanlin extract graph import world/graph --out world.sqlite
      hanlin extract graph import latest-all.json.bz2 --out wikidata.sqlite
    """
    from hanlin.core.errors import ConfigError, InputError
    from hanlin.data.readers import BadRows
    from hanlin.extraction.knowledge.graph import GraphStore
    from hanlin.extraction.knowledge.sources import STORE_SUFFIX, read_graph

    if out.suffix != STORE_SUFFIX:
        raise ConfigError(
            f"{out} is no name for a store", fix=f"give a name such as {out.stem}{STORE_SUFFIX}"
        )
    if out.exists() and not force:
        raise InputError(
            f"{out} exists already",
            why="nothing is overwritten unless it is asked for",
            fix="give another --out, or add --force to replace it",
        )
    bad = BadRows(max_bad_rows)
    with GraphStore.create(out, read_graph(sources, bad=bad)) as store:
        sizes = {**store.sizes(), "rows left out": bad.bad}
    text = f"{out}: " + ", ".join(f"{count:,} {name}" for name, count in sizes.items())
    console.result({"out": str(out), **sizes}, as_json=as_json, text=text)


@graph.command()
@click.argument("graph")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--relation", "relations", multiple=True, help="What is asked for (repeatable).")
@click.option("--language", default="", help="In which entities are named, zh or en.")
@server_options
@json_option
def find(  # noqa: PLR0913 - one argument for each option
    graph: str, names: tuple[str, ...], relations: tuple[str, ...], language: str, user: str,
    database: str, as_json: bool,
) -> None:  # fmt: skip
    """Look up an entity, what it is joined with, or (two names) how two are joined.

    GRAPH is a store (.sqlite), or the address of a Neo4j server.

    \b
    Examples:
      hanlin extract graph find world.sqlite 刘立正
      hanlin extract graph find world.sqlite 三体 --relation 作者 --relation 创作
      hanlin extract graph find world.sqlite 刘立正 青石镇 --json
    """
    from hanlin.core.errors import ConfigError

    if len(names) > 2 or (relations and len(names) > 1):
        raise ConfigError(
            f"{len(names)} names cannot be looked up together",
            fix="give one name, perhaps with --relation, or two names",
        )
    with open_graph(graph, language=language, user=user, database=database) as opened:
        if relations:
            found = opened.find_entity_or_value(names, relations)
        elif len(names) == 2:
            found = opened.find_relationship(names[:1], names[1:])
        else:
            found = opened.get_entity_info(names)
    _show(found, as_json=as_json)


def _show(found: Found, *, as_json: bool) -> None:
    from dataclasses import asdict

    value = {"result": list(found.result), "triples": [asdict(t) for t in found.triples]}
    text = "\n".join(found.result) or "nothing is known"
    console.result(value, as_json=as_json, text=text)


@graph.command()
@click.argument("store", type=FILE)
@click.argument("address")
@server_options
@json_option
def neo4j(store: Path, address: str, user: str, database: str, as_json: bool) -> None:
    """Copy a store to a Neo4j server; the password is read from NEO4J_PASSWORD.

    \b
    Examples:
      hanlin extract graph neo4j world.sqlite neo4j://localhost:7687
    """
    from hanlin.extraction.knowledge.graph import GraphStore

    with (
        GraphStore.open(store) as opened,
        connect(address, user=user, database=database) as server,
    ):
        count = server.fill(opened)
    value = {"address": address, "facts": count}
    console.result(value, as_json=as_json, text=f"{address}: {count:,} facts")
