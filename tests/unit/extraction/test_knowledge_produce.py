"""Do a graph and texts become instructions: readable, split by entity, the same after a kill?"""

import json
from dataclasses import replace

import pytest

from hanlin.core.config import InputPath
from hanlin.core.errors import ConfigError, HanlinError, InputError
from hanlin.core.events import EventLog
from hanlin.core.files import list_files, read_json
from hanlin.core.stage import StageContext
from hanlin.data.readers import read_conversations
from hanlin.extraction.align import align
from hanlin.extraction.facts import read_extractions
from hanlin.extraction.formats import FORMATS
from hanlin.extraction.knowledge import judge, produce
from hanlin.extraction.knowledge.compose import passages
from hanlin.extraction.knowledge.from_graph import STAGE, Config
from hanlin.extraction.parse import parse_answer
from hanlin.extraction.schema import load_schemas
from knowledge_world import make_world

pytest.importorskip("ahocorasick_rs")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("knowledge"))


@pytest.fixture
def run(world, tmp_path):
    def run_into(name, **settings):
        out = tmp_path / name
        out.mkdir(exist_ok=True)
        given = {"graph": [world / "graph"], "texts": [world / "corpus"], **settings}
        for key in ("graph", "texts"):
            given[key] = [InputPath(path) for path in given[key]]
        config = Config(**given)
        STAGE.run(config, StageContext("x", out, 5, EventLog(tmp_path / "events.jsonl")))
        return out

    return run_into


def content(folder):
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in list_files(folder)}


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_examples_agree_with_the_graph_and_have_places(run, world):
    out = run("out")
    facts = {tuple(line.split("\t")) for line in (world / "graph/triples.tsv").open()}
    known = {(head, tail.strip()) for head, _, tail in facts}
    found = 0
    for row in rows(out / "examples/train.jsonl"):
        for relation, evidence in zip(row["relations"], row["evidence"], strict=True):
            head, tail = (row["graph_ids"][relation[end]] for end in ("head", "tail"))
            value = row["entities"][relation["tail"]]["text"]
            assert (head, tail or value) in known
            assert any(row["text"][s:e].find(value) >= 0 for s, e in evidence)
            found += 1
    assert found > 300
    assert list(read_extractions(out / "examples/train.jsonl"))
    assert {"zh", "en"} <= load_schemas(out / "examples/schema.yaml").keys()
    assert list(read_conversations(out / "train.jsonl"))
    numbers = read_json(out / "statistics.json")
    assert numbers["texts"]["train texts"] == len(rows(out / "examples/train.jsonl"))
    assert numbers["graph"]["facts"] == len(facts)
    assert (out / "samples.md").read_text(encoding="utf-8").count("### ") == 20


def test_no_entity_of_the_test_is_named_in_training(run):
    out = run("out", test_share=0.2)
    train, test = (rows(out / f"examples/{part}.jsonl") for part in ("train", "test"))
    assert train and test
    own = {id_ for row in train for id_ in row["graph_ids"] if id_}
    kept = {id_ for row in test for id_ in row["graph_ids"] if id_} - own
    assert len(kept) >= 5
    assert not (run("none", test_share=0) / "test.jsonl").read_bytes()


@pytest.mark.parametrize("name", FORMATS.targets)
def test_instructions_of_every_format_read_back(run, world, name):
    one = world / "corpus" / "zh.jsonl"
    if name == "cutegpt":  # attributes only: it has no words for relations
        with pytest.raises(InputError, match="cannot be used"):
            run("out", formats=[name], texts=[one])
        return
    out = run("out", formats=[name], texts=[one], negatives=2)
    first = rows(out / "train.jsonl")[0]["messages"]
    assert first[0]["role"] == "user" and first[1]["content"]
    assert rows(out / "bad_rows.jsonl") == []


