"""Two machines, each with a torchrun of its own, train what one process trains.

The second runs the command that the runner prints on the first, as docs/clusters.md says.
"""

import shlex
import socket
import subprocess
import threading

import pytest
import torch
from safetensors.torch import load_file

from hanlin.core.events import read_events
from hanlin.pipeline.run import run_single
from hanlin.training import pretrain
from training_world import make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"))


class SecondMachine:
    """Starts what is printed, beside the process that printed it."""

    def __init__(self):
        self.threads, self.ended = [], []

    def note(self, line):
        if "torch.distributed.run" in line:
            self.threads.append(threading.Thread(target=self._run, args=[shlex.split(line)]))
            self.threads[-1].start()

    def _run(self, command):
        self.ended.append(subprocess.run(command, capture_output=True, text=True))

    def join(self):
        for thread in self.threads:
            thread.join()
        (ended,) = self.ended
        return ended


def test_two_machines_agree_with_one_process(world, tmp_path, monkeypatch):
    def run(processes, **more):
        values = world.inputs("pretrain", processes=processes, schedule={"save_every": 5})
        config = pretrain.Config.model_validate(values)
        return run_single("pretrain", config, out=tmp_path / str(processes), seed=3, **more)

    one = run(1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meeting = f"127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("HANLIN_NODES", "2")
    monkeypatch.setenv("HANLIN_RENDEZVOUS", meeting)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    second = SecondMachine()
    two = run(2, note=second.note)
    ended = second.join()
    assert ended.returncode == 0, ended.stderr

    rows = [metrics(folder) for folder in (one, two)]
    assert [row["step"] for row in rows[1]] == list(range(1, 13))
    for key in ("step", "tokens"):
        assert [row[key] for row in rows[1]] == [row[key] for row in rows[0]]
    losses = [torch.tensor([row["loss"] for row in found]) for found in rows]
    torch.testing.assert_close(*losses, atol=1e-5, rtol=0)
    single, double = (load_file(folder / "model.safetensors") for folder in (one, two))
    assert single.keys() == double.keys()
    for name in single:
        torch.testing.assert_close(double[name], single[name], atol=1e-5, rtol=0, msg=name)


def metrics(folder):
    return [event for event in read_events(folder / "events.jsonl") if event["event"] == "metric"]
