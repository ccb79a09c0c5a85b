"""All exams and protocols: who knows the answers scores 1.0, a random model chance."""

import json
import random
from string import ascii_uppercase

import pytest

from hanlin.core.errors import InputError
from hanlin.core.records import Question
from hanlin.data.readers import BadRows
from hanlin.data.readers.questions_gaokao import read_agieval, read_gaokao_bench
from hanlin.evaluation.benchmark import BenchmarkConfig, Subject
from hanlin.evaluation.generated import letters_in, matches
from hanlin.evaluation.option_pool import fill_up
from hanlin.evaluation.published import published
from hanlin.evaluation.run import run_benchmark
from hanlin.evaluation.statistics import mcnemar, paired_difference, wilson_mean
from hanlin.evaluation.subjects import CEVAL_HARD, subjects_of
from hanlin.evaluation.submission import predict
from hanlin.inference.engine import Generation, open_engine
from hanlin.models.tiny import make_tiny
from hanlin.prompts.formats import get_format

OPTIONS = ["河", "山", "海", "湖"]
PROTOCOLS = ["chat", "plain", "official", "lm-eval", "cutegpt-mrr"]


class Oracle:
    """Knows the letter and the text that answer the last question of a prompt."""

    manifest = {}
    max_length = 20_000

    def __init__(self, engine, knows):
        self.tokenizer, self.knows = engine.tokenizer, knows

    def right(self, prefix):
        text = self.tokenizer.decode(prefix)
        return self.knows[max(self.knows, key=text.rfind)]

    def score(self, requests):
        return [
            0.0 if self.tokenizer.decode_continuation(c).strip() in self.right(p) else -1.0
            for p, c in requests
        ]

    def generate(self, prompts, _sampling):
        return [Generation(f"答案：{self.right(p)[0]}", (), "eos") for p in prompts]


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    return open_engine(str(make_tiny(tmp_path_factory.mktemp("tiny"))))


def exam(folder, *, place=None, count=6, hidden=0):
    """Write an M3KE-like exam in two splits; return what is right."""
    draw, knows = random.Random(0), {}
    for split in ("dev", "val", "test"):
        (folder / split).mkdir()
        for name in ("law", "logic"):
            rows = []
            for number in range(count):
                question = f"{split}{name}第{number}题是什么？"
                options = [f"{option}{name}{split}{number}" for option in OPTIONS]
                answer = draw.randrange(4) if place is None else place
                knows[question] = (ascii_uppercase[answer], options[answer])
                letter = "" if number < hidden else ascii_uppercase[answer]
                cells = dict(zip("ABCD", options, strict=True))
                rows.append({"id": number, "question": question, **cells, "answer": letter})
            lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
            (folder / split / f"{name}.jsonl").write_text("".join(lines))
    return knows


def run(engine, benchmark, data, **settings):
    config = BenchmarkConfig(id=benchmark, benchmark=benchmark, data=str(data), **settings)
    subject = Subject("model", engine, get_format("plain"))
    return run_benchmark(config, subject, seed=0)


@pytest.mark.parametrize("place", [0, 3])
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("benchmark", ["ceval", "mmlu", "m3ke"])
def test_an_oracle_scores_one_wherever_the_answer_stands(
    engine, tmp_path, benchmark, protocol, place
):
    oracle = Oracle(engine, exam(tmp_path, place=place))
    options = 20 if protocol == "cutegpt-mrr" else None
    result = run(oracle, benchmark, tmp_path, protocol=protocol, shots=2, options=options)
    values = {m.metric: m.estimate.value for m in result.measures}
    assert (values["accuracy"], values["mrr"], values["hit@1"]) == (1.0, 1.0, 1.0)
    assert result.details["subjects"].keys() == {"law", "logic"}


@pytest.mark.parametrize("scorer", ["text", "text-norm", "pmi", "generate", "cot"])
def test_an_oracle_scores_one_with_every_scorer(engine, tmp_path, scorer):
    oracle = Oracle(engine, exam(tmp_path))
    result = run(oracle, "ceval", tmp_path, scorer=scorer, shots=2)
    assert result.measures[0].estimate.value == 1.0


