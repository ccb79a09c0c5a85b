"""What the doctor finds and how to mend it; nothing private in the text."""

import getpass
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from hanlin.cli.main import run_command
from hanlin.core import environment, network
from hanlin.core.environment import Gpu
from hanlin.pipeline import doctor
from hanlin.pipeline.doctor import examine, without_paths


@pytest.fixture(scope="module")
def found():
    return examine(is_offline=True)


def by_topic(findings):
    return {item.topic: item for item in findings}


def test_this_machine_is_described(found):
    topics = by_topic(found)
    assert topics["torch"].status == "ok" and "threads" in topics["torch"].text
    assert "torch 2." in topics["packages"].text
    assert topics["extra train"].text == "installed"
    assert topics["hub"].status == "note"
    assert {"machine", "memory", "disk", "flash attention", "bitsandbytes"} <= set(topics)
    for item in found:
        assert item.status in ("ok", "note", "warning", "failure") and item.text


def test_nothing_private_is_told(found):
    text = json.dumps([item.as_dict() for item in found], ensure_ascii=False)
    for private in (str(Path.home()) + "/", socket.gethostname(), str(Path.cwd())):
        assert private not in text
    if getpass.getuser() != "root":
        assert getpass.getuser() not in text


def test_paths_leave_a_message():
    text = "ImportError: /home/anna/.venv/lib/python3.11/site-packages/x.so: undefined symbol"
    assert without_paths(text) == "ImportError: .../x.so: undefined symbol"


def test_a_card_that_torch_cannot_use_is_a_failure(monkeypatch):
    card = Gpu("Tesla T4", 16 << 30, 15 << 30, "550.54", "7.5")
    monkeypatch.setattr(environment, "gpus", lambda: [card])
    reply = {"version": "2.13+cpu", "cuda": None, "hip": None, "available": False, "threads": 2}
    monkeypatch.setattr(doctor, "probe", lambda _code: (reply, ""))
    topics = by_topic(doctor.card_findings([card]))
    assert "no bf16" in topics["cards"].text
    torch = doctor.torch_finding([card])
    assert torch.status == "failure" and "pytorch.org" in torch.mend


def test_a_package_that_crashes_does_not_take_the_doctor_along():
    reply, trouble = doctor.probe("import os, sys; sys.stderr.write('no luck\\n'); os._exit(9)")
    assert reply == {} and trouble == "no luck"
    assert doctor.probe("import os; os.abort()")[1]


class Refusing(BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_error(403)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    made = HTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{made.server_port}"
    made.shutdown()


def test_a_hub_that_refuses_is_there_and_a_closed_port_is_not(server, monkeypatch):
    assert network.why_unreachable(server) == ""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}"
    assert "refused" in network.why_unreachable(closed)
    assert network.why_unreachable("file:///etc/passwd") == "it is no http address"
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(network, "MIRRORS", {"hf-mirror.com": server})
    monkeypatch.setenv("HF_ENDPOINT", closed.replace("//", "//user:secret@"))
    findings = list(doctor.hub_findings(False))
    assert (
        findings[0].status == "warning" and "HF_ENDPOINT=https://hf-mirror.com" in findings[0].mend
    )
    assert "secret" not in findings[0].text


def test_traps_in_the_environment(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    topics = by_topic(doctor.traps())
    assert "NO_PROXY" in topics["proxy"].mend
    assert topics["cards"].mend == "unset CUDA_VISIBLE_DEVICES"
    assert environment.gpus() == []


def test_cards_are_read_from_the_drivers_tool(monkeypatch, tmp_path):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA H100, 81559, 81000, 550.54, 9.0'\necho broken\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert environment.gpus() == [Gpu("NVIDIA H100", 81559 << 20, 81000 << 20, "550.54", "9.0")]


def test_the_exit_code_tells_of_failures(monkeypatch, capsys):
    good = doctor.Finding("torch", "ok", "fine")
    bad = doctor.Finding("torch", "failure", "broken", "install it again")
    for findings, code in (([good], 0), ([good, bad], 5)):
        monkeypatch.setattr(doctor, "examine", lambda found=findings, **_: found)
        assert run_command(["doctor", "--offline", "--json"]) == code
        value = json.loads(capsys.readouterr().out)
        assert value["ok"] is (code == 0) and len(value["findings"]) == len(findings)
    assert run_command(["doctor"]) == 5
    captured = capsys.readouterr()
    assert "torch: install it again" in captured.out and "1 of 2 findings" in captured.err
