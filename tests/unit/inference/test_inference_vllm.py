"""vLLM is started, watched and stopped; a small server that speaks its protocol stands in for it.

vLLM itself needs a GPU machine: there, HANLIN_VLLM is left unset.
"""

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import peft
import pytest
import torch

from hanlin.core.errors import InputError, MissingExtraError, ResourceError
from hanlin.inference.backends.vllm import vllm_command
from hanlin.inference.engine import Sampling, open_engine
from hanlin.inference.server_process import ServerProcess, free_port
from hanlin.models.load import load_pair
from hanlin.models.tiny import make_tiny

SERVER = Path(__file__).parents[2] / "completions_server.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def vllm(monkeypatch):
    monkeypatch.setenv("HANLIN_VLLM", f"{sys.executable} {SERVER}")


def adapter(folder, base, **settings):
    folder.mkdir()
    values = {"base_model_name_or_path": str(base), "r": 8, **settings}
    (folder / "adapter_config.json").write_text(json.dumps(values))
    return str(folder)


def command(path, **changes):
    return vllm_command(str(path), port=8000, dtype=None, tensor_parallel=2, **changes)


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_answers_as_the_model_itself_until_it_is_stopped(folder, vllm):
    engine = open_engine(str(folder), backend="vllm", dtype="float32")
    sampling = Sampling(max_new_tokens=12)
    assert engine.generate([[1, 5, 9]], sampling) == open_engine(str(folder)).generate(
        [[1, 5, 9]], sampling
    )
    assert "--dtype float32" in engine.command_line
    assert "--tensor-parallel-size" in engine.command_line
    engine.close()
    assert not is_running(engine.pid)


def test_its_death_ends_a_request_with_a_message(folder, vllm, tmp_path):
    engine = open_engine(adapter(tmp_path / "lora", folder), backend="vllm")
    assert engine.model_name == "adapter"
    assert engine.max_length == 510
    events = engine.events([1, 5], Sampling(max_new_tokens=480))
    next(events)
    os.killpg(engine.pid, signal.SIGKILL)
    with pytest.raises(ResourceError, match="the server ended by the signal SIGKILL") as error:
        list(events)
    assert "serving" in str(error.value)


def test_a_start_that_fails_shows_the_last_lines(folder, vllm, tmp_path, monkeypatch):
    lora = adapter(tmp_path / "lora", "owner/name")
    with pytest.raises(ResourceError, match="the server ended with code 1") as error:
        open_engine(lora, backend="vllm")
    assert "no model in owner/name" in str(error.value)
    monkeypatch.setenv("HANLIN_VLLM", "no-such-program")
    with pytest.raises(MissingExtraError, match="no-such-program was not found"):
        open_engine(str(folder), backend="vllm")


def test_a_server_that_is_never_ready_is_stopped():
    process = ServerProcess(["sleep", "60"], ready=f"http://127.0.0.1:{free_port()}/health")
    with pytest.raises(ResourceError, match=r"not ready after 0\.1 s"):
        process.wait_ready(timeout_s=0.1)
    assert not is_running(process.pid)


def test_the_command_line(folder, tmp_path, monkeypatch):
    monkeypatch.delenv("HANLIN_VLLM", raising=False)
    words = command(folder)
    assert words[:3] == ["vllm", "serve", str(folder)]
    assert words[words.index("--tensor-parallel-size") + 1] == "2"
    assert "--enable-lora" not in words
    lora = adapter(tmp_path / "lora", folder, r=16)
    words = command(lora)
    assert words[2] == str(folder)
    assert words[-2:] == ["--lora-modules", f"adapter={lora}"]
    assert words[words.index("--max-lora-rank") + 1] == "16"


def test_an_adapter_with_grown_rows_is_merged_first(folder, vllm, tmp_path):
    rows = list(range(300, 320))
    torch.manual_seed(0)
    config = peft.LoraConfig(
        task_type="CAUSAL_LM", r=4, target_modules="all-linear", init_lora_weights=False,
        trainable_token_indices={"embed_tokens": rows, "lm_head": rows},
    )  # fmt: skip
    tuned = peft.get_peft_model(load_pair(folder)[0], config)
    tuned.save_pretrained(str(tmp_path / "lora"), save_embedding_layers=False)
    engine = open_engine(str(tmp_path / "lora"), backend="vllm", dtype="float32")
    served = Path(engine.command_line.split(" serve ")[1].split()[0])
    assert "--enable-lora" not in engine.command_line
    sampling = Sampling(max_new_tokens=12)
    itself = open_engine(str(folder), adapters={"a": str(tmp_path / "lora")})
    wanted = itself.generate([[1, 300, 9]], replace(sampling, adapter="a"))
    assert engine.generate([[1, 300, 9]], sampling) == wanted
    assert wanted != itself.generate([[1, 300, 9]], sampling)
    assert served.is_dir()
    engine.close()
    assert not served.exists()


@pytest.mark.parametrize(
    "settings", [{"modules_to_save": ["lm_head"]}, {"trainable_token_indices": [400, 401]}]
)
def test_an_adapter_that_cannot_be_merged(folder, vllm, tmp_path, settings):
    lora = adapter(tmp_path / "lora", folder, **settings)
    with pytest.raises(ResourceError, match="could not be merged for vLLM") as error:
        open_engine(lora, backend="vllm")
    assert f"hanlin weights merge BASE {lora} OUT" in str(error.value)


def test_an_adapter_without_its_base(tmp_path):
    lora = adapter(tmp_path / "lora", tmp_path / "gone" / "base" / "model")
    with pytest.raises(InputError, match="is not there"):
        command(lora)
