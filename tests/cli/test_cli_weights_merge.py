"""`hanlin weights merge`: several adapters, weights, and what is said about the check."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from hanlin.cli.main import run_command
from hanlin.core.files import write_json
from hanlin.models.tiny import make_tiny

Q = "model.layers.0.self_attn.q_proj"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("base"))


def make_adapter(folder, *, seed):
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        f"base_model.model.{Q}.lora_A.weight": torch.randn(2, 32, generator=generator),
        f"base_model.model.{Q}.lora_B.weight": torch.randn(32, 2, generator=generator),
    }
    config = {
        "peft_type": "LORA", "r": 2, "lora_alpha": 2, "task_type": "CAUSAL_LM", "bias": "none",
        "target_modules": ["q_proj"], "layers_to_transform": [0], "init_lora_weights": True,
    }  # fmt: skip
    write_json(folder / "adapter_config.json", config)
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


@pytest.fixture
def adapters(tmp_path):
    return make_adapter(tmp_path / "one", seed=1), make_adapter(tmp_path / "two", seed=2)


@pytest.fixture
def hanlin(capsys):
    """Run a command; return exit code, stdout and stderr."""

    def run(*arguments):
        code = run_command(["weights", "merge", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def weight_of(model):
    return load_file(model / "model.safetensors")[f"{Q}.weight"]


def delta_of(adapter):
    tensors = load_file(adapter / "adapter_model.safetensors")
    a, b = (tensors[f"base_model.model.{Q}.lora_{x}.weight"] for x in "AB")
    return b @ a


def test_weighted_sum_and_stack(hanlin, base, adapters, tmp_path):
    one, two = adapters
    out = tmp_path / "out"
    code, stdout, stderr = hanlin(base, f"{one}=0.5", out, "--also", f"{two}=-2", "--json")
    report = json.loads(stdout)
    assert (code, stderr) == (0, "") and report["logits"]["max_difference"] < 1e-4
    wanted = weight_of(base) + 0.5 * delta_of(one) - 2 * delta_of(two)
    torch.testing.assert_close(weight_of(out), wanted, rtol=1e-6, atol=1e-6)
    code, stdout, _ = hanlin(base, one, out, "--then", two, "--force")
    assert code == 0 and "logits differ by at most" in stdout
    wanted = weight_of(base) + delta_of(one) + delta_of(two)
    torch.testing.assert_close(weight_of(out), wanted, rtol=1e-6, atol=1e-6)


def test_a_skipped_check_is_said_where_nobody_turned_it_off(
    hanlin, base, adapters, tmp_path, monkeypatch
):
    monkeypatch.setattr("hanlin.weights.merge.check.available_memory_bytes", lambda: 0)
    code, stdout, _ = hanlin(base, adapters[0], tmp_path / "out")
    assert code == 0
    assert "logits were not compared: it needs 1.5 GB of memory, 0.0 GB are free" in stdout
    code, stdout, _ = hanlin(base, adapters[0], tmp_path / "out", "--force", "--json", "--no-check")
    report = json.loads(stdout)
    assert code == 0 and report["logits"] is None
    assert report["logits_skipped"] == "it was turned off"


def test_a_check_that_was_asked_for_and_cannot_be_had_is_said(hanlin, base, tmp_path):
    folder = tmp_path / "rows"
    config = {
        "peft_type": "LORA", "r": 2, "lora_alpha": 2, "task_type": "CAUSAL_LM",
        "trainable_token_indices": [3],
    }  # fmt: skip
    write_json(folder / "adapter_config.json", config)
    name = "base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta"
    save_file({name: torch.ones(1, 32)}, folder / "adapter_model.safetensors")
    code, stdout, _ = hanlin(base, f"{folder}=0.5", tmp_path / "out", "--check")
    assert code == 0
    assert f"peft, which it is compared with, cannot count {folder} 0.5 times" in stdout


def test_shards_of_a_given_size(hanlin, base, adapters, tmp_path):
    code, _, _ = hanlin(base, adapters[0], tmp_path / "out", "--max-shard-gb", "3e-5", "--no-check")
    assert code == 0 and (tmp_path / "out" / "model.safetensors.index.json").is_file()


@pytest.mark.parametrize("number", ["much", "nan", "inf", ""])
def test_a_weight_that_is_no_number(hanlin, base, adapters, tmp_path, number):
    code, stdout, stderr = hanlin(base, f"{adapters[0]}={number}", tmp_path / "out")
    assert code == 2 and stdout == ""
    assert f"the weight {number!r} is no number" in stderr and f"{adapters[0]}=0.5" in stderr


def test_a_folder_with_an_equals_sign_is_a_folder(hanlin, base, tmp_path):
    folder = make_adapter(tmp_path / "rank=2", seed=1)
    assert hanlin(base, folder, tmp_path / "out", "--no-check")[0] == 0


def test_an_adapter_that_is_not_there(hanlin, base, tmp_path):
    code, stdout, stderr = hanlin(base, tmp_path / "none", tmp_path / "out")
    assert code == 4 and stdout == "" and "none does not exist" in stderr
    assert not list(tmp_path.iterdir())
