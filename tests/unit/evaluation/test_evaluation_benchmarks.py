"""Benchmarks with a real tiny model (chance), and with an engine that knows the answers (1.0)."""

import csv
import json
import logging
import math
import random
from string import ascii_uppercase

import pytest
import torch

from hanlin.core.errors import ConfigError, InputError
from hanlin.evaluation.benchmark import BenchmarkConfig, Subject, spread
from hanlin.evaluation.benchmarks.bits_per_byte import text_windows
from hanlin.evaluation.run import run_benchmark, score_rows
from hanlin.extraction.facts import read_extractions
from hanlin.extraction.prompt import format_answer
from hanlin.extraction.schema import load_schemas
from hanlin.inference.engine import Generation, open_engine
from hanlin.models.load import load_model
from hanlin.models.tiny import make_tiny
from hanlin.prompts.formats import get_format

TOWNS = ["北河镇", "青石城", "Old Town", "南山村", "Lamwick", "东桥", "西渡", "Ribe Lum"]


class Oracle:
    """An engine that reads the prompt and knows what belongs there.

    `knows` maps the end of a prompt's text to the right answer.
    """

    def __init__(self, engine, knows):
        self.tokenizer, self.manifest, self.max_length = engine.tokenizer, {}, engine.max_length
        self.knows = knows

    def answer(self, prefix):
        text = self.tokenizer.decode(prefix)
        found = [right for question, right in self.knows.items() if question in text]
        return max(found, key=len)

    def score(self, requests):
        return [
            0.0 if self.tokenizer.decode_continuation(c).strip() == self.answer(p) else -1.0
            for p, c in requests
        ]

    def generate(self, prompts, _sampling):
        return [Generation(" " + self.answer(prompt), (), "eos") for prompt in prompts]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def engine(folder):
    return open_engine(str(folder))


def subject(engine):
    return Subject("model", engine, get_format("plain"))


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def questions(path, count, num_options, *, seed=0, place=None):
    draw = random.Random(seed)
    rows = []
    for number in range(count):
        options = [f"{draw.choice(TOWNS)} {draw.randrange(10**6)}" for _ in range(num_options)]
        answer = draw.randrange(num_options) if place is None else place
        question = f"第{number}个人出生在哪里？"
        rows.append(
            {"id": f"q{number}", "question": question, "options": options, "answer": answer,
             "subject": "born", "language": "zh"}
        )  # fmt: skip
    write_rows(path, rows)
    return {row["question"]: row["options"][row["answer"]] for row in rows}


def run(engine, benchmark, data, *, seed=0, **settings):
    config = BenchmarkConfig(id="b", benchmark=benchmark, data=str(data), **settings)
    result = run_benchmark(config, subject(engine), seed=seed)
    return result, score_rows(config, {"model": result})[0]


@pytest.mark.parametrize(
    ("num_options", "metric", "chance"), [(4, "accuracy", 0.25), (50, "mrr", 0.089984)]
)
def test_a_random_model_scores_near_chance(engine, tmp_path, num_options, metric, chance):
    questions(tmp_path / "q.jsonl", 160, num_options)
    result, row = run(engine, "questions", tmp_path / "q.jsonl")
    assert (row["metric"], row["language"], row["higher_is_better"]) == (metric, "zh", True)
    assert row["chance"] == pytest.approx(chance, abs=1e-6)
    score = row["scores"]["model"]
    assert score["low"] < chance < score["high"]
    assert score["n"] == 160 == len(result.records)
    assert len(result.records[0]["log_likelihoods"]) == num_options


@pytest.mark.parametrize("num_options", [4, 50])
@pytest.mark.parametrize("place", [0, 3])
@pytest.mark.parametrize("protocol", ["chat", "plain"])
def test_who_knows_all_answers_scores_one_wherever_they_stand(
    engine, tmp_path, num_options, place, protocol
):
    knows = questions(tmp_path / "q.jsonl", 12, num_options, place=place)
    oracle = Oracle(engine, knows)
    result, row = run(oracle, "questions", tmp_path / "q.jsonl", protocol=protocol)
    assert row["scores"]["model"]["value"] == 1.0
    assert all(record["rank"] == 1 for record in result.records)
    assert all(record["choice"] == place for record in result.records)


def test_the_metric_can_be_chosen(engine, tmp_path):
    questions(tmp_path / "q.jsonl", 8, 4)
    _, row = run(engine, "questions", tmp_path / "q.jsonl", metric="hit@5")
    assert (row["metric"], row["scores"]["model"]["value"], row["chance"]) == ("hit@5", 1.0, 1.0)
    with pytest.raises(ConfigError) as error:
        run(engine, "questions", tmp_path / "q.jsonl", metric="f1")
    assert "no metric 'f1'" in str(error.value)
    assert "accuracy, mrr, hit@5" in str(error.value)


