"""Is the sample world what the pipeline needs: right, repeatable, and without leaks?"""

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from pydantic import ValidationError

from hanlin.core.events import EventLog
from hanlin.core.files import sha256
from hanlin.core.stage import StageContext
from hanlin.data.readers import read_conversations, read_documents, read_questions
from hanlin.data.sample_world import STAGE

LANGUAGES = ("zh", "en")


def make(folder: Path, *, seed: int = 0, **settings) -> Path:
    folder.mkdir(parents=True)
    context = StageContext("sample-world", folder, seed, EventLog(folder.parent / "events.jsonl"))
    STAGE.run(STAGE.config(**settings), context)
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("sample") / "world")


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def sentences(text: str) -> set[str]:
    return {s.strip() for s in re.split(r"(?<=[。！？])|(?<=[.!?])\s|\n", text) if s.strip()}


def corpus_sentences(world: Path, folder: str, language: str) -> set[str]:
    texts = [row["text"] for row in rows(world / folder / f"{language}.jsonl")]
    return set().union(*map(sentences, texts))


def chat_messages(world: Path) -> list[str]:
    return [m["content"] for row in rows(world / "chat.jsonl") for m in row["messages"]]


def triples(world: Path) -> list[list[str]]:
    lines = (world / "graph" / "triples.tsv").read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines]


def names(world: Path) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for line in (world / "graph" / "aliases.tsv").read_text(encoding="utf-8").splitlines():
        id_, language, _, name = line.split("\t")
        found.setdefault((id_, language), []).append(name)
    return found


def test_every_promised_output_is_there_and_the_readers_read_it(world):
    assert all((world / path).exists() for _, path in STAGE.outputs.values())
    assert len(list(read_documents(world / "corpus"))) > 2000
    assert len(list(read_conversations(world / "chat.jsonl"))) > 500
    assert len(list(read_questions(world / "questions" / "four-zh.jsonl"))) >= 200


def test_it_is_large_enough(world):
    entities = {id_ for id_, _ in names(world) if not id_.startswith(("profession", "food"))}
    assert len(entities) >= 120
    assert len(triples(world)) >= 400
    for language in LANGUAGES:
        assert len(rows(world / "questions" / f"fifty-{language}.jsonl")) >= 200
        train = [r for r in rows(world / "extraction/train.jsonl") if r["language"] == language]
        assert len(train) == 750


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_world(tmp_path, world):
    assert sha256(make(tmp_path / "a" / "world")) == sha256(world)
    other = make(tmp_path / "b" / "world", seed=1)
    assert names(other) != names(world)


@pytest.mark.parametrize("people", [12, 96])
def test_other_sizes_keep_every_promise(tmp_path, people):
    world = make(tmp_path / "world", people=people, rounds=6)
    for language in LANGUAGES:
        for name, count in (("four", 4), ("fifty", 50)):
            for row in rows(world / "questions" / f"{name}-{language}.jsonl"):
                assert len(row["options"]) == len(set(row["options"])) == count


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_name_is_given_twice_to_entities_of_a_kind(world, language):
    given = [
        (id_.rsplit("-", 1)[0], name)
        for (id_, own), all_names in names(world).items()
        if own == language
        for name in all_names
    ]
    assert len(given) == len(set(given))


@pytest.mark.parametrize("language", LANGUAGES)
def test_held_out_texts_share_no_sentence_with_the_corpus_and_the_chat(world, language):
    held_out = corpus_sentences(world, "heldout", language)
    assert len(held_out) == len(triples(world))
    assert not held_out & corpus_sentences(world, "corpus", language)
    assert not held_out & set().union(*map(sentences, chat_messages(world)))


def test_articles_have_two_to_seven_sentences(world):
    for row in rows(world / "corpus" / "zh.jsonl"):
        assert 2 <= row["text"].partition("\n")[0].count("。") <= 7


def test_each_fact_is_told_in_at_least_five_ways(world):
    told = corpus_sentences(world, "corpus", "zh")
    by_id = names(world)
    for head, _, tail in triples(world):
        objects = by_id.get((tail, "zh"), [tail])
        subjects = by_id[(head, "zh")]
        ways = [s for s in told if objects[0] in s and any(name in s for name in subjects)]
        assert len(ways) >= 5, (head, tail)


