"""Conversations become a store: formats with and without tools, truncation, several processes."""

import json

import pytest

from hanlin.core.errors import ConfigError, InputError
from hanlin.core.files import sha256
from hanlin.core.records import Message
from hanlin.data import prepare_chat
from hanlin.data.pack import PackedRows
from hanlin.data.store import TokenStore
from hanlin.prompts.encode import encode_prompt
from hanlin.prompts.formats import get_format
from hanlin.tokenization.load import load
from prompt_tokenizers import make_tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the folder of a tokenizer that has every marker."""
    path = tmp_path_factory.mktemp("tokenizer")
    make_tokenizer(path / "base", "sentencepiece").save(path / "full")
    return path / "full"


def config(folder, path, **settings):
    source = {"path": str(path), "name": "chat"}
    return prepare_chat.Config(tokenizer=str(folder), sources=[source], **settings)


def counts_of(out):
    return json.loads((out / "store" / "counts.json").read_text())["sources"][0]


CALL = {"type": "function", "function": {"name": "weather", "arguments": '{"city": "北京"}'}}
WITH_TOOLS = {
    "messages": [
        {"role": "user", "content": "天气？"},
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "content": "晴"},
        {"role": "assistant", "content": "晴天。"},
    ]
}
PLAIN_ROW = {"instruction": "Who?", "output": "The teacher."}


def test_tools_are_rendered_where_the_format_has_a_place_for_them(folder, write, run_stage):
    path = write("a.jsonl", [WITH_TOOLS, PLAIN_ROW])
    out = run_stage(prepare_chat.STAGE, config(folder, path, prompt="chatml"))
    store, tokenizer = TokenStore.open(out / "store"), load(folder)
    ids, mask = store.ids(0, 0, store.tokens), store.mask(0, 0, store.tokens)
    end = tokenizer.special_id("<|im_end|>")
    assert counts_of(out)["end_tokens"] == 3 == ids[mask].tolist().count(end)
    assert tokenizer.decode_continuation(ids[mask].tolist()) == (
        '<tool_call>\n{"name": "weather", "arguments": {"city": "北京"}}\n</tool_call>'
        "晴天。The teacher."
    )
    assert "<tool_response>\n晴\n</tool_response>" in tokenizer.decode_continuation(ids.tolist())


def test_a_format_without_a_place_for_tools_counts_the_row_as_bad(folder, write, run_stage):
    path = write("a.jsonl", [WITH_TOOLS, *[PLAIN_ROW] * 3])
    settings = {"prompt": "alpaca", "max_bad_rows": 0.3}
    out = run_stage(prepare_chat.STAGE, config(folder, path, **settings))
    assert (counts_of(out)["documents"], counts_of(out)["bad_rows"]) == (3, 1)
    row = json.loads((out / "store" / "bad_rows.jsonl").read_text())
    assert (row["source"], row["line"]) == ("a.jsonl", 1)
    assert row["reason"] == "prompt format 'alpaca' has no place for tool calls and tool results"
    with pytest.raises(InputError, match="1 of 4 rows cannot be used"):
        run_stage(prepare_chat.STAGE, config(folder, path, prompt="alpaca"), "again")


def test_messages_of_weight_zero_are_context_only(folder, write, run_stage):
    turns = [("user", "a"), ("assistant", "old"), ("user", "b"), ("assistant", "river")]
    messages = [{"role": role, "content": text} for role, text in turns]
    messages[1]["weight"] = 0
    path = write("a.jsonl", [{"messages": messages}])
    out = run_stage(prepare_chat.STAGE, config(folder, path))
    store = TokenStore.open(out / "store")
    trained = store.ids(0, 0, store.tokens)[store.mask(0, 0, store.tokens)].tolist()
    assert load(folder).decode_continuation(trained) == " river"
    assert counts_of(out)["end_tokens"] == 1


def test_the_input_of_an_instruction_stands_in_its_block(folder, write, run_stage):
    path = write("a.jsonl", [{"instruction": "Translate", "input": "河流", "output": "river"}])
    out = run_stage(prepare_chat.STAGE, config(folder, path, prompt="alpaca"))
    store = TokenStore.open(out / "store")
    text = load(folder).decode_continuation(store.ids(0, 0, store.tokens).tolist())
    assert "### Instruction:\nTranslate\n\n### Input:\n河流\n\n### Response:\nriver" in text


@pytest.mark.parametrize(
    ("truncate", "documents", "too_long", "questions"),
    [("oldest", 2, 0, "q6"), ("keep-first", 2, 0, "q0 q6"), ("refuse", 1, 1, ""),
     ("never", 2, 0, "q0 q1 q2 q3 q4 q5 q6")],
)  # fmt: skip
def test_what_becomes_of_long_conversations(
    folder, write, run_stage, truncate, documents, too_long, questions
):
    rows = [{"input": [f"q{i}" for i in range(7)], "output": ["the answer"] * 7}, PLAIN_ROW]
    path = write("a.jsonl", rows)
    out = run_stage(prepare_chat.STAGE, config(folder, path, seq_len=56, truncate=truncate))
    counts, store = counts_of(out), TokenStore.open(out / "store")
    assert (counts["documents"], counts["too_long"]) == (documents, too_long)
    assert counts["shortened"] == (truncate in ("oldest", "keep-first"))
    text = load(folder).decode_continuation(store.ids(0, 0, int(store.lengths(0)[0])).tolist())
    for question in questions.split():
        assert question in text
    if truncate == "never":
        assert store.seq_len == store.lengths(0).max() > 56
        with pytest.raises(ConfigError, match="an answer must not be cut"):
            PackedRows(store, seq_len=56, seed=0)
    else:
        assert store.seq_len == 56


def test_the_number_of_processes_changes_nothing(folder, write, run_stage, monkeypatch):
    rows = [{"instruction": f"Who {i}?", "output": "the teacher " * (i % 7 + 1)} for i in range(90)]
    path = write("a.jsonl", [*rows, WITH_TOOLS])
    monkeypatch.setattr(prepare_chat, "BATCH", 20)
    made = [
        run_stage(
            prepare_chat.STAGE, config(folder, path, workers=n, max_bad_rows=0.5), f"workers{n}"
        )
        for n in (1, 2)
    ]
    assert sha256(made[0] / "store") == sha256(made[1] / "store")


def test_ids_begin_with_the_prompt_that_chat_sends(folder, write, run_stage):
    path = write("a.jsonl", [PLAIN_ROW])
    out = run_stage(prepare_chat.STAGE, config(folder, path, prompt="llama3"))
    store, tokenizer = TokenStore.open(out / "store"), load(folder)
    prompt = encode_prompt(
        [Message("user", "Who?")], format=get_format("llama3"), tokenizer=tokenizer
    )
    ids = store.ids(0, 0, store.tokens).tolist()
    assert ids[: len(prompt)] == prompt


def test_a_tokenizer_without_markers_is_refused_before_anything_is_read(
    tiny_folder, write, run_stage
):
    path = write("a.jsonl", [PLAIN_ROW])
    with pytest.raises(InputError, match="'chatml' needs the special token"):
        run_stage(prepare_chat.STAGE, config(tiny_folder, path, prompt="chatml"))
