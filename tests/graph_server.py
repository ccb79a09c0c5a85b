"""A real server that speaks Neo4j's protocol and Cypher: ArcadeDB, which brings its own Java.

`HANLIN_NEO4J=bolt://HOST:PORT`, with `NEO4J_USER` and `NEO4J_PASSWORD`, takes another one instead;
all that its database `neo4j` holds is deleted.
"""

import os
import socket
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from book_session import wait_for

PASSWORD = "only-for-tests"


@dataclass(frozen=True)
class Server:
    address: str
    user: str
    password: str


@contextmanager
def graph_server(folder):
    """Start a server in a folder, or take the one that is named; skip where there is none."""
    pytest.importorskip("neo4j", reason="neo4j not installed")
    given = os.environ.get("HANLIN_NEO4J")
    if given:
        yield Server(given, os.environ["NEO4J_USER"], os.environ["NEO4J_PASSWORD"])
        return
    package = find_spec("arcadedb_embedded")
    if package is None:
        pytest.skip("arcadedb-embedded not installed")
    home = Path(package.origin).parent
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "server.rootPassword": PASSWORD, "server.rootPath": folder,
        "server.plugins": "Bolt:com.arcadedb.bolt.BoltProtocolPlugin",
        "server.defaultDatabases": "neo4j[]", "server.databaseDirectory": folder / "databases",
        "server.httpIncomingHost": "127.0.0.1", "server.httpIncomingPort": 0,
        "bolt.host": "127.0.0.1", "bolt.port": port,
    }  # fmt: skip
    java = [home / "jre" / "bin" / "java", "-Xmx384m", "-Djava.awt.headless=true"]
    java += [f"-Darcadedb.{name}={value}" for name, value in settings.items()]
    command = [*java, "-cp", home / "jars" / "*", "com.arcadedb.server.ArcadeDBServer"]
    log = folder / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen([*map(str, command)], stdout=out, stderr=out, cwd=folder)
    try:
        wait_for(lambda: "ArcadeDB Server started" in log.read_text("utf-8", "replace"), process)
        yield Server(f"bolt://127.0.0.1:{port}", "root", PASSWORD)
    finally:
        process.terminate()
        process.wait(60)
