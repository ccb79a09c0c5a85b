"""The commands that docs/clusters.md shows are those that the runner builds; two machines meet."""

import shlex
import sys
from pathlib import Path

import pytest

from hanlin.core.errors import ConfigError
from hanlin.pipeline.launch import Nodes, torchrun_command

PAGE = Path(__file__).parents[2] / "docs" / "clusters.md"


@pytest.mark.parametrize(
    ("processes", "nodes", "folder"),
    [
        (16, Nodes(2, "node1:29500"), "adapter.work/.work/finetune"),
        (24, Nodes(3, "n1:29500", "srun --ntasks-per-node=1"), "model.work/.work/pretrain"),
    ],
)
def test_the_page_shows_what_the_runner_prints(processes, nodes, folder):
    file = Path(f"/shared/.{folder}/.worker.json")
    command = torchrun_command(file, processes=processes, nodes=nodes)
    text = shlex.join("python" if word == sys.executable else word for word in command)
    assert text in PAGE.read_text(encoding="utf-8").splitlines()


def test_machines_of_the_environment(monkeypatch):
    assert Nodes.of_environment() == Nodes()
    monkeypatch.setenv("HANLIN_NODES", "2")
    with pytest.raises(ConfigError, match="HANLIN_NODES is 2, but HANLIN_RENDEZVOUS is ''"):
        Nodes.of_environment()
    monkeypatch.setenv("HANLIN_RENDEZVOUS", "a:1")
    assert Nodes.of_environment() == Nodes(2, "a:1")
    monkeypatch.setenv("HANLIN_NODES", "two")
    with pytest.raises(ConfigError, match="HANLIN_NODES is 'two'"):
        Nodes.of_environment()


def test_processes_are_shared_evenly():
    with pytest.raises(ConfigError, match="processes is 5, which 2 machines cannot share evenly"):
        torchrun_command(Path("spec"), processes=5, nodes=Nodes(2, "a:1"))
