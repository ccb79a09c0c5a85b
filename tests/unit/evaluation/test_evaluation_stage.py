"""The stage `evaluate`: scores.json and records as the report reads them, the same every time."""

import json

import pytest

from hanlin.core.config import ConfigSource, validate
from hanlin.core.errors import ConfigError
from hanlin.core.events import EventLog, read_events
from hanlin.core.stage import StageContext
from hanlin.evaluation.evaluate import STAGE, Config
from hanlin.models.tiny import make_tiny

SCHEMA = "zh: {entities: [人物, 城镇]}\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate")
    make_tiny(folder / "before", seed=0)
    make_tiny(folder / "after", seed=1)
    rows = [
        {"id": f"q{n}", "question": f"问题{n}？", "options": ["甲", "乙", "丙", "丁"],
         "answer": n % 4, "subject": "s", "language": "zh"}
        for n in range(6)
    ]  # fmt: skip
    examples = [
        {"id": f"e{n}", "text": f"张{n}来了。", "language": "zh", "relations": [], "events": [],
         "entities": [{"text": f"张{n}", "type": "人物", "start": 0, "end": 2}]}
        for n in range(3)
    ]  # fmt: skip
    for name, content in (("questions", rows), ("test", examples)):
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in content]
        (folder / f"{name}.jsonl").write_text("".join(lines))
    (folder / "schema.yaml").write_text(SCHEMA)
    return folder


def config(folder, **changes):
    values = {
        "models": {"before": str(folder / "before"), "after": str(folder / "after")},
        "benchmarks": [
            {"id": "four-zh", "benchmark": "questions", "data": str(folder / "questions.jsonl"),
             "label": "Four options"},
            {"id": "ie", "benchmark": "extraction", "data": str(folder / "test.jsonl"),
             "schema_file": str(folder / "schema.yaml"), "max_new_tokens": 8},
        ],
        "dialogues": [
            {"language": "zh", "prompt": "你好！"},
            {"language": "en", "messages": [
                {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"},
                {"role": "user", "content": "Who wrote it?"}]},
        ],
        "max_new_tokens": 6,
        "shown_extractions": 2,
    }  # fmt: skip
    return validate(Config, values | changes, source=ConfigSource("recipe.yaml", folder))


def run(settings, out):
    seen = []
    context = StageContext(
        "evaluate", out, 17, EventLog(out.parent / f"{out.name}-events.jsonl"),
        lambda done, total, text: seen.append((done, total, text)),
    )  # fmt: skip
    STAGE.run(settings, context)
    return json.loads((out / "scores.json").read_text()), seen


def test_scores_records_dialogues_and_extractions(folder, tmp_path):
    scores, seen = run(config(folder), tmp_path / "out")
    assert (scores["version"], scores["models"]) == (1, ["before", "after"])
    assert [row["benchmark"] for row in scores["rows"]] == ["four-zh", "ie", "ie-entities"]
    row = scores["rows"][0]
    assert (row["label"], row["language"], row["metric"]) == ("Four options", "zh", "accuracy")
    assert (row["chance"], row["higher_is_better"]) == (0.25, True)
    assert set(row["scores"]["after"]) == {"value", "low", "high", "n"}
    first, second = scores["dialogues"]
    assert (first["language"], first["prompt"]) == ("zh", "你好！")
    assert second["prompt"] == "Hi\nYes?\nWho wrote it?"
    assert isinstance(first["before"], str)
    assert first["before"] != first["after"]
    assert [sample["id"] for sample in scores["extractions"]] == ["e0", "e1"]
    assert scores["extractions"][0]["gold"]["entities"][0]["text"] == "张0"
    records = sorted(file.name for file in (tmp_path / "out" / "records").iterdir())
    assert records == ["four-zh-after.jsonl", "four-zh-before.jsonl", "ie-after.jsonl",
                       "ie-before.jsonl"]  # fmt: skip
    line = (tmp_path / "out" / "records" / records[0]).read_text().splitlines()[0]
    assert set(json.loads(line)) >= {"id", "log_likelihoods", "rank", "answer", "choice"}
    assert seen[0] == (0, 4, "before: four-zh")
    assert seen[-1] == (4, 4, "after")
    events = list(read_events(tmp_path / "out-events.jsonl"))
    measured = {(event["model"], event["benchmark"], event["metric"]) for event in events}
    assert measured >= {("before", "four-zh", "mrr"), ("after", "ie", "f1")}


def test_a_second_run_writes_the_same_bytes_over_what_an_interrupted_one_left(folder, tmp_path):
    out = tmp_path / "out"
    run(config(folder), out)
    before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    (out / "records" / "four-zh-before.jsonl").write_text("half a")
    (out / "records" / "stale.jsonl").write_text("of another config")
    run(config(folder), out)
    assert {file: file.read_bytes() for file in out.rglob("*") if file.is_file()} == before


def test_the_prompt_of_models_without_one(folder, tmp_path):
    plain, _ = run(config(folder), tmp_path / "a")
    alpaca, _ = run(config(folder, prompt="alpaca"), tmp_path / "b")
    assert plain["dialogues"][0]["before"] != alpaca["dialogues"][0]["before"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"benchmarks": [{"id": "a", "benchmark": "questions", "data": "x"}] * 2},
         "two benchmarks have the id 'a'"),
        ({"models": {"a/b": "x"}}, "'a/b' cannot be a model's name"),
        ({"models": {}}, "at least 1"),
        ({"dialogues": [{"language": "zh"}]}, "give either prompt or messages"),
        ({"dialogues": [{"language": "zh", "prompt": "x",
                         "messages": [{"role": "user", "content": "y"}]}]},
         "give either prompt or messages"),
        ({"dialogues": [{"language": "zh", "messages": [{"role": "assistant", "content": "y"}]}]},
         "must be the user's"),
        ({"benchmarks": [{"id": "a b", "benchmark": "questions", "data": "x"}]}, "pattern"),
        ({"benchmarks": [{"id": "a", "benchmark": "questions", "dat": "x"}]},
         "did you mean 'data'"),
    ],
)  # fmt: skip
def test_wrong_settings_are_named(folder, changes, message):
    with pytest.raises(ConfigError) as error:
        config(folder, **changes)
    assert message in str(error.value)


def test_the_estimate_needs_no_model(folder):
    assert STAGE.estimate(config(folder)).memory_bytes > 0
    missing = config(folder, models={"after": "/nowhere"})
    assert STAGE.estimate(missing).memory_bytes is None
