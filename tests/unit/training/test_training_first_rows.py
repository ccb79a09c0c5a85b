"""What is shown and counted before the first step, asked at the end, and kept of a failed step."""

import json
import logging

import pytest

from hanlin.core.errors import InputError, StageFailedError
from hanlin.core.events import read_events
from hanlin.core.records import Conversation, Message
from hanlin.data import prepare_chat
from hanlin.data.pack import PackedRows
from hanlin.data.store import StoreWriter, TokenStore
from hanlin.prompts.encode import encode_conversation
from hanlin.prompts.formats import FORMATS, get_format
from hanlin.prompts.probe import prompt_record
from hanlin.tokenization.load import load
from hanlin.training import finetune, pretrain
from hanlin.training.first_rows import look_at
from prompt_tokenizers import make_tokenizer
from training_world import run_stage, write_rows


def events(context, name):
    return [e for e in read_events(context.events.path) if e["event"] == name]


def test_the_decoded_trained_text_is_shown_before_the_first_step(world, tmp_path):
    notes = []
    values = world.inputs("finetune", schedule={"steps": 1}, try_answers=0)
    context = run_stage(finetune, values, tmp_path / "out", notes=notes)
    looks = events(context, "first_rows")
    assert [look["row"] for look in looks] == [0, 1]
    for look, note in zip(looks, notes, strict=True):
        assert look["trained_turns"] == look["end_tokens"] > 0
        assert f"{look['end_tokens']} end tokens" in note
    text = looks[0]["text"]
    assert text.startswith("<s>") and text.count("<s>") == 1
    answer = text.partition("⟦")[2].partition("⟧")[0]
    assert answer.endswith("</s>") and "古城" in answer
    assert "User:" in text.partition("⟦")[0]


def test_texts_are_shown_without_answers(world, tmp_path):
    context = run_stage(pretrain, world.inputs("pretrain", schedule={"steps": 1}), tmp_path / "out")
    look = events(context, "first_rows")[0]
    assert (look["trained_turns"], look["end_tokens"]) == (0, 0)
    assert look["text"].startswith("⟦<s>") and look["documents"] >= 1


def test_replayed_texts_are_no_answers(world, tmp_path):
    write_rows(tmp_path / "chat.jsonl", [{"instruction": "the old", "output": "古城"}] * 3)
    values = {
        "sources": [{"path": str(tmp_path / "chat.jsonl"), "name": "chat", "weight": 1.0}],
        "replay": [{"path": str(world.corpus), "name": "texts", "weight": 9.0}],
        "tokenizer": str(world.model), "seq_len": 48,
    }  # fmt: skip
    store = run_stage(prepare_chat, values, tmp_path / "made").out / "store"
    rows = PackedRows(TokenStore.open(store), seq_len=48, seed=0)
    tokenizer = load(world.model)
    looks = [look_at(rows, number, tokenizer) for number in range(min(10, rows.rows_per_epoch))]
    assert all(look.trained_turns == look.end_tokens for look in looks)
    assert min(look.trained_turns for look in looks) == 0


def rows_of(folder, world, documents):
    prompt = json.loads((world.chat / "store.json").read_text())["prompt"]
    sha256 = load(world.model).sha256
    with StoreWriter(
        folder, tokenizer_sha256=sha256, vocab_size=500, has_mask=True, prompt=prompt
    ) as writer:
        writer.begin("a")
        for ids, trained in documents:
            writer.add(ids, trained=trained)
    return PackedRows(TokenStore.open(folder), seq_len=16, seed=0)


def test_an_answer_without_its_end_token_is_refused(world, tmp_path):
    tokenizer = load(world.model)
    begin, end = tokenizer.bos_id, tokenizer.eos_id
    ids, trained = [begin, 9, 10, end, 9, 11], [False, False, True, True, False, True]
    with pytest.raises(InputError) as caught:
        look_at(rows_of(tmp_path, world, [(ids, trained)]), 0, tokenizer)
    assert "has 2 trained answers but only 1 of them train an end token" in str(caught.value)


def test_two_begin_tokens_are_refused(world, tmp_path):
    tokenizer = load(world.model)
    begin, end = tokenizer.bos_id, tokenizer.eos_id
    ids, trained = [begin, begin, 9, 10, end], [False, False, False, True, True]
    with pytest.raises(InputError) as caught:
        look_at(rows_of(tmp_path, world, [(ids, trained)]), 0, tokenizer)
    assert "has the begin token '<s>' 2 times" in str(caught.value)


def test_trained_questions_are_asked_and_answers_without_end_are_warned_of(world, tmp_path, caplog):
    values = world.inputs("finetune", schedule={"steps": 1}, try_answers=3)
    with caplog.at_level(logging.WARNING):
        context = run_stage(finetune, values, tmp_path / "short")
    (found,) = events(context, "answers")
    assert (found["asked"], found["ended"]) == (3, sum(a["is_ended"] for a in found["answers"]))
    assert "of 3 answers to trained questions end with </s>" in caplog.text
    caplog.clear()
    schedule = {"steps": 60, "learning_rate": 1e-2, "micro_batch_size": 4}
    values = world.inputs("finetune", method="full", schedule=schedule, try_answers=3)
    with caplog.at_level(logging.WARNING):
        context = run_stage(finetune, values, tmp_path / "long")
    (found,) = events(context, "answers")
    assert found["ended"] == 3 and "answers to trained questions" not in caplog.text
    assert all(answer["trained"] and answer["prompt"] for answer in found["answers"])


def test_the_rows_of_a_step_that_failed_are_kept(world, tmp_path):
    schedule = {"learning_rate": 1e30, "warmup_steps": 0, "scheduler": "constant"}
    with pytest.raises(StageFailedError) as caught:
        run_stage(pretrain, world.inputs("pretrain", schedule=schedule), tmp_path / "out")
    file = tmp_path / "out" / "rows-of-step-2.jsonl"
    assert f"the rows of the step are in {file}" in str(caught.value)
    kept = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["row"] for row in kept] == [4, 5, 6, 7]  # four rows a step
    store = TokenStore.open(world.store)
    assert all(len(row["ids"]) == sum(row["lengths"]) == len(row["labels"]) for row in kept)
    assert all(row["text"] for row in kept) and store.tokens


@pytest.fixture(scope="module")
def marked(tmp_path_factory):
    """A tokenizer with the markers of every prompt format."""
    return make_tokenizer(tmp_path_factory.mktemp("marked"), "sentencepiece")


@pytest.mark.parametrize("name", list(FORMATS))
def test_every_prompt_format_passes(tmp_path, marked, name):
    format = get_format(name)
    turns = [Message("user", "谁写了书？"), Message("assistant", "the teacher 老师")]
    encoded = encode_conversation(
        Conversation((*turns, *turns)), format=format, tokenizer=marked, loss_on="all"
    )
    with StoreWriter(
        tmp_path / "store", tokenizer_sha256=marked.sha256, vocab_size=marked.vocab_size,
        has_mask=True, prompt=prompt_record(format, marked),
    ) as writer:  # fmt: skip
        writer.begin("chat")
        writer.add(encoded.ids, trained=encoded.trained)
    rows = PackedRows(TokenStore.open(tmp_path / "store"), seq_len=400, seed=0)
    look = look_at(rows, 0, marked)
    ends = 2 if format.eos_after == "every" else 1
    assert (look.trained_turns, look.end_tokens) == (2, ends)
    assert look.text.count("⟦") == 2 and "老师" in look.text
