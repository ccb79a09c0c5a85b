"""Places that a result cannot have, sizes that are no numbers: refused before all is lost."""

import json

import pytest

from hanlin.cli.main import run_command
from hanlin.core.files import list_files, write_json
from hanlin.models.tiny import make_tiny
from hanlin.weights.diff.diff import make_diff


@pytest.fixture
def models(tmp_path, monkeypatch):
    """Work in a folder that holds a model, its diff to itself, an adapter's settings and a note."""
    monkeypatch.chdir(tmp_path)
    model = make_tiny(tmp_path / "all" / "model")
    make_diff(model, model, tmp_path / "own" / "diff")
    (tmp_path / "all" / "note.txt").write_text("kept")
    write_json(tmp_path / "adapter" / "adapter_config.json", {"peft_type": "LORA"})
    return tmp_path


COMMANDS = {
    "convert": lambda out: ["weights", "convert", "all/model", out, "--to", "hf"],
    "diff": lambda out: ["weights", "diff", "all/model", "all/model", out],
    "download": lambda out: ["weights", "download", "all/model", out],
    "quantize": lambda out: ["weights", "quantize", "all/model", out, "--method", "int8"],
    "recover": lambda out: ["weights", "recover", "all/model", "own/diff", out],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("out", [".", "..", "x/.."])
def test_the_current_folder_is_no_result(models, capsys, command, out):
    before = list_files(models)
    assert run_command([*COMMANDS[command](out), "--force"]) == 2
    assert "cannot be the folder of a result" in capsys.readouterr().err
    assert list_files(models) == before


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("out", ["all", "all/model", "../{name}/all"])
def test_force_never_replaces_an_input(models, capsys, command, out):
    before = {file: file.read_bytes() for file in list_files(models)}
    out = out.format(name=models.name)
    assert run_command([*COMMANDS[command](out), "--force"]) == 4
    err = capsys.readouterr().err
    assert "holds the input" in err and "fix: give another place" in err
    assert {file: file.read_bytes() for file in list_files(models)} == before


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("out", ["all/note.txt", "all/note.txt/below"])
def test_a_file_is_refused_before_the_work(models, capsys, command, out):
    assert run_command([*COMMANDS[command](out), "--force"]) == 4
    err = capsys.readouterr().err
    assert "all/note.txt is a file" in err and "fix:" in err
    assert (models / "all" / "note.txt").read_text() == "kept"
    assert not list(models.rglob("*.work"))


@pytest.mark.parametrize("size", ["inf", "nan", "1e400"])
@pytest.mark.parametrize("command", ["convert", "merge", "recover"])
def test_sizes_without_end_are_wrong_usage(models, capsys, command, size):
    words = {
        "convert": ["all/model", "out", "--to", "hf"],
        "merge": ["all/model", "adapter", "out"],
        "recover": ["all/model", "own/diff", "out"],
    }
    assert run_command(["weights", command, *words[command], "--max-shard-gb", size]) == 2
    assert "is no number that can be used" in capsys.readouterr().err


def test_convert_says_where_the_model_is(models, capsys):
    assert run_command(["weights", "convert", "all", "out", "--to", "hf"]) == 4
    assert "fix: give all/model" in capsys.readouterr().err
    assert run_command(["weights", "convert", "adapter", "out", "--to", "hf"]) == 4
    assert "hanlin weights merge BASE adapter MERGED" in capsys.readouterr().err


def test_merge_tells_a_missing_adapter_from_a_folder_that_is_none(models, capsys):
    assert run_command(["weights", "merge", "all/model", "nowhere", "out"]) == 4
    assert "the adapter nowhere does not exist" in capsys.readouterr().err
    assert run_command(["weights", "merge", "all/model", "all", "out"]) == 4
    assert "is not an adapter" in capsys.readouterr().err


def test_merge_never_replaces_an_adapter_or_its_base(models, capsys):
    base = make_tiny(models / "base")
    import torch
    from safetensors.torch import save_file

    name = "base_model.model.model.layers.0.self_attn.q_proj"
    save_file(
        {f"{name}.lora_A.weight": torch.ones(2, 32), f"{name}.lora_B.weight": torch.ones(32, 2)},
        models / "adapter" / "adapter_model.safetensors",
    )
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": ["q_proj"],
              "layers_to_transform": [0], "bias": "none", "task_type": "CAUSAL_LM"}  # fmt: skip
    write_json(models / "adapter" / "adapter_config.json", config)
    for out in (base, models / "adapter"):
        words = ["weights", "merge", str(base), "adapter", str(out), "--no-check", "--force"]
        assert run_command(words) == 4
        assert "holds the input" in capsys.readouterr().err
    assert run_command(["weights", "merge", "base", "adapter", "base/merged", "--no-check"]) == 0


def test_recover_never_replaces_its_diff(models, capsys):
    before = {file: file.read_bytes() for file in list_files(models)}
    assert run_command([*COMMANDS["recover"]("own/diff"), "--force"]) == 4
    assert "own/diff holds the input" in capsys.readouterr().err
    assert {file: file.read_bytes() for file in list_files(models)} == before


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_gguf_never_replaces_a_file_of_its_model(models, capsys, name):
    before = {file: file.read_bytes() for file in list_files(models)}
    words = ["weights", "gguf", "all/model", f"all/model/{name}", "--force", "--no-check"]
    assert run_command(words) == 4
    assert f"all/model/{name} is a file of the model" in capsys.readouterr().err
    assert {file: file.read_bytes() for file in list_files(models)} == before


def test_a_run_directory_means_its_last_model(models, capsys):
    (models / "run" / "merge").mkdir(parents=True)
    (models / "all" / "model").rename(models / "run" / "merge" / "model")
    record = {"outputs": [{"kind": "model", "path": "model"}]}
    write_json(models / "run" / "merge" / "stage.json", record)
    for words in (
        ["verify", "run"],
        ["convert", "run", "converted", "--to", "hf"],
        ["gguf", "run", "model.gguf", "--no-check"],
        ["quantize", "run", "int8", "--method", "int8"],
        ["diff", "run", "run", "own-diff"],
        ["recover", "run", "own-diff", "recovered"],
    ):
        assert run_command(["weights", *words]) == 0, words
    assert (models / "recovered" / "model.safetensors").is_file()
    capsys.readouterr()
    assert run_command(["weights", "verify", "run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["dir"] == "run/merge/model"
