"""`hanlin weights diff` and `recover`: models come back whole, errors have their exit codes."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from hanlin.cli.main import run_command
from hanlin.models.load import load_pair
from hanlin.models.tiny import make_tiny


@pytest.fixture
def hanlin(capsys):
    """Run a command; return exit code, stdout and stderr."""

    def run(*arguments):
        code = run_command(["weights", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def models(tmp_path):
    """A base, and a model that became of it."""
    base, tuned = make_tiny(tmp_path / "base"), make_tiny(tmp_path / "tuned")
    tensors = load_file(tuned / "model.safetensors")
    changed = {name: t * 1.001 for name, t in tensors.items() if "self_attn" in name}
    save_file(tensors | changed, tuned / "model.safetensors", metadata={"format": "pt"})
    return base, tuned


def test_a_model_comes_back_whole(hanlin, models, tmp_path):
    base, tuned = models
    code, stdout, stderr = hanlin("diff", base, tuned, tmp_path / "diff")
    assert code == 0 and stderr == ""
    assert stdout.startswith(f"{tmp_path / 'diff'}: 8 difference, 13 same; ")
    code, stdout, _ = hanlin("recover", base, tmp_path / "diff", tmp_path / "out")
    assert code == 0
    size = sum(tensor.nbytes for tensor in load_file(tuned / "model.safetensors").values())
    assert stdout == (
        f"{tmp_path / 'out'}: 21 tensors, {size / 1000:.1f} kB, all with the digests of tuned\n"
    )
    names = {file.name for file in tuned.iterdir()}
    assert {file.name for file in (tmp_path / "out").iterdir()} == names | {"tensors.json"}
    (one, tokenizer), (two, _) = load_pair(tuned), load_pair(tmp_path / "out")
    ids = torch.tensor([tokenizer.encode("The old bridge", at_start=True)])
    assert torch.equal(one(ids).logits, two(ids).logits)
    code, stdout, _ = hanlin("verify", tmp_path / "out")
    assert code == 0 and "digests compared" in stdout


def test_json(hanlin, models, tmp_path):
    base, tuned = models
    (tuned / "training_args.bin").write_bytes(b"x")
    code, stdout, _ = hanlin("diff", base, tuned, tmp_path / "diff", "--compress", "none", "--json")
    report = json.loads(stdout)
    assert code == 0 and report["modes"] == {"difference": 8, "same": 13}
    assert report["stored_bytes"] < report["tuned_bytes"]
    assert report["left_out"] == ["training_args.bin"] and report["removed"] == []
    code, stdout, _ = hanlin("recover", base, tmp_path / "diff", tmp_path / "out", "--json")
    report = json.loads(stdout)
    assert code == 0 and report["kind"] == "exact" and report["tuned"] == "tuned"
    assert report["tensors"] == 21 and "config.json" in report["files"]


def test_what_is_left_out_is_said(hanlin, models, tmp_path):
    base, tuned = models
    tensors = load_file(base / "model.safetensors")
    more = {f"more.{n}": torch.zeros(2) for n in range(5)}
    save_file(tensors | more, base / "model.safetensors", metadata={"format": "pt"})
    (tuned / "training_args.bin").write_bytes(b"x")
    _, stdout, _ = hanlin("diff", base, tuned, tmp_path / "diff")
    assert "not needed from the base: more.0, more.1, more.2 and 2 more\n" in stdout
    assert "left out, weights in another form: training_args.bin\n" in stdout


def test_additive(hanlin, models, tmp_path):
    base = models[0]
    old, new = (load_file(folder / "model.safetensors") for folder in models)
    (tmp_path / "diff").mkdir()
    diff = {name: t - old[name] for name, t in new.items()}
    torch.save(diff, tmp_path / "diff" / "pytorch_model.bin")
    code, stdout, _ = hanlin("recover", base, tmp_path / "diff", tmp_path / "out", "--json")
    report = json.loads(stdout)
    total = sum(float((diff[name] + t).double().sum()) for name, t in old.items())
    assert code == 0 and report["kind"] == "additive" and report["published"] is None
    assert report["check_sum"] == pytest.approx(total)
    out = tmp_path / "again"
    code, stdout, _ = hanlin("recover", base, tmp_path / "diff", out, "--expect-sum", total)
    assert code == 0 and f"all values add up to {total:.4f} (no published sum that we" in stdout
    code, stdout, stderr = hanlin(
        "recover", base, tmp_path / "diff", tmp_path / "third", "--expect-sum", "1"
    )
    assert code == 4 and stdout == "" and "not to 1.0000" in stderr


def test_exit_codes(hanlin, models, tmp_path):
    base, tuned = models
    assert hanlin("diff", base, tuned, tmp_path / "diff")[0] == 0
    code, stdout, stderr = hanlin("recover", tuned, tmp_path / "diff", tmp_path / "out")
    assert code == 4 and stdout == ""
    assert "tuned is not the base that diff was made from: the tensor " in stderr
    code, _, stderr = hanlin(
        "recover", base, tmp_path / "diff", tmp_path / "out", "--new-rows", "zero"
    )
    assert code == 2 and "--new-rows does not go with" in stderr
    code, _, stderr = hanlin("diff", base, tuned, tmp_path / "diff")
    assert code == 4 and "exists already" in stderr
    assert hanlin("diff", base, tuned, tmp_path / "diff", "--compress", "gzip")[0] == 2
    assert not (tmp_path / "out").exists()
