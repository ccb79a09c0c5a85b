"""A killed merge leaves nothing that looks finished, and goes on where it was."""

import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from hanlin.core.errors import InputError
from hanlin.core.files import sha256, write_json
from hanlin.models.tiny import make_tiny
from hanlin.weights.merge.merge import Config, merge

Q = "base_model.model.model.layers.0.self_attn.q_proj"
KILLED = """
import os, signal, sys, time
from pathlib import Path
from hanlin.weights.merge.merge import Config, merge

def kill(done, total, text):
    if done == 14:
        while not any(Path(sys.argv[3]).parent.glob(".out.work/finished*")):
            time.sleep(0.01)  # files are written by another thread
        os.kill(os.getpid(), signal.SIGKILL)

config = Config(base=sys.argv[1], adapter=sys.argv[2], max_shard_gb=3e-5, check_logits=False)
merge(config, Path(sys.argv[3]), progress=kill)
"""


@pytest.fixture
def base(tmp_path):
    return make_tiny(tmp_path / "base")


@pytest.fixture
def adapter(tmp_path):
    generator = torch.Generator().manual_seed(3)
    tensors = {
        f"{Q}.lora_A.weight": torch.randn(2, 32, generator=generator),
        f"{Q}.lora_B.weight": torch.randn(32, 2, generator=generator),
    }
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "init_lora_weights": True}
    write_json(tmp_path / "adapter" / "adapter_config.json", config)
    save_file(tensors, tmp_path / "adapter" / "adapter_model.safetensors")
    return tmp_path / "adapter"


def run(base, adapter, out, **settings):
    """Merge into small shards; return how many tensors were done at each call of progress."""
    seen = []
    config = Config(
        base=str(base), adapter=str(adapter), max_shard_gb=3e-5, check_logits=False, **settings
    )
    merge(config, out, progress=lambda done, _total, _text: seen.append(done))
    return seen


def test_a_killed_merge_goes_on(base, adapter, tmp_path):
    assert len(run(base, adapter, tmp_path / "whole")) == 21
    out = tmp_path / "out"
    arguments = [sys.executable, "-c", KILLED, str(base), str(adapter), str(out)]
    assert subprocess.run(arguments, check=False).returncode == -9
    assert not out.exists()
    seen = run(base, adapter, out)
    assert seen[-1] == 21 and len(seen) < 21
    assert sha256(out) == sha256(tmp_path / "whole")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["adapter", "base", "out", "whole"]


def test_another_adapter_begins_anew(base, adapter, tmp_path):
    def stop(done, _total, _text):
        if done == 14:
            raise KeyboardInterrupt

    config = Config(base=str(base), adapter=str(adapter), max_shard_gb=3e-5, check_logits=False)
    with pytest.raises(KeyboardInterrupt):
        merge(config, tmp_path / "out", progress=stop)
    assert not (tmp_path / "out").exists()
    tensors = {
        f"{Q}.lora_A.weight": torch.ones(2, 32),
        f"{Q}.lora_B.weight": torch.ones(32, 2),
    }
    save_file(tensors, adapter / "adapter_model.safetensors")
    assert run(base, adapter, tmp_path / "out")[0] == 1


def test_what_is_there_is_kept_unless_forced(base, adapter, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        run(base, adapter, tmp_path / "out")
    config = Config(base=str(base), adapter=str(adapter))
    merge(config, tmp_path / "out", force=True)
    assert not (tmp_path / "out" / "mine.txt").exists()