@pytest.mark.parametrize("language", LANGUAGES)
def test_questions_of_the_test_are_never_asked_in_training(world, language):
    asked = set(chat_messages(world))
    test = {row["question"] for row in rows(world / "questions" / f"four-{language}.jsonl")}
    assert not asked & test


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_relation_is_in_training_and_in_the_test(world, language):
    relations = Counter(relation for _, relation, _ in triples(world))
    tested = Counter(r["subject"] for r in rows(world / "questions" / f"four-{language}.jsonl"))
    assert set(tested) == set(relations)
    assert all(abs(2 * tested[name] - relations[name]) <= 1 for name in relations)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(("name", "count"), [("four", 4), ("fifty", 50)])
def test_the_answer_is_right_and_no_other_option_is(world, language, name, count):
    by_id = names(world)
    facts = {(head, relation): tail for head, relation, tail in triples(world)}
    for row in rows(world / "questions" / f"{name}-{language}.jsonl"):
        _, relation, subject = row["id"].split("-", 2)
        tail = facts[(subject, relation)]
        assert row["options"][row["answer"]] == by_id.get((tail, language), [tail])[0]
        assert len(set(row["options"])) == count
        assert by_id[(subject, language)][0] in row["question"]


def test_four_options_are_of_one_type(world):
    types = {
        name: id_.rsplit("-", 1)[0]
        for (id_, language), all_names in names(world).items()
        if language == "zh"
        for name in all_names[:1]
    }
    for row in rows(world / "questions" / "four-zh.jsonl"):
        assert len({types.get(option, "year") for option in row["options"]}) == 1


@pytest.mark.parametrize(("name", "count"), [("four", 4), ("fifty", 50)])
def test_the_right_answer_stands_anywhere(world, name, count):
    places = Counter(
        row["answer"]
        for lang in LANGUAGES
        for row in rows(world / f"questions/{name}-{lang}.jsonl")
    )
    expected = places.total() / count
    chi_square = sum((places[place] - expected) ** 2 / expected for place in range(count))
    assert chi_square < {4: 16.27, 50: 85.35}[count]  # p = 0.001 with 3 and 49 degrees


@pytest.mark.parametrize("part", ["train", "test"])
def test_spans_and_indices_are_exact(world, part):
    for row in rows(world / "extraction" / f"{part}.jsonl"):
        spans = row["entities"] + [event["trigger"] for event in row["events"]]
        assert all(row["text"][s["start"] : s["end"]] == s["text"] for s in spans)
        used = [r[end] for r in row["relations"] for end in ("head", "tail")]
        used += [a["entity"] for event in row["events"] for a in event["arguments"]]
        assert all(0 <= index < len(row["entities"]) for index in used)


def test_extraction_test_shares_no_sentence_and_no_pair_of_names_with_training(world):
    def pairs(row):
        named = [entity["text"] for entity in row["entities"]]
        found = {(r["type"], named[r["head"]], named[r["tail"]]) for r in row["relations"]}
        for event in row["events"]:
            first, *rest = [named[a["entity"]] for a in event["arguments"]]
            found |= {(event["type"], first, other) for other in rest}
        return found

    train, test = (rows(world / f"extraction/{part}.jsonl") for part in ("train", "test"))
    told = set().union(*map(pairs, train))
    seen = set().union(
        *(sentences(row["text"]) for row in train), *map(sentences, chat_messages(world))
    )
    for language in LANGUAGES:
        seen |= corpus_sentences(world, "corpus", language)
    assert len(test) == 150
    for row in test:
        assert not sentences(row["text"]) & seen
        assert not pairs(row) & told


def test_conversations_have_one_to_four_turns_in_one_language(world):
    for row in rows(world / "chat.jsonl"):
        roles = [message["role"] for message in row["messages"]]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        assert 2 <= len(roles) <= 8
        is_chinese = {any("\u4e00" <= c <= "\u9fff" for c in m["content"])
                      for m in row["messages"] if not m["content"].isdigit()}  # fmt: skip
        assert len(is_chinese) == 1


def test_too_few_people_are_refused():
    with pytest.raises(ValidationError, match="people"):
        STAGE.config(people=3)


def test_the_estimate_is_not_far_off(world):
    size = sum(file.stat().st_size for file in world.rglob("*") if file.is_file())
    assert size / 3 < STAGE.estimate(STAGE.config()).disk_bytes < size * 3
