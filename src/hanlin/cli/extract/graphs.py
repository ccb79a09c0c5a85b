"""Which graph is meant: a store in a file, or a Neo4j server?"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hanlin.core.errors import ConfigError

if TYPE_CHECKING:
    from hanlin.extraction.knowledge.lookups import LookUps
    from hanlin.extraction.knowledge.neo4j import Neo4jGraph

PASSWORD = "NEO4J_PASSWORD"  # noqa: S105 - the name of a variable
SCHEMES = ("neo4j", "neo4j+s", "neo4j+ssc", "bolt", "bolt+s", "bolt+ssc")
F = TypeVar("F", bound=Callable[..., Any])


def server_options(command: F) -> F:
    """Add --user and --database of a Neo4j server to a command."""
    for name, help in (("database", "Database on it."), ("user", "Name on a Neo4j server.")):
        command = click.option(f"--{name}", default="neo4j", show_default=True, help=help)(command)
    return command


def open_graph(name: str, *, language: str, user: str, database: str) -> LookUps:
    """Open a store by its path, or connect to a server by its address.

    Raises:
        InputError: there is no store.
        ConfigError: a server is meant and no password is set, or its address is none.
        ResourceError: no server answers.
    """
    from hanlin.extraction.knowledge.graph import GraphStore

    scheme, is_address, _ = name.partition("://")
    if is_address and scheme not in SCHEMES:
        raise ConfigError(
            f"{name} is no address of a Neo4j server",
            fix="write bolt://HOST:7687 or neo4j://HOST:7687, or the path of a store",
        )
    if is_address:
        return connect(name, user=user, database=database, language=language)
    return GraphStore.open(Path(name), language=language)


def connect(address: str, *, user: str, database: str, language: str = "") -> Neo4jGraph:
    """Connect to a Neo4j server with the password in NEO4J_PASSWORD.

    Raises:
        ConfigError: it is not set.
        MissingExtraError: the driver is not installed.
        ResourceError: no server answers.
    """
    from hanlin.extraction.knowledge.neo4j import Neo4jGraph

    password = os.environ.get(PASSWORD)
    if password is None:
        raise ConfigError(
            f"the password for {address} is not known",
            why="it is read from a variable, so that it stands in no list of commands",
            fix=f"export {PASSWORD}=... (empty for a server without passwords)",
        )
    return Neo4jGraph.connect(
        address, user=user, password=password, database=database, language=language
    )
