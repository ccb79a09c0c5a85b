"""What several tests of the data package share."""

import json
from pathlib import Path

import pytest

from hanlin.core.events import EventLog
from hanlin.core.stage import StageContext
from hanlin.data.store import StoreWriter, TokenStore
from hanlin.models.tiny import make_tiny


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def write(tmp_path):
    """Write a file from text, bytes, or rows that become JSON lines; return its path."""

    def write_file(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, list):
            content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_file


@pytest.fixture
def run_stage(tmp_path):
    """Run a stage as the runner does; return its folder."""

    def run(stage, config, name="stage"):
        out = tmp_path / name
        out.mkdir(exist_ok=True)
        stage.run(config, StageContext(name, out, 0, EventLog(tmp_path / "events.jsonl")))
        return out

    return run


@pytest.fixture
def make_store(tmp_path):
    """Make a store of numbered tokens: source name -> (weight, lengths of its documents)."""

    def make(sources, folder="store", **options) -> TokenStore:
        count = 0
        options = {"tokenizer_sha256": "t", "vocab_size": 1 << 20, **options}
        with StoreWriter(Path(tmp_path / folder), **options) as writer:
            for name, (weight, lengths) in sources.items():
                writer.begin(name, weight=weight)
                for length in lengths:
                    trained = [i % 2 == 1 for i in range(length)]
                    ids = list(range(count, count + length))
                    writer.add(ids, trained=trained if options.get("has_mask") else None)
                    count += length
        return TokenStore.open(tmp_path / folder)

    return make
