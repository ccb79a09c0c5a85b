"""The stage `dpo`: its rows, its prompts, and what it teaches a tiny model."""

import json

import pytest
import torch
from safetensors.torch import load_file

from hanlin.cli.main import run_command
from hanlin.core.errors import ConfigError, InputError, MissingExtraError
from hanlin.core.events import read_events
from hanlin.core.records import Message
from hanlin.data.readers import BadRows
from hanlin.data.readers.preferences import Preference, read_preferences
from hanlin.models.load import load_pair
from hanlin.models.manifest import read_manifest
from hanlin.prompts.encode import encode_prompt
from hanlin.prompts.formats import get_format
from hanlin.training import dpo
from hanlin.training.saved_adapter import WEIGHTS
from training_world import bytes_of, run_stage, write_rows

ROWS = [
    {"prompt": f"{word} 谁写了书？", "chosen": "老师写的", "rejected": f"the {word} river"}
    for word in ("old", "book", "lamp", "king", "town", "clock")
]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    file = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    write_rows(file, ROWS)
    return file


def inputs(world, pairs, **settings):
    schedule = {
        "steps": 12, "seq_len": 64, "micro_batch_size": 2, "learning_rate": 3e-3, "threads": 1,
        "log_every": 1, "save_every": 4, **settings.pop("schedule", {}),
    }  # fmt: skip
    return {
        "model": str(world.model), "preferences": [str(pairs)], "prompt": "plain",
        "schedule": schedule, **settings,
    }  # fmt: skip


def metrics(context):
    return [e for e in read_events(context.events.path) if e["event"] == "metric"]


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_better_answers_become_more_likely(world, pairs, tmp_path, method):
    notes = []
    context = run_stage(dpo, inputs(world, pairs, method=method), tmp_path / "out", notes=notes)
    found = metrics(context)
    assert found[0]["loss"] == pytest.approx(0.6931, abs=1e-3)  # -log sigmoid(0)
    assert found[-1]["loss"] < 0.6 and found[-1]["rewards_margins"] > 0.1
    assert "better: 老师写的" in notes[0] and "worse: the" in notes[0]
    folder = context.out / ("model" if method == "full" else "adapter")
    assert read_manifest(folder)["prompt"]["format"] == "plain"
    names = {file.name for file in folder.rglob("*") if file.is_file()}
    assert not any("ref" in name or name.endswith(".bin") for name in names)
    if method == "full":
        return
    assert names == {"adapter_config.json", "adapter_model.safetensors", "hanlin.json"}


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_grown_rows_are_trained_and_others_stay(world, pairs, tmp_path, method):
    values = inputs(world, pairs, method=method, schedule={"steps": 3})
    context = run_stage(dpo, values, tmp_path / "out")
    saved = load_file(context.out / "adapter" / WEIGHTS)
    rows = [value for name, value in saved.items() if "trainable_tokens_delta" in name]
    base = load_file(world.model / "model.safetensors")
    assert len(rows) == 2 and all(own.dtype == torch.float32 for own in saved.values())
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        assert not any(torch.equal(own, base[name][-len(own) :]) for own in rows)
    frozen = {**values, "lora": {"grown_rows": "freeze"}}
    context = run_stage(dpo, frozen, tmp_path / "frozen")
    assert not any("token" in name for name in load_file(context.out / "adapter" / WEIGHTS))


def test_an_adapter_that_it_starts_from_is_what_it_is_kept_near(world, pairs, tmp_path):
    first = run_stage(dpo, inputs(world, pairs, schedule={"steps": 3}), tmp_path / "first")
    values = inputs(world, pairs, init_from=str(first.out / "adapter"), schedule={"steps": 1})
    again = run_stage(dpo, values, tmp_path / "again")
    assert metrics(first)[-1]["loss"] < 0.69  # both answers had moved, the rows among them
    assert metrics(again)[0]["loss"] == pytest.approx(0.6931, abs=1e-4)


def test_its_loss_is_dpo_s(world, pairs, tmp_path):
    settings = {"method": "full", "beta": 0.5}
    schedule = {"micro_batch_size": 6, "scheduler": "constant", "warmup_steps": 0}
    once = inputs(world, pairs, schedule={**schedule, "steps": 1}, **settings)
    context = run_stage(dpo, once, tmp_path / "a")
    before, after = load_pair(world.model)[0], load_pair(context.out / "model")[0]
    rows = [json.loads(line) for line in (context.out / "pairs.jsonl").read_text().splitlines()]

    def log_likelihood(model, prompt, answer):
        ids = torch.tensor([prompt + answer])
        with torch.no_grad():
            scores = model(input_ids=ids).logits[0, :-1].log_softmax(-1)
        return float(scores.gather(1, ids[0, 1:, None])[len(prompt) - 1 :].sum())

    def loss(model):
        margins = [
            log_likelihood(model, r["prompt_ids"], r["chosen_ids"])
            - log_likelihood(before, r["prompt_ids"], r["chosen_ids"])
            - log_likelihood(model, r["prompt_ids"], r["rejected_ids"])
            + log_likelihood(before, r["prompt_ids"], r["rejected_ids"])
            for r in rows
        ]  # fmt: skip
        return -torch.nn.functional.logsigmoid(0.5 * torch.tensor(margins)).mean()

    twice = inputs(world, pairs, schedule={**schedule, "steps": 2}, **settings)
    second = metrics(run_stage(dpo, twice, tmp_path / "b"))[1]["loss"]
    assert float(loss(before)) == pytest.approx(0.6931, abs=1e-4)
    assert second == pytest.approx(float(loss(after)), abs=1e-4)