def test_questions_without_an_answer_are_left_out_with_a_count(engine, tmp_path, caplog):
    questions(tmp_path / "q.jsonl", 3, 2)
    rows = [json.loads(line) for line in (tmp_path / "q.jsonl").read_text().splitlines()]
    write_rows(tmp_path / "q.jsonl", [rows[0] | {"answer": None}, *rows[1:]])
    with caplog.at_level(logging.WARNING):
        result, _ = run(engine, "questions", tmp_path / "q.jsonl")
    assert "1 of 3 questions have no answer" in caplog.text
    assert [record["id"] for record in result.records] == ["q1", "q2"]
    write_rows(tmp_path / "q.jsonl", [row | {"answer": None} for row in rows])
    with pytest.raises(InputError, match="none of the 3 questions has an answer"):
        run(engine, "questions", tmp_path / "q.jsonl")


def test_items_of_one_language_and_a_limit(engine, tmp_path):
    texts = [{"text": f"文字{n}", "language": "zh"} for n in range(10)]
    texts += [{"text": f"words {n}", "language": "en"} for n in range(10)]
    data = write_rows(tmp_path / "c.jsonl", texts)
    result, row = run(engine, "bits-per-byte", data, language="zh", limit=5)
    assert row["language"] == "zh"
    assert [record["source_line"] for record in result.records] == [1, 3, 5, 7, 9]
    _, row = run(engine, "bits-per-byte", data)
    assert (row["language"], row["scores"]["model"]["n"]) == ("", 20)
    with pytest.raises(InputError) as error:
        run(engine, "bits-per-byte", data, language="de")
    assert "has no item in the language 'de'" in str(error.value)
    assert "its items are in: en, zh" in str(error.value)


def test_a_limit_takes_from_everywhere():
    assert spread(range(10), 3) == [0, 3, 6]
    assert spread(range(3), 10) == [0, 1, 2]
    assert spread([], 2) == []


def exam_folder(tmp_path, *, split):
    draw = random.Random(0)
    knows = {}
    for part, count in (("dev", 5), (split, 6)):
        (tmp_path / part).mkdir()
        for name in ("law", "logic"):
            with (tmp_path / part / f"{name}_{part}.csv").open("w", newline="") as stream:
                writer = csv.writer(stream)
                writer.writerow(["id", "question", "A", "B", "C", "D", "answer"])
                for number in range(count):
                    question = f"{name}：{part}第{number}题是哪一个____。"
                    answer = draw.randrange(4)
                    knows[question] = ascii_uppercase[answer]
                    writer.writerow([number, question, *TOWNS[:4], ascii_uppercase[answer]])
    return knows


@pytest.mark.parametrize(
    ("benchmark", "split"), [("ceval", "val"), ("cmmlu", "test"), ("mmlu", "test")]
)
@pytest.mark.parametrize("protocol", ["chat", "plain"])
def test_exams_from_folders_of_csv_files(engine, tmp_path, benchmark, split, protocol):
    knows = exam_folder(tmp_path, split=split)
    oracle = Oracle(engine, {})

    def answer(prefix):  # the last question in the prompt is the one that is asked
        text = oracle.tokenizer.decode(prefix)
        return knows[max(knows, key=lambda question: text.rfind(question))]

    oracle.answer = answer
    oracle.max_length = 10_000
    result, row = run(oracle, benchmark, tmp_path, protocol=protocol)
    assert row["scores"]["model"] == pytest.approx(
        {"value": 1.0, "low": 0.757506, "high": 1.0, "n": 12}, abs=1e-4
    )
    assert {record["subject"] for record in result.records} == {"law", "logic"}
    _, row = run(oracle, benchmark, tmp_path, limit=4, shots=0)
    assert row["scores"]["model"]["n"] == 4


def test_exam_with_a_random_model_and_a_short_context(engine, tmp_path, caplog):
    exam_folder(tmp_path, split="val")
    with caplog.at_level(logging.WARNING):
        _, row = run(engine, "ceval", tmp_path)
    assert row["chance"] == 0.25
    assert "had room for fewer than 5 examples" in caplog.text


def test_exam_without_examples_or_split(engine, tmp_path):
    exam_folder(tmp_path, split="val")
    with pytest.raises(InputError) as error:
        run(engine, "cmmlu", tmp_path)
    assert "has no folder 'test'" in str(error.value)
    assert "it has: dev, val" in str(error.value)
    for file in (tmp_path / "dev").iterdir():
        file.unlink()
    (tmp_path / "dev").rmdir()
    with pytest.raises(ConfigError) as error:
        run(engine, "ceval", tmp_path)
    assert "shots is 5" in str(error.value)
    assert "shots: 0" in str(error.value)