def test_prompts_of_lm_eval_and_of_the_authors(engine, tmp_path):
    seen = []
    oracle = Oracle(engine, exam(tmp_path, place=1))
    score = oracle.score
    oracle.score = lambda requests: seen.extend(requests) or score(requests)
    run(oracle, "ceval", tmp_path, protocol="lm-eval", shots=1, limit=1)
    prefix, continuation = seen[1]
    assert oracle.tokenizer.decode(prefix) == (
        "以下是中国关于法学的单项选择题，请选出其中的正确答案。\n\n"
        "devlaw第0题是什么？\nA. 河lawdev0\nB. 山lawdev0\nC. 海lawdev0\nD. 湖lawdev0\n答案： B\n\n"
        "vallaw第0题是什么？\nA. 河lawval0\nB. 山lawval0\nC. 海lawval0\nD. 湖lawval0\n答案："
    )
    assert oracle.tokenizer.decode_continuation(continuation) == " B"
    seen.clear()
    run(oracle, "ceval", tmp_path, shots=0, limit=1)
    prefix, continuation = seen[1]
    text = oracle.tokenizer.decode([*prefix, *continuation])
    assert text.startswith("以下是中国关于法学考试的单项选择题")
    assert text.endswith("答案：B")


def test_hidden_answers_are_counted_and_can_be_submitted(engine, tmp_path):
    knows = exam(tmp_path, hidden=2)
    oracle = Oracle(engine, knows)
    result = run(oracle, "m3ke", tmp_path, shots=12)
    assert (result.details["hidden_answers"], result.details["questions"]) == (12, 24)
    assert len(result.details["missing_subjects"]) == 71
    assert result.details["fewer_shots"] == 24
    subject = Subject("m", oracle, get_format("plain"))
    config = BenchmarkConfig(id="c", benchmark="ceval", data=str(tmp_path), shots=0)
    found = predict(config, subject, seed=0)
    right = {str(n): knows[f"vallaw第{n}题是什么？"][0] for n in range(2)}
    assert found["law"] == right
    (tmp_path / "whole").mkdir()
    exam(tmp_path / "whole")
    whole = config.model_copy(update={"data": str(tmp_path / "whole")})
    with pytest.raises(InputError, match="every question has its answer"):
        predict(whole, subject, seed=0)


def xiezhi(folder, count=60):
    draw, knows, rows = random.Random(1), {}, []
    for number in range(count):
        options = [f"{draw.choice(OPTIONS)}{number}{letter}" for letter in "abcd"]
        question = f"第{number}题_____"
        knows[question] = ("", options[number % 4])
        rows.append({"question": question, "labels": ["历史学", "文学"],
                     "answer": options[number % 4],
                     "options": "\n".join(options) + '"'})  # fmt: skip
    rows.append({"question": "x", "labels": ["文学"], "answer": "none", "options": "a\nb\nc\nd"})
    for part in ("spec", "train"):
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        (folder / f"xiezhi_{part}_chn.jsonl").write_text("".join(lines))
    return knows


@pytest.mark.parametrize("shots", [0, 3])
@pytest.mark.parametrize("shuffle", [True, False])
def test_xiezhi_ranks_fifty_options(engine, tmp_path, shots, shuffle):
    oracle = Oracle(engine, xiezhi(tmp_path))
    result = run(oracle, "xiezhi", tmp_path, shots=shots, shuffle=shuffle)
    values = {m.metric: (m.estimate.value, m.chance) for m in result.measures}
    assert result.measures[0].metric == "mrr"
    assert values["mrr"] == (1.0, pytest.approx(0.08998, abs=1e-5))
    assert {len(record["options"]) for record in result.records} == {50}
    assert all(record["answer"] < 4 for record in result.records) == (not shuffle)
    assert result.details["bad_rows"]["count"] == 1
    assert result.details["disciplines"]["文学"]["mrr"] == 1.0


def test_a_random_model_is_within_the_interval_of_chance(engine, tmp_path):
    xiezhi(tmp_path, count=150)
    for options, metric in ((50, "mrr"), (4, "accuracy")):
        result = run(engine, "xiezhi", tmp_path, options=options)
        measure = result.measures[0]
        assert measure.metric == metric
        assert measure.estimate.low < measure.chance < measure.estimate.high


