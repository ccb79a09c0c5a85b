"""The server keeps what its own OpenAPI document says: schemathesis finds nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

from served_model import server_of

CONFIG = Path(__file__).with_name("schemathesis.toml")


def test_schemathesis_finds_nothing(tiny_engine, tmp_path):
    pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run"]
    options = ["--max-examples", "8", "--seed", "1", "--request-timeout", "60"]
    with server_of(tiny_engine, max_new_tokens=4) as address:
        done = subprocess.run(
            [*command, f"{address}/openapi.json", *options],
            capture_output=True, text=True, cwd=tmp_path, timeout=300,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert "9 selected / 9 total" in done.stdout