def test_a_file_of_questions_has_no_examples(engine, tmp_path):
    questions(tmp_path / "q.jsonl", 2, 2)
    with pytest.raises(ConfigError, match="has no separate examples"):
        run(engine, "questions", tmp_path / "q.jsonl", shots=3)


def test_bits_per_byte_equal_a_plain_forward(folder, engine, tmp_path):
    texts = ["河流穿过古城，古桥横跨河流。", "The river runs 🙂", "ＡＢＣ 混合"]
    data = write_rows(tmp_path / "c.jsonl", [{"text": text} for text in texts])
    _, row = run(engine, "bits-per-byte", data)
    model, bits = load_model(folder), 0.0
    for text in texts:
        ids = [1, *engine.tokenizer.encode(text, at_start=True)]
        with torch.inference_mode():
            log_p = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        bits -= sum(log_p[i, t].item() for i, t in enumerate(ids[1:])) / math.log(2)
    num_bytes = sum(len(text.encode()) for text in texts)
    assert row["scores"]["model"]["value"] == pytest.approx(bits / num_bytes, abs=1e-5)
    assert (row["higher_is_better"], row["chance"]) == (False, None)


@pytest.mark.parametrize("length", [1, 15, 16, 17, 24, 25, 100])
def test_long_texts_are_scored_token_by_token_exactly_once(engine, length):
    ids = engine.tokenizer.encode("汉" * 100, at_start=True)[:length]
    text = engine.tokenizer.decode(ids).replace("\ufffd", "")
    ids = engine.tokenizer.encode(text, at_start=True)
    windows = list(text_windows(text, engine.tokenizer, max_length=16))
    assert [token for _, new in windows for token in new] == ids
    assert all(len(context) + len(new) - 1 <= 16 for context, new in windows)
    assert all(len(context) >= 8 for context, _ in windows[1:])


def test_tokens_per_character(engine, tmp_path):
    data = write_rows(tmp_path / "c.jsonl", [{"text": "汉字"}, {"text": "the river"}])
    result, row = run(engine, "tokens-per-character", data)
    tokens = [len(engine.tokenizer.encode(t, at_start=True)) for t in ("汉字", "the river")]
    assert row["scores"]["model"]["value"] == pytest.approx(sum(tokens) / 11, abs=1e-6)
    assert [record["tokens"] for record in result.records] == tokens


SCHEMA = """
zh: {entities: [人物, 城镇], relations: {出生地: [人物, 城镇]}}
en: {entities: [Person, Town], relations: {birthplace: [Person, Town]}}
"""


def extraction_data(tmp_path):
    (tmp_path / "schema.yaml").write_text(SCHEMA)
    rows = []
    for number in range(6):
        name, town = f"张{number}", f"镇{number}"
        zh = f"{name}生在{town}。"
        rows.append(
            {"id": f"zh{number}", "text": zh, "language": "zh",
             "entities": [{"text": name, "type": "人物", "start": 0, "end": len(name)},
                          {"text": town, "type": "城镇", "start": len(name) + 2,
                           "end": len(name) + 2 + len(town)}],
             "relations": [{"type": "出生地", "head": 0, "tail": 1}], "events": []}
        )  # fmt: skip
        text = f"Ann{number} was here."
        rows.append(
            {"id": f"en{number}", "text": text, "language": "en",
             "entities": [{"text": f"Ann{number}", "type": "Person", "start": 0, "end": 4}],
             "relations": [], "events": []}
        )  # fmt: skip
    return write_rows(tmp_path / "test.jsonl", rows), tmp_path / "schema.yaml"


def test_extraction_of_an_oracle_and_of_a_random_model(engine, tmp_path):
    data, schema = extraction_data(tmp_path)
    schemas = load_schemas(schema)
    knows = {e.text: format_answer(e, schemas[e.language]) for e in read_extractions(data)}
    result, row = run(Oracle(engine, knows), "extraction", data, schema_file=str(schema))
    assert row["metric"] == "f1"
    assert row["scores"]["model"] == {"value": 1.0, "low": 1.0, "high": 1.0, "n": 12}
    assert result.samples[0]["entities"] == result.samples[0]["gold"]["entities"]
    _, row = run(engine, "extraction", data, schema_file=str(schema), language="zh")
    assert row["scores"]["model"]["value"] < 0.1
    assert (row["scores"]["model"]["n"], row["language"]) == (6, "zh")


def test_extraction_needs_a_schema(engine, tmp_path):
    data, _ = extraction_data(tmp_path)
    with pytest.raises(ConfigError) as error:
        run(engine, "extraction", data)
    assert "has no schema_file" in str(error.value)


def test_unknown_benchmark_is_answered_with_the_nearest(engine, tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'questions'"):
        run(engine, "question", tmp_path)
