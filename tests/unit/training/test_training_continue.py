"""A finished run goes on with its optimizer and schedule, on its data from the beginning."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from hanlin.cli.main import run_command
from hanlin.core.errors import ConfigError, InputError
from hanlin.core.events import read_events
from hanlin.training import finetune, pretrain
from hanlin.training.schedule import Schedule
from training_world import bytes_of, run_stage

MODULES = {"pretrain": pretrain, "finetune": finetune}
FIRST, MORE = 12, 6


def metrics(context, name="metric"):
    return [e for e in read_events(context.events.path) if e["event"] == name]


@pytest.fixture(scope="module")
def first(world, tmp_path_factory):
    """Runs that kept their state."""
    folder, made = tmp_path_factory.mktemp("first"), {}
    for stage, module in MODULES.items():
        more = {"lora": {"rank": 4, "dropout": 0.2}} if stage == "finetune" else {}
        values = world.inputs(stage, keep_state=True, schedule={"steps": FIRST}, **more)
        made[stage] = run_stage(module, values, folder / stage)
    return made


def go_on(world, first, out, stage="finetune", *, notes=None, **settings):
    """Continue the first run of a stage."""
    schedule = {"steps": MORE, **settings.pop("schedule", {})}
    more = {"lora": {"dropout": 0.2}} if stage == "finetune" else {}
    state = settings.pop("state", first[stage].out / "state")
    values = world.inputs(stage, continue_from=str(state), schedule=schedule, **more, **settings)
    return run_stage(MODULES[stage], values, out, notes=notes)


@pytest.mark.parametrize("stage", list(MODULES))
def test_optimizer_and_schedule_go_on_and_the_data_begins_anew(world, tmp_path, first, stage):
    notes = []
    context = go_on(world, first, tmp_path / "out", stage, keep_state=True, notes=notes)
    found = metrics(context)
    total = FIRST + MORE
    assert [e["step"] for e in found] == list(range(FIRST + 1, total + 1))
    warmup = Schedule(steps=FIRST).warmup(FIRST)
    schedule = Schedule(steps=total, learning_rate=3e-3, warmup_steps=warmup)
    expected = [3e-3 * schedule.factor(step, total) for step in range(FIRST, total)]
    assert [e["learning_rate"] for e in found] == pytest.approx(expected)
    assert found[0]["tokens"] > metrics(first[stage])[-1]["tokens"]
    (told,) = [line for line in notes if line.startswith("continues from")]
    assert f"steps: {FIRST} made (of {FIRST}) + {MORE} new = {total}" in told
    assert f"goes on at {expected[0]:.3g}" in told and f"ends at {expected[-1]:.3g}" in told
    optimizer = torch.load(context.out / "state" / "optimizer.pt", weights_only=True)
    assert {float(own["step"]) for own in optimizer["state"].values()} == {total}
    # The first step goes through the rows that the first run began with.
    assert found[0]["loss"] < metrics(first[stage])[0]["loss"]
    assert (
        found[0]["tokens"] - metrics(first[stage])[-1]["tokens"]
        == (metrics(first[stage])[0]["tokens"])
    )


def test_a_continued_run_that_was_interrupted_ends_in_the_same_bytes(world, tmp_path, first):
    def interrupt(done, total, text):
        if done == FIRST + 3:
            raise KeyboardInterrupt

    schedule = {"save_every": 1}
    whole = go_on(world, first, tmp_path / "whole", schedule=schedule).out
    values = world.inputs(
        "finetune", continue_from=str(first["finetune"].out / "state"), lora={"dropout": 0.2},
        schedule={"steps": MORE, **schedule},
    )  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        run_stage(finetune, values, tmp_path / "cut", progress=interrupt)
    run_stage(finetune, values, tmp_path / "cut")
    assert bytes_of(tmp_path / "cut" / "adapter") == bytes_of(whole / "adapter")


def test_a_kept_state_is_the_same_after_an_interruption(world, tmp_path, first):
    values = world.inputs("pretrain", keep_state=True, schedule={"steps": FIRST})

    def interrupt(done, total, text):
        if done == FIRST:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_stage(pretrain, values, tmp_path / "cut", progress=interrupt)
    run_stage(pretrain, values, tmp_path / "cut")
    for output in ("model", "state"):
        assert bytes_of(tmp_path / "cut" / output) == bytes_of(first["pretrain"].out / output)


def test_steps_counted_as_chinese_vicuna_does(world, tmp_path, first):
    settings = {"compat": "chinese-vicuna", "schedule": {"steps": FIRST + 2}}
    context = go_on(world, first, tmp_path / "a", **settings)
    assert [e["step"] for e in metrics(context)] == [FIRST + 1, FIRST + 2]
    with pytest.raises(ConfigError) as caught:
        go_on(world, first, tmp_path / "b", compat="chinese-vicuna")
    told = str(caught.value)
    assert "nothing is left to train: 12 steps are made" in told and "the new 6 is 12" in told
    assert "delete compat to make 6 more" in told


def legacy(state, out, *, steps):
    """Write a state as Chinese-Vicuna's Trainer left its checkpoints."""
    shutil.copytree(state, out)
    tensors = load_file(out / "adapter_model.safetensors")
    for name in ("adapter_model.safetensors", "adapter_config.json", "state.json", "hanlin.json"):
        (out / name).unlink()
    names = {n: n.replace(".weight", ".default.weight") if ".lora_" in n else n for n in tensors}
    torch.save({names[n]: t for n, t in tensors.items()}, out / "pytorch_model.bin")
    record = {"global_step": FIRST, "max_steps": steps, "epoch": 1.0, "log_history": []}
    (out / "trainer_state.json").write_text(json.dumps(record))
    return out


