"""A real server that speaks Neo4j's protocol and Cypher: ArcadeDB, which brings its own Java."""

import socket
import subprocess
import sys
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from book_session import wait_for

USER, PASSWORD = "root", "only-for-tests"


@contextmanager
def graph_server(folder):
    """Start a server that keeps its data in a folder; yield its address."""
    if sys.platform != "linux":
        pytest.skip("tests take this server on Linux only: elsewhere some processors lack a wheel")
    package = find_spec("arcadedb_embedded")
    assert package is not None, "pip install 'hanlin[dev]' brings arcadedb-embedded"
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
        yield f"bolt://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)
