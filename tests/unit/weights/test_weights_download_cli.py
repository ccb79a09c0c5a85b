"""`hanlin weights download`: one JSON document, what was left out, exit codes."""

import json

import pytest
from hub_server import serve

from hanlin.cli.main import run_command

FILES = {
    "config.json": b"{}",
    "model.safetensors": b"s" * 2000,
    "pytorch_model.bin": b"b" * 2000,
    "modeling.py": b"print('hello')",
}


@pytest.fixture
def hanlin(capsys, monkeypatch):
    for name in ("HF_HUB_OFFLINE", "HF_TOKEN", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments):
        code = run_command(["weights", "download", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def hub(monkeypatch):
    with serve(FILES) as (address, behavior):
        monkeypatch.setenv("HF_ENDPOINT", address)
        yield behavior


def test_text_and_json(hanlin, hub, tmp_path):
    out = tmp_path / "model"
    code, stdout, stderr = hanlin("owner/name", out)
    assert code == 0 and stderr == ""
    assert f"{out}: 2 files, 2.0 kB, from http://127.0.0.1" in stdout
    assert "left out, the weights come as safetensors: pytorch_model.bin (2.0 kB)" in stdout
    assert "left out, code is never run: modeling.py" in stdout

    code, stdout, _ = hanlin(
        "owner/name", tmp_path / "two", "--exclude", "*.py", "*.bin", "--revision", "v1", "--json"
    )
    result = json.loads(stdout)
    assert code == 0 and [file["path"] for file in result["files"]] == [
        "config.json", "model.safetensors"
    ]  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == [
        "SHA256SUMS", "config.json", "model.safetensors"
    ]  # fmt: skip


def test_a_second_run_says_what_was_here(hanlin, hub, tmp_path):
    hub.damage = 99
    code, stdout, stderr = hanlin("owner/name", tmp_path / "m", "--include", "config.json")
    assert code == 6 and stdout == "" and "is damaged" in stderr and "fix:" in stderr
    hub.damage = 1
    code, _, stderr = hanlin("owner/name", tmp_path / "m")
    assert code == 0
    hub.damage = 0
    code, _, stderr = hanlin("owner/name", tmp_path / "m")
    assert code == 4 and "exists already" in stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("owner/other",), 4, "has no owner/other, or it is private"),
        (("owner/name", "--revision", "gone"), 4, "has no such revision"),
        (("owner/name", "--include", "*.gguf"), 4, "no file is left to download"),
        (("owner/name", "--endpoint", "mirror"), 2, "mirror is no address of a server"),
        (("what is this",), 2, "neither a folder, an address nor a name"),
        (("owner/name", "--from", "else"), 2, "else"),
    ],
)
def test_wrong_input(hanlin, hub, tmp_path, arguments, code, said):
    name, *options = arguments
    found, stdout, stderr = hanlin(name, tmp_path / "out", *options)
    assert found == code and stdout == "" and said in stderr
    assert list(tmp_path.iterdir()) == []