def test_a_checkpoint_of_an_older_trainer(world, tmp_path, first):
    state = legacy(first["finetune"].out / "state", tmp_path / "checkpoint-12", steps=20)
    before = bytes_of(state)
    settings = {"compat": "chinese-vicuna", "state": state}
    values = world.inputs(
        "finetune", continue_from=str(state), lora={"rank": 4}, schedule={"steps": MORE},
        compat="chinese-vicuna",
    )  # fmt: skip
    context = run_stage(finetune, values, tmp_path / "out")
    assert settings and [e["step"] for e in metrics(context)] == list(range(FIRST + 1, 21))
    assert metrics(context)[0]["loss"] < metrics(first["finetune"])[0]["loss"]
    assert bytes_of(state) == before


def test_another_learning_rate_is_a_new_schedule(world, tmp_path, first):
    with pytest.raises(ConfigError) as caught:
        go_on(world, first, tmp_path / "out", schedule={"learning_rate": 1e-3})
    assert "schedule.learning_rate is 0.001, but" in str(caught.value)
    assert "--init-from" in str(caught.value)


def test_weights_alone_are_no_state(world, tmp_path, first):
    with pytest.raises(InputError) as caught:
        go_on(world, first, tmp_path / "out", state=first["finetune"].out / "adapter")
    assert "holds no state that training can be continued from" in str(caught.value)
    assert "it has no optimizer.pt" in str(caught.value)


@pytest.mark.parametrize("damage", ["half", "other", "record"])
def test_a_state_that_does_not_fit(world, tmp_path, first, damage):
    state = shutil.copytree(first["finetune"].out / "state", tmp_path / "state")
    if damage == "half":
        (state / "optimizer.pt").write_bytes((state / "optimizer.pt").read_bytes()[:100])
    elif damage == "other":
        shutil.copyfile(first["pretrain"].out / "state" / "optimizer.pt", state / "optimizer.pt")
    else:
        (state / "state.json").write_text("{}")
    with pytest.raises(InputError) as caught:
        go_on(world, first, tmp_path / "out", state=state)
    expected = {
        "half": "optimizer.pt cannot be read",
        "other": "does not belong to the weights that are trained",
        "record": "does not say how far the run came",
    }
    assert expected[damage] in str(caught.value)


def test_one_way_to_go_on(world):
    values = world.inputs("finetune", continue_from="a", init_from="b")
    with pytest.raises(ValueError, match="init_from and continue_from are both set"):
        finetune.Config.model_validate(values)
    with pytest.raises(ValueError, match="compat is set, but continue_from is not"):
        pretrain.Config.model_validate(world.inputs("pretrain", compat="chinese-vicuna"))


def arguments(world, *, out, **more):
    values = {
        "model": world.model, "store": world.chat, "out": out, "schedule.seq_len": 48,
        "schedule.micro_batch_size": 2, "schedule.steps": 3, "schedule.threads": 1, **more,
    }  # fmt: skip
    return [
        "finetune",
        *(str(word) for key, value in values.items() for word in (f"--{key}", value)),
    ]


def test_the_three_ways_on_the_command_line(world, tmp_path, capsys, first):
    adapter = first["finetune"].out / "adapter"
    assert run_command(arguments(world, out=tmp_path / "a", **{"init-from": adapter})) == 0
    config = json.loads((tmp_path / "a" / "adapter_config.json").read_text())
    assert config["r"] == 4  # what is not said follows the adapter
    state = first["finetune"].out / "state"
    assert run_command(arguments(world, out=tmp_path / "b", **{"continue": state})) == 0
    printed = capsys.readouterr()
    assert "12 made (of 12) + 3 new = 15" in printed.err and "⟦" in printed.err
    assert run_command([*arguments(world, out=tmp_path / "c"), "--resume"]) == 4
    assert "there is no interrupted run of these settings" in capsys.readouterr().err


def test_resume_goes_on_with_an_interrupted_command(world, tmp_path, capsys, monkeypatch):
    from hanlin.cli import console

    def interrupt(done, total, text):
        if done == 2:
            raise KeyboardInterrupt

    call = arguments(world, out=tmp_path / "a", **{"schedule.save_every": 1})
    monkeypatch.setattr(console, "progress", lambda: interrupt)
    assert run_command(call) == 130
    monkeypatch.undo()
    assert run_command([*call, "--resume"]) == 0
    assert (tmp_path / "a" / "adapter_config.json").is_file()