def test_options_are_filled_up_the_same_way_everywhere():
    pool = [Question(f"q{n}", "?", (f"a{n}", f"b{n}"), 1, "s", "zh") for n in range(30)]
    found = fill_up(pool, count=50, seed=1, shuffle=True, pool=pool)
    assert found == fill_up(pool, count=50, seed=1, shuffle=True, pool=pool[::-1])
    assert all(len(set(q.options)) == 50 and q.options[q.answer] == f"b{q.id[1:]}" for q in found)
    with pytest.raises(InputError, match="there are 60 different options, not 70"):
        fill_up(pool, count=70, seed=1, shuffle=True, pool=pool)


def test_agieval_and_gaokao_questions(tmp_path):
    rows = [
        {"passage": "文。", "question": "问？", "options": ["(A)甲", "(B)乙"], "label": "B"},
        {"passage": None, "question": "几？", "options": ["(A)1", "(B)2"], "label": ["A", "B"]},
        {"passage": None, "question": "空", "options": None, "label": None, "answer": "$5$"},
        {"passage": None, "question": "坏", "options": ["(A)1", "(B)2"], "label": "C"},
    ]
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    (tmp_path / "x.jsonl").write_text("".join(lines))
    bad = BadRows(1)
    one, several, cloze = read_agieval(tmp_path, bad=bad)
    assert (one.passage, one.question, one.options, one.answer) == ("文。", "问？", ("甲", "乙"), 1)
    assert (several.answer, several.answers, cloze.gold) == (None, (0, 1), "$5$")
    assert bad.bad == 1
    example = {"question": "A 是？（）\nA．甲B．乙 C. 丙", "answer": ["C"]}
    (tmp_path / "y.json").write_text(json.dumps({"example": [example]}))
    (question,) = read_gaokao_bench(tmp_path, bad=BadRows())
    assert (question.options, question.answer) == (("甲", "乙", "丙"), 2)


@pytest.mark.parametrize(
    ("text", "letters"),
    [("所以答案是B。不是A", "B"), ("The answer is (C).", "C"), ("A、C", "AC"), ("故选：D", "D"),
     (" B", "B"), ("不知道", ""), ("答案：Z", "")],
)  # fmt: skip
def test_letters_of_generated_answers(text, letters):
    assert letters_in(text, 4) == letters


def test_clozes_match_but_for_spaces_and_widths():
    assert matches(" $\\dfrac{1}{2}$ ", "\\frac{1}{2}.")
    assert matches("５；10", "$5$;$10$")
    assert not matches("5", "6")


def test_statistics_of_groups_and_pairs():
    estimate = wilson_mean([(0.5, 1, 1), (0.5, 0, 9)])
    assert (estimate.value, estimate.n) == (0.5, 10)
    assert estimate.high - estimate.low > 0.5
    assert mcnemar([True] * 10, [False] * 10) == pytest.approx(2 / 1024)
    assert mcnemar([True, False], [False, True]) == 1.0
    difference = paired_difference([0, 0, 1, 0], [1, 1, 1, 0], seed=0)
    assert (difference.value, difference.n) == (0.5, 4)


def test_subjects_and_published_figures():
    counts = {name: len(subjects_of(name)) for name in ("ceval", "cmmlu", "mmlu", "m3ke")}
    assert counts == {"ceval": 52, "cmmlu": 67, "mmlu": 57, "m3ke": 71}
    assert subjects_of("ceval").keys() >= CEVAL_HARD
    rows = {(r["model"], r["shots"]): r for r in published("mmlu", metric="mrr")}
    assert rows["CuteGPT-13B-ift-lora", 3]["below_chance"]
    assert not rows["CuteGPT-13B-ift-lora", 0]["below_chance"]
    ceval = [r for r in published("ceval", metric="accuracy") if r["part"] == "Average"]
    assert {r["model"]: r["value"] for r in ceval if not r["shots"]}["GPT-4"] == 0.664
