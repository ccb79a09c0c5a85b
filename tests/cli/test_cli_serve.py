"""`hanlin serve` begins, says where it is, refuses what is unsafe, and ends when it is told to."""

import json
import signal
import socket

import httpx
import pytest

from hanlin.cli.main import run_command
from hanlin.models.tiny import make_tiny
from served_model import Process


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("served") / "tiny")


def post(address, body, **headers):
    return httpx.post(f"{address}/v1/completions", json=body, headers=headers, timeout=60)


def test_a_server_from_beginning_to_end(model, tmp_path):
    """One process for all of it: it takes seconds to start."""
    schema = tmp_path / "towns.yaml"
    schema.write_text("zh: {entities: [城镇]}", encoding="utf-8")
    process = Process(
        model, "--name", "my-model", "--schema", schema, "--max-new-tokens", 50,
        environment={"HANLIN_API_KEY": "sk-secret sk-other"},
    )  # fmt: skip
    try:
        assert process.said == {
            "address": process.address, "model": "my-model", "prompt": "plain",
        }  # fmt: skip
        assert process.address.startswith("http://127.0.0.1:")
        key = {"Authorization": "Bearer sk-other"}
        assert post(process.address, {"prompt": "河流"}).status_code == 401
        question = {"prompt": "秘密的问题", "max_tokens": 9, "model": "my-model"}
        reply = post(process.address, question, **key)
        answer = reply.json()["choices"][0]["text"]
        named = {"text": "秘密的城", "schema": "towns", "max_tokens": 2}
        found = httpx.post(f"{process.address}/v1/extract", json=named, headers=key)
        assert found.json()["data"][0]["text"] == "秘密的城"
        code, out, err = process.stop(signal.SIGTERM)
    finally:
        process.close()
    assert (code, out) == (0, "")
    lines = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
    assert [line["status"] for line in lines] == [401, 200, 200]
    assert lines[1]["completion_tokens"] == 9 and lines[1]["path"] == "/v1/completions"
    assert lines[1]["request"] == reply.headers["x-request-id"]
    for secret in ("秘密", "sk-", answer):
        assert secret not in err
    assert "stopped" in err


def test_ctrl_c_ends_it_while_it_answers(model):
    process = Process(model)
    try:
        body = {"prompt": "河流", "max_tokens": 400, "stream": True, "temperature": 0}
        with httpx.stream("POST", f"{process.address}/v1/completions", json=body) as reply:
            parts = reply.iter_text()
            text = next(parts)
            code, _, err = process.stop(signal.SIGINT)
            text += "".join(parts)
    finally:
        process.close()
    assert code == 0
    assert text.endswith("data: [DONE]\n\n")  # an answer that runs may end
    assert "Traceback" not in err


def test_a_port_in_use(model, capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert run_command(["serve", str(model), "--port", str(port)]) == 5
    error = capsys.readouterr().err
    assert f"port {port} of 127.0.0.1 cannot be listened on" in error
    assert "Address already in use" in error
    assert "--port 0 takes a free one" in error


def run(model, capsys, *options):
    code = run_command(["serve", str(model), "--port", "0", *map(str, options)])
    return code, capsys.readouterr().err


def test_other_machines_need_a_key(model, capsys, monkeypatch):
    monkeypatch.delenv("HANLIN_API_KEY", raising=False)
    for host in ("0.0.0.0", "::", "192.0.2.1"):
        code, error = run(model, capsys, "--host", host)
        assert code == 2
        assert f"other machines can connect to {host}, and no API key is set" in error
        assert "--no-key if that is what you want" in error


def test_other_machines_are_warned_of(model, capsys, monkeypatch):
    monkeypatch.setenv("HANLIN_API_KEY", "sk-1")
    for options, whose in (([], "whoever has a key"), (["--no-key"], "everybody who can connect")):
        code, error = run(model, capsys, "--host", "192.0.2.1", *options)
        assert code == 5  # this machine does not have that address
        assert f"192.0.2.1 is open to other machines: {whose} can use the model" in error


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        (None, 4, ": No such file"),
        (b"\n# none yet\n", 4, " holds no key"),
        (b"\xff\xfe", 4, " is no UTF-8 text"),
    ],
)
def test_key_files(model, tmp_path, capsys, content, code, message):
    file = tmp_path / "keys.txt"
    if content is not None:
        file.write_bytes(content)
    found, error = run(model, capsys, "--key-file", file)
    assert (found, f"{file}{message}" in error) == (code, True), error


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--no-key", "--host", "no such host"], 2, "is no address that can be listened on"),
        (["--prompt", "alpacca"], 2, "did you mean 'alpaca'"),
        (["--schema", "missing.yaml"], 4, "missing.yaml does not exist"),
        (["--timeout", "inf"], 2, "no number that can be used"),
        (["--max-running", "0"], 2, "x>=1"),
    ],
)
def test_wrong_options(model, capsys, options, code, message):
    assert run(model, capsys, *options)[0] == code
    assert message in run(model, capsys, *options)[1]


def test_a_missing_model(capsys):
    assert run_command(["serve", "no/such/model", "--port", "0"]) == 4
    assert "no/such/model does not exist" in capsys.readouterr().err