def test_types_that_are_not_there_are_asked_for(run):
    few, many = run("few", negatives=0), run("many", negatives=5)
    lengths = [
        sum(len(row["messages"][0]["content"]) for row in rows(out / "train.jsonl"))
        for out in (few, many)
    ]
    assert lengths[1] > lengths[0] * 1.2


class KilledError(Exception):
    pass


def test_a_killed_run_goes_on_and_gives_the_same_bytes(run, monkeypatch, tmp_path):
    whole = content(run("whole"))
    written = produce._Files.add

    def add_and_die(files, made):
        written(files, made)
        if files.done == 3:
            (files.out / "train.jsonl").open("ab").write(b'{"half a row')
            raise KilledError

    monkeypatch.setattr(produce._Files, "add", add_and_die)
    with pytest.raises(KilledError):
        run("out")
    assert (tmp_path / "out" / ".progress.json").exists()
    monkeypatch.setattr(produce._Files, "add", written)
    begun = []
    monkeypatch.setattr(
        produce.Maker, "examples",
        lambda maker, texts, real=produce.Maker.examples: begun.append(1) or real(maker, texts),
    )  # fmt: skip
    assert content(run("out")) == whole
    resumed = len(begun)
    assert content(run("anew")) == whole
    assert len(begun) - resumed == resumed + 3


def test_two_processes_give_the_same_bytes(run):
    assert content(run("two", workers=2)) == content(run("one"))


def test_texts_of_files_with_the_same_name_have_different_ids(run, world):
    out = run("out", texts=[world / "corpus", world / "heldout"], test_share=0, empty_share=1)
    ids = [row["id"] for row in rows(out / "examples/train.jsonl")]
    assert len(set(ids)) == len(ids)
    assert {"zh-1", "zh~2-1"} <= {id_.rsplit("-0")[0] for id_ in ids}


def test_long_texts_are_cut_between_sentences():
    text = "第一句话在这里。" * 30
    parts = list(passages(text, 50))
    assert "".join(part for _, part in parts) == text
    assert all(len(part) <= 50 and part.endswith("。") for _, part in parts)
    assert [text[start : start + len(part)] for start, part in parts] == [p for _, p in parts]


def test_texts_without_facts_are_counted_and_a_share_is_kept(run, tmp_path):
    (tmp_path / "idle.txt").write_text("\n\n".join(f"今天是第{n}天。" for n in range(300)))
    everything = run("all", texts=[tmp_path / "idle.txt"], empty_share=1, max_characters=16)
    part = run("part", texts=[tmp_path / "idle.txt"], empty_share=0.3, max_characters=16)
    counts = [len(rows(out / "train.jsonl")) for out in (everything, part)]
    assert counts[0] == 300 and 50 < counts[1] < 130
    left = read_json(part / "statistics.json")["texts"]["passages without facts left out"]
    assert left == 300 - counts[1]