def test_prompts_are_those_of_chat(world, pairs, tmp_path):
    context = run_stage(dpo, inputs(world, pairs, schedule={"steps": 1}), tmp_path / "out")
    _, tokenizer = load_pair(world.model)
    first = json.loads((context.out / "pairs.jsonl").read_text().splitlines()[0])
    messages = [Message("user", ROWS[0]["prompt"])]
    expected = encode_prompt(messages, format=get_format("plain"), tokenizer=tokenizer)
    assert first["prompt_ids"] == expected
    for answer in (first["chosen_ids"], first["rejected_ids"]):
        assert answer.count(tokenizer.eos_id) == 1 and answer[-1] == tokenizer.eos_id


@pytest.mark.parametrize("method", ["lora", "full"])
def test_interrupted_and_repeated_it_ends_in_the_same_bytes(world, pairs, tmp_path, method):
    def interrupt(done, total, text):
        if done == 7:
            raise KeyboardInterrupt

    values = inputs(world, pairs, method=method)
    run_stage(dpo, values, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run_stage(dpo, values, tmp_path / "cut", progress=interrupt)
    run_stage(dpo, values, tmp_path / "cut")
    output = "model" if method == "full" else "adapter"
    assert bytes_of(tmp_path / "cut" / output) == bytes_of(tmp_path / "whole" / output)


CHAT = [{"role": "user", "content": "谁？"}]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "谁？", "chosen": "老师", "rejected": "河"},
        {"instruction": "谁？", "input": "", "chosen": "老师", "rejected": "河"},
        {"prompt": CHAT, "chosen": [{"role": "assistant", "content": "老师"}], "rejected": "河"},
        {"messages": CHAT, "chosen": "老师", "rejected": {"role": "assistant", "content": "河"}},
        {
            "conversations": [{"from": "human", "value": "谁？"}],
            "chosen": {"from": "gpt", "value": "老师"},
            "rejected": {"from": "gpt", "value": "河"},
        },
        {
            "chosen": [*CHAT, {"role": "assistant", "content": "老师"}],
            "rejected": [*CHAT, {"role": "assistant", "content": "河"}],
        },
    ],
)
def test_shapes_of_rows(tmp_path, row):
    write_rows(tmp_path / "rows.jsonl", [row])
    (found,) = read_preferences(tmp_path / "rows.jsonl")
    assert found == Preference(
        (Message("user", "谁？"),), "老师", "河", str(tmp_path / "rows.jsonl"), 1
    )


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "谁？", "chosen": "老师"}, "has the fields chosen and rejected"),
        ({"prompt": "谁？", "chosen": "同", "rejected": "同"}, "are the same"),
        ({"prompt": "谁？", "chosen": " ", "rejected": "河"}, "an answer is empty"),
        ({"chosen": "老师", "rejected": "河"}, "no question comes before the answers"),
        (
            {"chosen": [*CHAT, {"role": "assistant", "content": "a"}], "rejected": "b"},
            "answer different conversations",
        ),
        ({"prompt": "谁？", "chosen": CHAT, "rejected": "b"}, "is no answer"),
        ({"prompt": [1], "chosen": "a", "rejected": "b"}, "expected a turn, found int"),
    ],
)
def test_rows_that_cannot_be_used_are_counted(tmp_path, row, reason):
    write_rows(tmp_path / "rows.jsonl", [ROWS[0], row])
    bad = BadRows(0.5)
    assert len(list(read_preferences(tmp_path / "rows.jsonl", bad=bad))) == 1
    assert bad.bad == 1 and reason in bad.rows[0].reason


def test_pairs_that_are_too_long_are_counted_and_none_left_is_refused(world, tmp_path):
    file = tmp_path / "rows.jsonl"
    write_rows(file, [*ROWS[:2], {**ROWS[2], "chosen": "古城 " * 60}])
    notes = []
    values = inputs(world, file, schedule={"steps": 1})
    run_stage(dpo, values, tmp_path / "out", notes=notes)
    assert any("1 of 3 pairs are longer than 64 tokens" in note for note in notes)
    values = inputs(world, file, schedule={"steps": 1, "seq_len": 8})
    with pytest.raises(InputError, match="no preference fits into 8 tokens: 3 are longer"):
        run_stage(dpo, values, tmp_path / "short")


def test_a_model_without_a_prompt_needs_one_named(world, pairs, tmp_path):
    values = {**inputs(world, pairs), "prompt": None}
    with pytest.raises(ConfigError) as caught:
        run_stage(dpo, values, tmp_path / "out")
    assert "does not say which prompt format it was tuned on" in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lora": {"dropout": 0.1}}, "lora.dropout is set"),
        ({"keep_state": True}, "keep_state cannot be set"),
        ({"source_rows": {"a": 2}}, "source_rows cannot be set"),
        ({"sharding": {"zero": 2}, "processes": 2}, "sharding.zero cannot be set for dpo"),
    ],
)
def test_settings_that_are_refused(world, pairs, settings, message):
    with pytest.raises(ValueError, match=message):
        dpo.Config.model_validate(inputs(world, pairs, **settings))


def test_without_trl(world, pairs, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "trl", None)
    with pytest.raises(MissingExtraError, match=r"hanlin\[dpo\]"):
        run_stage(dpo, inputs(world, pairs), tmp_path / "out")


def test_the_command(world, pairs, tmp_path, capsys):
    arguments = [
        "dpo", "--model", world.model, "--preferences", f"[{pairs}]", "--prompt", "plain",
        "--out", tmp_path / "made", "--json", "--schedule.steps", 1, "--schedule.seq_len", 64,
        "--schedule.micro_batch_size", 2, "--schedule.threads", 1,
    ]  # fmt: skip
    assert run_command([str(word) for word in arguments]) == 0
    assert json.loads(capsys.readouterr().out) == {"out": str(tmp_path / "made")}
    assert (tmp_path / "made" / "adapter_config.json").is_file()
