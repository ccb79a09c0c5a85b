"""Who knows the answers scores 1.0 in every benchmark and protocol; who guesses scores chance."""

from collections import Counter
from types import SimpleNamespace

import pytest

from exam_world import BENCHMARKS, Guesser, Oracle, World
from hanlin.evaluation.benchmark import BenchmarkConfig, Subject
from hanlin.evaluation.run import run_benchmark
from hanlin.models.tiny import make_tiny
from hanlin.prompts.formats import get_format
from hanlin.tokenization.load import load

PROTOCOLS = ("chat", "plain", "official", "lm-eval", "opencompass", "cutegpt-mrr")
PAIRS = [
    (protocol, benchmark)
    for protocol in PROTOCOLS
    for benchmark in BENCHMARKS
    if protocol != "opencompass" or benchmark in ("ceval", "cmmlu", "mmlu")
]
CHANCE_OF_50 = sum(1 / place for place in range(1, 51)) / 50
REAL_FOLDERS = {"gaokao": "gaokao_bench"}


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    return SimpleNamespace(tokenizer=load(make_tiny(tmp_path_factory.mktemp("tiny"))))


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    """The same questions four times: the right answer in place 0, 1, 2 and 3."""
    made = {}
    for place in range(4):
        folder = tmp_path_factory.mktemp(f"place{place}")
        made[place] = (folder, World(folder, place=place).write_all())
    return made


def run(engine, benchmark, data, **settings):
    config = BenchmarkConfig(id=benchmark, benchmark=benchmark, data=str(data), **settings)
    return run_benchmark(config, Subject("m", engine, get_format("plain")), seed=0)


def options_for(protocol, benchmark):
    """Fifty, where there are so many different ones in the made-up files."""
    if benchmark in ("agieval", "gaokao") or protocol != "cutegpt-mrr":
        return None
    return 50 if benchmark != "m3ke" else 20


@pytest.mark.parametrize(("protocol", "benchmark"), PAIRS)
def test_an_oracle_scores_one_wherever_the_answer_stands(engine, worlds, benchmark, protocol):
    found = []
    for folder, knows in worlds.values():
        result = run(Oracle(engine, knows), benchmark, folder / benchmark, protocol=protocol,
                     shots=2, options=options_for(protocol, benchmark))  # fmt: skip
        values = {m.metric: m.estimate.value for m in result.measures}
        assert set(values.values()) == {1.0}, values
        assert result.details["unparsed"] == 0
        found.append((result.measures, result.details["questions"]))
    assert found.count(found[0]) == 4
    assert found[0][1] > 5


@pytest.mark.parametrize("scorer", ["letter", "text", "text-norm", "pmi", "generate", "cot"])
@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_an_oracle_scores_one_with_every_scorer(engine, worlds, benchmark, scorer):
    folder, knows = worlds[2]
    result = run(Oracle(engine, knows), benchmark, folder / benchmark, scorer=scorer, shots=1,
                 protocol="plain")  # fmt: skip
    assert result.measures[0].estimate.value == 1.0


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("options", [4, 50])
@pytest.mark.parametrize("shots", [0, 2])
def test_an_oracle_ranks_first_in_xiezhi(engine, worlds, language, options, shots):
    for folder, knows in worlds.values():
        result = run(Oracle(engine, knows), "xiezhi", folder / "xiezhi", language=language,
                     options=options, shots=shots)  # fmt: skip
        values = {m.metric: m.estimate.value for m in result.measures}
        assert (values["accuracy"], values["mrr"]) == (1.0, 1.0)
        assert {len(record["options"]) for record in result.records} == {options}


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_guessing_is_within_the_interval_of_chance(engine, tmp_path, benchmark):
    World(tmp_path, count=50).write(benchmark)
    result = run(Guesser(engine), benchmark, tmp_path / benchmark, protocol="official", limit=100)
    first = result.measures[0]
    assert first.estimate.low < first.chance < first.estimate.high
    if benchmark == "xiezhi":
        assert (first.metric, first.chance) == ("mrr", pytest.approx(CHANCE_OF_50))
    elif benchmark != "agieval":  # whose cloze nobody guesses
        assert (first.metric, first.chance) == ("accuracy", 0.25)


@pytest.mark.parametrize("benchmark", ["ceval", "cmmlu", "mmlu", "m3ke", "xiezhi"])
def test_guessing_among_fifty_is_chance(engine, tmp_path, benchmark):
    World(tmp_path, count=50).write(benchmark)
    result = run(
        Guesser(engine), benchmark, tmp_path / benchmark, protocol="cutegpt-mrr", limit=60, shots=0
    )
    first = result.measures[0]
    assert (first.metric, first.chance) == ("mrr", pytest.approx(0.0899841, abs=1e-7))
    assert first.estimate.low < first.chance < first.estimate.high


def test_several_right_answers_cannot_be_chosen_by_text(engine, worlds, caplog):
    folder, knows = worlds[0]
    oracle = Oracle(engine, knows)
    lettered = run(oracle, "agieval", folder / "agieval")
    ranked = run(oracle, "agieval", folder / "agieval", scorer="text")
    assert lettered.details["questions"] - ranked.details["questions"] == 1
    assert ranked.details["several_answers"] == 1
    assert "1 questions have several right answers" in caplog.text


@pytest.mark.real_data
@pytest.mark.parametrize("benchmark", BENCHMARKS)
@pytest.mark.parametrize("protocol", ["official", "cutegpt-mrr"])
def test_a_random_model_scores_chance_on_the_real_files(engine, real_data, benchmark, protocol):
    folder = real_data / "eval" / REAL_FOLDERS.get(benchmark, benchmark)
    settings = {"limit": 300 if protocol == "official" and benchmark != "xiezhi" else 60}
    result = run(Guesser(engine), benchmark, folder, protocol=protocol, shots=0, **settings)
    for measure in result.measures:
        if measure.metric in ("accuracy", "mrr", "hit@1"):
            low, high = measure.estimate.low, measure.estimate.high
            assert low < measure.chance < high, (measure.metric, measure)


@pytest.mark.real_data
def test_an_oracle_scores_one_on_the_real_files(engine, real_data):
    for benchmark in BENCHMARKS:
        folder = real_data / "eval" / REAL_FOLDERS.get(benchmark, benchmark)
        settings = {"limit": 60, "shots": 0}
        guessed = run(Guesser(engine), benchmark, folder, **settings)
        knows = {}
        for record in guessed.records:
            answer = record["answer"]
            if isinstance(answer, int):
                letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[answer : answer + 1]
                options = record["options"]
                text = options[answer].strip() if answer < len(options) else letters
                knows[record["question"]] = (letters, text)
            else:
                knows[record["question"]] = (answer, answer)
        result = run(Oracle(engine, knows), benchmark, folder, **settings)
        # A few questions of M3KE have the same text; nobody can know them by it.
        times = Counter(record["question"] for record in result.records)
        rows = [record for record in result.records if times[record["question"]] == 1]
        assert len(rows) > 50
        wrong = [record["id"] for record in rows if record["correct"] < 1]
        assert not wrong, (benchmark, wrong)
