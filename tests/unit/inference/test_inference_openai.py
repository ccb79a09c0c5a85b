"""A real server on this machine scores with a tiny model: the same numbers as the model itself."""

import pytest

from hanlin.core.errors import ConfigError, InputError
from hanlin.inference import http_json
from hanlin.inference.engine import is_address, open_engine
from hanlin.models.tiny import make_tiny
from openai_server import Server


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def serve(folder):
    servers = []

    def start(**settings):
        servers.append(Server(folder, **settings))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def requests_of(engine):
    texts = [("问题：河流在哪里？", "古城"), ("问题：河流在哪里？", "the bridge"), ("A", "B" * 30)]
    encode = engine.tokenizer.encode
    return [
        ([1, *encode(before, at_start=True)], encode(after, at_start=False))
        for before, after in texts * 8
    ]


@pytest.mark.parametrize("kind", ["echo", "prompt_logprobs"])
def test_a_server_scores_as_the_model_itself(folder, serve, kind):
    server, local = serve(kind=kind), open_engine(str(folder))
    remote = open_engine(server.address)
    requests = [*requests_of(local), ([1, 5], [])]
    found = remote.score(requests)
    assert found == pytest.approx(local.score(requests), abs=1e-4)
    assert found[-1] == 0.0
    assert remote.max_length == 510
    assert all(len(body["prompt"]) <= 16 for body, _ in server.requests)


def test_a_busy_server_is_asked_again(folder, serve, monkeypatch):
    pauses = []
    monkeypatch.setattr(http_json.time, "sleep", pauses.append)
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    server = serve()
    server.failures = 3
    engine = open_engine(server.address)
    assert engine.score([([1, 5], [6])])[0] < 0
    assert pauses == [1.0, 2.0, 4.0]
    assert {key for _, key in server.requests} == {"Bearer secret"}
    server.failures = 100
    with pytest.raises(InputError, match="could not score 1 texts") as error:
        engine.score([([1, 5], [7])])
    assert "HTTP 503" in str(error.value)


def test_a_server_without_log_probabilities_of_the_prompt_is_refused(serve):
    for kind in ("short", "none"):
        engine = open_engine(serve(kind=kind).address)
        with pytest.raises(InputError, match="returns no log-probabilities of a prompt") as error:
            engine.score([([1, 5], [6, 7])])
        assert "a prompt of 4 tokens came back with" in str(error.value)
        assert "vLLM" in str(error.value)


def test_its_tokenizer_must_be_known(folder, serve):
    server = serve(names_folder=False)
    with pytest.raises(ConfigError, match="--tokenizer FOLDER_OR_HUB_ID"):
        open_engine(server.address)
    engine = open_engine(server.address, tokenizer=str(folder))
    assert engine.score([([1, 5], [6])])[0] < 0


def test_no_server_and_settings_of_other_backends(folder, serve):
    with pytest.raises(InputError, match="could not be reached"):
        open_engine("http://127.0.0.1:9/v1")
    with pytest.raises(ConfigError, match="dtype cannot be chosen"):
        open_engine(serve().address, dtype="float16")
    with pytest.raises(ConfigError, match="tokenizer cannot be chosen"):
        open_engine(str(folder), tokenizer="x")
    assert is_address("https://x/v1") and not is_address("owner/name")
