"""A tiny model, and a real server of it in a process of its own."""

import pytest

from hanlin.inference.engine import open_engine
from hanlin.models.save import save_model
from hanlin.models.tiny import Architecture, make_tiny, new_llama
from hanlin.tokenization.load import load as load_tokenizer
from served_model import Process


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("served") / "tiny")


@pytest.fixture(scope="session")
def tiny_engine(tiny):
    return open_engine(str(tiny))


@pytest.fixture(scope="session")
def slow_engine(tiny, tmp_path_factory):
    """A model that talks for minutes: its context is long, and no token ends an answer."""
    folder = tmp_path_factory.mktemp("long") / "long"
    tokenizer = load_tokenizer(tiny)
    architecture = Architecture(hidden_size=64, layers=4, heads=4, max_length=100_000)
    save_model(new_llama(architecture, tokenizer.vocab_size, 0), tokenizer, folder)
    return open_engine(str(folder))


@pytest.fixture(scope="session")
def server(tiny):
    process = Process(tiny)
    yield process
    process.close()
