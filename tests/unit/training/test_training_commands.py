import json

import pytest
import yaml

from hanlin.cli.main import run_command
from hanlin.models.load import load_pair
from training_world import SCHEDULE


@pytest.mark.parametrize(
    ("command", "output"), [("pretrain", "model.safetensors"), ("finetune", "adapter_config.json")]
)
def test_a_stage_runs_as_a_command(world, tmp_path, capsys, command, output):
    values = world.inputs(command)
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(values))
    arguments = [command, "--config", str(tmp_path / "settings.yaml"), "--out"]
    arguments += [str(tmp_path / "made"), "--json", "--schedule.steps", "3", "--seed", "5"]
    assert run_command(arguments) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"out": str(tmp_path / "made")}
    assert "it/s" not in printed.err
    assert (tmp_path / "made" / output).is_file()
    steps = [json.loads(line) for line in (tmp_path / "made" / "events.jsonl").open()]
    assert max(event.get("step", 0) for event in steps) == 3


def test_settings_alone_are_enough_and_nothing_is_overwritten(world, tmp_path, capsys):
    arguments = ["pretrain", "--model", str(world.model), "--store", str(world.store)]
    arguments += ["--out", str(tmp_path / "made")]
    for key, value in {**SCHEDULE, "steps": 1}.items():
        arguments += [f"--schedule.{key}", str(value)]
    assert run_command(arguments) == 0
    load_pair(tmp_path / "made")
    assert run_command(arguments) == 4
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--schedule.step", "3"], 2, "did you mean 'steps'?"),
        (["--model", "nowhere", "--store", "none"], 4, "nowhere does not exist"),
        ([], 2, "model: this key is needed"),
    ],
)
def test_wrong_calls_say_what_is_wrong(tmp_path, capsys, more, code, message):
    assert run_command(["pretrain", "--out", str(tmp_path / "x"), *more]) == code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
