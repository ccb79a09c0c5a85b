"""`hanlin eval run` on the address of a server: the numbers of the model itself."""

import json

import pytest

from exam_world import World
from hanlin.cli.main import run_command
from hanlin.models.tiny import make_tiny
from openai_server import Server


def test_a_served_model_scores_as_it_does_here(tmp_path):
    make_tiny(tmp_path / "tiny")
    World(tmp_path, count=3).write("ceval")
    server = Server(tmp_path / "tiny", kind="prompt_logprobs")
    found = []
    try:
        for model, file in ((tmp_path / "tiny", "here.json"), (server.address, "there.json")):
            command = ["eval", "run", model, "--benchmark", "ceval", "--data", tmp_path / "ceval",
                       "--shots", 0, "--out", tmp_path / file, "--json"]  # fmt: skip
            assert run_command(list(map(str, command))) == 0
            found.append(json.loads((tmp_path / file).read_text()))
    finally:
        server.close()
    here, there = found
    assert here["models"] == there["models"] == ["tiny"]
    assert len(here["records"]) == len(there["records"]) == 9
    for one, other in zip(here["records"], there["records"], strict=True):
        assert other["log_likelihoods"] == pytest.approx(one["log_likelihoods"], abs=1e-4)
        assert other["choice"] == one["choice"]
