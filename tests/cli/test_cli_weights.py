"""`hanlin weights`: one JSON document on stdout, exit codes, nothing half made."""

import json

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file

from hanlin.cli.main import run_command
from hanlin.models.load import load_model, load_pair
from hanlin.models.manifest import write_manifest
from hanlin.models.tiny import make_tiny
from hanlin.tokenization.load import load


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def adapter(base, tmp_path_factory):
    out = tmp_path_factory.mktemp("adapter")
    config = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    model = peft.get_peft_model(load_model(base), config)
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.constant_(parameter, 0.1)
    model.save_pretrained(str(out))
    write_manifest(out, tokenizer_sha256=load(base).sha256)
    return out


@pytest.fixture
def hanlin(capsys):
    """Run a command; return exit code, stdout and stderr."""

    def run(*arguments):
        code = run_command(["weights", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_merge(hanlin, base, adapter, tmp_path):
    out = tmp_path / "merged"
    code, stdout, _ = hanlin("merge", base, adapter, out, "--json")
    report = json.loads(stdout)
    assert code == 0 and report["changed"] == 4 and report["out"] == str(out)
    assert report["logits"]["max_difference"] < 1e-4
    load_pair(out)
    assert [file.name for file in tmp_path.iterdir()] == ["merged"]

    code, stdout, stderr = hanlin("merge", base, adapter, out)
    assert code == 4 and stdout == "" and "exists already" in stderr
    code, stdout, _ = hanlin("merge", base, adapter, out, "--force", "--no-check")
    assert code == 0 and stdout == f"merged 4 of 21 tensors into {out}\n"


def test_merge_of_what_is_no_adapter(hanlin, base, tmp_path):
    code, stdout, stderr = hanlin("merge", base, base, tmp_path / "merged")
    assert code == 4 and stdout == ""
    assert "is not an adapter: it has no adapter_config.json" in stderr and "fix:" in stderr
    assert not (tmp_path / "merged").exists()


def test_gguf(hanlin, base, tmp_path):
    out = tmp_path / "tiny.gguf"
    code, stdout, stderr = hanlin("gguf", base, out, "--type", "q8_0", "--json")
    result = json.loads(stdout)
    assert code == 0 and stderr == ""
    assert result["type"] == "q8_0" and result["token_ids_equal"] is True
    assert result["size_bytes"] == out.stat().st_size

    code, stdout, stderr = hanlin("gguf", base, out)
    assert code == 4 and stdout == "" and "exists already" in stderr
    code, stdout, _ = hanlin("gguf", base, out, "--force")
    assert code == 0 and "type f16 (16 F16, 5 F32)\n100.0% of greedy tokens agree" in stdout
    assert "bits per byte" in stdout and "(+0.00%)" in stdout
    code, stdout, _ = hanlin("gguf", base, out, "--force", "--no-check")
    assert code == 0 and stdout.endswith("type f16 (16 F16, 5 F32)\n")


def test_gguf_of_an_unknown_type(hanlin, base, tmp_path):
    code, stdout, stderr = hanlin("gguf", base, tmp_path / "m.gguf", "--type", "q8")
    assert code == 2 and stdout == "" and "did you mean 'q8_0'?" in stderr
    assert list(tmp_path.iterdir()) == []


def test_verify(hanlin, base):
    code, stdout, _ = hanlin("verify", base)
    assert code == 0 and stdout.startswith("21 tensors (21 F32), ")
    code, stdout, _ = hanlin("verify", base, "--json")
    assert code == 0 and json.loads(stdout)["findings"] == []


def test_verify_of_a_damaged_model(hanlin, tmp_path):
    model = make_tiny(tmp_path / "model")
    file = model / "model.safetensors"
    save_file({**load_file(file), "model.norm.weight": torch.full((32,), torch.nan)}, file)
    code, stdout, stderr = hanlin("verify", model)
    assert code == 4 and "32 NaN and 0 infinite of 32 values" in stdout
    assert "has 1 error" in stderr and "model.norm.weight: 32 NaN" in stderr
    code, stdout, _ = hanlin("verify", model, "--json")
    (finding,) = json.loads(stdout)["findings"]
    assert code == 4 and finding["level"] == "error"


def test_verify_of_nothing(hanlin, tmp_path):
    code, stdout, stderr = hanlin("verify", tmp_path)
    assert code == 4 and stdout == "" and "holds no checkpoint" in stderr
    code, _, stderr = hanlin("verify", tmp_path / "none")
    assert code == 4 and "none does not exist" in stderr