@pytest.fixture(scope="module")
def examples(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("judged")
    paths = {"graph": [InputPath(world / "graph")], "texts": [InputPath(world / "corpus/en.jsonl")]}
    maker = produce.Maker((Config(**paths), 1))
    texts = produce.read_texts(maker.config, produce.BadRows())
    made, _ = maker.examples(next(produce.blocks(texts)))
    assert out.exists()
    return [one for one in made if one.found.relations]


def test_a_model_strikes_out_what_it_does_not_find(examples):
    asked = []

    def ask(questions):
        asked.extend(questions)
        return ["Yes." if number % 2 else "No, it does not." for number in range(len(questions))]

    kept, struck = judge.check(examples, ask)
    before = sum(len(one.found.relations) for one in examples)
    after = sum(len(one.found.relations) for one in kept)
    assert before == len(asked) and struck == before - after == (before + 1) // 2
    assert all("Answer yes or no" in question for question in asked)
    first = examples[0]
    relation = first.found.relations[0]
    assert first.found.named(relation.head) in asked[0] and relation.type in asked[0]


def test_answers_in_both_languages_are_understood():
    assert all(map(judge.is_yes, ("是", "是的。", "Yes", " yes, it is", "能")))
    assert not any(map(judge.is_yes, ("否", "不是", "No", "", "The text does not say")))


def test_a_model_adds_facts_between_names_of_the_text(examples):
    bare = [replace(one, found=replace(one.found, relations=()), evidence=()) for one in examples]

    def extract(given):
        found = []
        for one, full in zip(given, examples, strict=True):
            relation = full.found.relations[0]
            head, tail = full.found.named(relation.head), full.found.named(relation.tail)
            answer = f"{relation.type}: {head}, {tail}; {head}, nobody at all"
            found.append(align(parse_answer(answer, one.schema), one.found.text))
        return found

    more, added = judge.supplement(bare, extract)
    assert added == len(examples)
    for one, full in zip(more, examples, strict=True):
        (relation,) = one.found.relations
        wanted = full.found.relations[0]
        assert relation.type == wanted.type
        assert one.found.named(relation.tail) == full.found.named(wanted.tail)
        assert len(one.nodes) == len(one.found.entities) and len(one.evidence) == 1


def test_settings_that_cannot_be_are_refused(world):
    with pytest.raises(ValueError, match=r"formats: 'xml' is none; known: lines"):
        Config(graph=[InputPath(world)], texts=[InputPath(world)], formats=["xml"])


def test_the_command_makes_instructions_and_says_what_it_did(world, tmp_path):
    from click.testing import CliRunner

    from hanlin.cli.extract import extract as command

    def call(*arguments):
        result = CliRunner().invoke(command, [str(a) for a in arguments])
        if isinstance(result.exception, HanlinError):
            raise result.exception
        assert result.exit_code == 0, result.output + repr(result.exception)
        return result.stdout

    given = ["--graph", world / "graph", "--texts", world / "corpus", "--out", tmp_path / "out"]
    shown = json.loads(call("instruct", *given, "--format", "json", "iepile", "--json"))
    assert shown["texts"]["facts told"] > 300 and shown["out"] == str(tmp_path / "out")
    with pytest.raises(InputError, match="exists already"):
        call("instruct", *given)
    assert "read some:" in call("instruct", *given, "--force", "--test-share", "0.3")
    with pytest.raises(ConfigError, match="EXAMPLES, or of --graph and --texts") as caught:
        call("instruct", "--out", tmp_path / "no")
    assert caught.value.why == "neither was given"
    with pytest.raises(ConfigError, match="a graph alone has nothing to read"):
        call("instruct", "--graph", world / "graph", "--out", tmp_path / "no")
    with pytest.raises(ConfigError, match="EXAMPLES need their types"):
        call("instruct", tmp_path / "examples.jsonl", "--out", tmp_path / "no")
    plans = ["--graph", world / "graph", "--task", "plan", "--out", tmp_path / "plans"]
    assert json.loads(call("instruct", *plans, "--json"))["train"] > 100
    with pytest.raises(InputError, match="no facts that can be asked about in fr"):
        call("instruct", *plans, "--force", "--language", "fr")


def test_a_real_model_can_check_and_supplement(world, tmp_path):
    from click.testing import CliRunner

    from hanlin.cli.extract import extract as command
    from hanlin.models.tiny import make_tiny

    model = make_tiny(tmp_path / "tiny")
    few = tmp_path / "few.jsonl"
    few.write_text("".join((world / "corpus/en.jsonl").open().readlines()[:3]), encoding="utf-8")
    words = ["instruct", "--graph", world / "graph", "--texts", few, "--out", tmp_path / "out"]
    words += ["--check", model, "--json"]
    result = CliRunner().invoke(command, [str(word) for word in words])
    assert result.exit_code == 0, repr(result.exception)
    counts = json.loads(result.stdout)["texts"]
    assert counts["facts struck out by the model"] <= counts["facts told"]
