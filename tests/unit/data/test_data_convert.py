"""Files of one format written in another: whole rows, counts of the rest, and nothing half."""

import gzip
import json
import lzma
import pickle

import pytest
import zstandard

from hanlin.cli.main import run_command
from hanlin.core.errors import ConfigError, InputError
from hanlin.data.conversion.convert import BORDER, WHITE_SPACE, convert
from hanlin.data.readers import read_conversations, read_documents

ALPACA = [
    {"instruction": "翻译", "input": "你好", "output": "Hi 🙂"},
    {"instruction": "再见", "input": "", "output": "Bye", "system": "Be kind.",
     "history": [["你好", "Hi"], ["a", "b"]]},
]  # fmt: skip
TOOLS = {
    "conversations": [
        {"from": "human", "value": "1+2?"},
        {"from": "function_call", "value": '{"name": "add", "arguments": {"a": 1, "b": 2}}'},
        {"from": "observation", "value": "3"},
        {"from": "gpt", "value": "3"},
    ],
    "tools": '[{"name": "add", "parameters": {}}]',
}


def rows_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_alpaca_to_messages_and_back_is_the_same(write, tmp_path):
    there, back = tmp_path / "m.jsonl", tmp_path / "a.jsonl"
    done = convert(write("a.json", json.dumps(ALPACA)), there, to="messages")
    assert (done.rows, done.bad_rows, done.not_held, done.changed) == (2, 0, {}, {})
    assert rows_of(there)[0] == {"messages": [
        {"role": "user", "content": "翻译\n你好", "input_at": 3},
        {"role": "assistant", "content": "Hi 🙂"}]}  # fmt: skip
    convert(there, back, to="alpaca")
    assert rows_of(back) == ALPACA


def test_tools_to_messages_and_back_are_the_same(write, tmp_path):
    there, back = tmp_path / "m.jsonl", tmp_path / "s.jsonl"
    convert(write("a.jsonl", [TOOLS]), there, to="messages")
    (row,) = rows_of(there)
    assert row["tools"] == [{"type": "function", "function": {"name": "add", "parameters": {}}}]
    call = row["messages"][1]["tool_calls"][0]
    assert call["function"] == {"name": "add", "arguments": '{"a": 1, "b": 2}'}
    assert row["messages"][2]["tool_call_id"] == call["id"]
    convert(there, back, to="sharegpt")
    assert rows_of(back) == [TOOLS]


def test_what_a_format_cannot_hold_is_counted_and_listed(write, tmp_path):
    untrained = {"messages": [{"role": "user", "content": "a"},
                              {"role": "assistant", "content": "b", "weight": 0}]}  # fmt: skip
    spaces = {
        "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b\n"}]
    }
    path = write("a.jsonl", [*ALPACA, TOOLS, untrained, spaces, {"x": 1}])
    out = tmp_path / "v.jsonl"
    done = convert(path, out, to="chinese-vicuna", max_bad_rows=0.5)
    assert (done.rows, done.bad_rows) == (2, 1)
    assert done.not_held == {
        "a system message": 1, "an answer that is not trained": 1, "tools": 1
    }  # fmt: skip
    assert done.changed == {BORDER: 1, WHITE_SPACE: 1}
    listed = rows_of(tmp_path / "v.jsonl.left_out.jsonl")
    assert [(row["line"], row["reason"][:18]) for row in listed] == [
        (6, "not a conversation"), (2, "a system message"), (3, "tools"),
        (4, "an answer that is "),
    ]  # fmt: skip
    assert {row["source"] for row in listed} == {"a.jsonl"}
    convert(path, out, to="messages", max_bad_rows=0.5, force=True)
    assert len(list(read_conversations(out))) == 5
    convert(write("b.json", json.dumps(ALPACA)), out, to="messages", force=True)
    assert not (tmp_path / "v.jsonl.left_out.jsonl").exists()


def test_a_row_that_would_be_read_otherwise_is_not_written(write, tmp_path):
    """An instruction that looks like BELLE's turns is one question here."""
    asked = "Human: a\nAssistant: b\nHuman: c\nAssistant:"
    rows = [{"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "d"}]}
            for text in (asked, "plain")]  # fmt: skip
    done = convert(write("a.jsonl", rows), tmp_path / "b.jsonl", to="alpaca")
    assert done.rows == 1
    assert done.not_held == {"it would be read as another conversation": 1}


@pytest.mark.parametrize(
    ("suffix", "unpack"),
    [("gz", gzip.decompress), ("xz", lzma.decompress),
     ("zst", lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data))],
)  # fmt: skip
@pytest.mark.parametrize("layout", ["json", "jsonl"])
def test_the_name_says_how_it_is_packed(write, tmp_path, suffix, unpack, layout):
    path = write("a.json", json.dumps(ALPACA))
    plain, packed = tmp_path / f"b.{layout}", tmp_path / f"b.{layout}.{suffix}"
    convert(path, plain, to="sharegpt")
    convert(path, packed, to="sharegpt")
    assert unpack(packed.read_bytes()) == plain.read_bytes()
    first = packed.read_bytes()
    convert(path, packed, to="sharegpt", force=True)
    assert packed.read_bytes() == first
    assert [c.messages for c in read_conversations(packed)] == [
        c.messages for c in read_conversations(path)
    ]
    if layout == "json":
        assert len(json.loads(plain.read_text())) == 2


def test_a_pickle_of_cutegpt_and_back(write, tmp_path):
    dialogues = [[{"instruction": "a", "input": "b", "output": "c"},
                  {"instruction": "d", "input": "", "output": "e"}]]  # fmt: skip
    path = write("ift_data.pkl", pickle.dumps(dialogues))
    convert(path, tmp_path / "m.jsonl", to="messages")
    convert(tmp_path / "m.jsonl", tmp_path / "c.json", to="cutegpt")
    assert json.loads((tmp_path / "c.json").read_text()) == dialogues
    with pytest.raises(ConfigError, match="one list of dialogues"):
        convert(path, tmp_path / "c.jsonl", to="cutegpt")


def test_texts(write, tmp_path):
    path = write("a.jsonl", [{"text": " 甲\n", "language": "zh", "id": 1}, "b"])
    done = convert(path, tmp_path / "b.jsonl", to="text")
    assert rows_of(tmp_path / "b.jsonl") == [{"text": " 甲\n", "language": "zh"}, {"text": "b"}]
    assert (done.kind, done.changed) == ("documents", {"field id": 1})


def test_token_ids_become_texts(tiny_folder, tmp_path):
    import numpy as np

    from hanlin.tokenization.load import load

    tokenizer = load(tiny_folder)
    texts = ["古城 is old.", "Second 文"]
    ids = [[tokenizer.bos_id, *tokenizer.encode(text, at_start=True), tokenizer.eos_id]
           for text in texts]  # fmt: skip
    lengths = [len(sample) for sample in ids]
    (tmp_path / "k.bin").write_bytes(np.concatenate(ids).astype("<u2").tobytes())
    (tmp_path / "k.idx").write_bytes(
        np.asarray([0, lengths[0]], "<u8").tobytes() + np.asarray(lengths, "<u2").tobytes()
    )
    out = tmp_path / "out.jsonl"
    done = convert(tmp_path / "k.idx", out, to="text", tokenizer=tokenizer)
    assert [d.text for d in read_documents(out)] == texts and done.kind == "token ids"
    with pytest.raises(ConfigError, match="holds token ids, not text"):
        convert(tmp_path / "k.idx", out, to="text", force=True)
    (tmp_path / "k.bin").write_bytes(b"\xff\xff" * sum(lengths))
    with pytest.raises(InputError, match="token 65535 is none of the tokenizer's"):
        convert(tmp_path / "k.idx", out, to="text", tokenizer=tokenizer, force=True)
    assert [d.text for d in read_documents(out)] == texts


def test_mistakes_are_explained_and_leave_nothing(write, tmp_path):
    path = write("a.json", json.dumps(ALPACA))
    out = tmp_path / "new" / "b.jsonl"
    with pytest.raises(ConfigError) as caught:
        convert(path, out, to="alpacca")
    assert "unknown format 'alpacca'" in str(caught.value)
    assert caught.value.fix == "did you mean 'alpaca'?"
    with pytest.raises(ConfigError, match="holds conversations, which 'text' cannot hold"):
        convert(path, out, to="text")
    with pytest.raises(ConfigError, match=r"does not say how rows are written"):
        convert(path, tmp_path / "b.parquet", to="messages")
    with pytest.raises(ConfigError, match="holds questions, which are not converted"):
        convert(write("q.jsonl", [{"question": "?", "options": ["a", "b"]}]), out, to="messages")
    with pytest.raises(InputError, match="'alpaca' can hold none of it"):
        convert(write("t.jsonl", [TOOLS]), out, to="alpaca")
    with pytest.raises(InputError, match="is a folder"):
        convert(path, write("d.jsonl/x", "x").parent, to="messages")
    with pytest.raises(InputError, match="is read and cannot be written"):
        convert(path, path, to="messages", force=True)
    with pytest.raises(InputError, match="1 of 3 rows cannot be used"):
        convert(write("bad.jsonl", [*ALPACA, {"x": 1}]), out, to="messages")
    assert not list((tmp_path / "new").glob("*"))
    write("new/b.jsonl", "old")
    with pytest.raises(InputError, match="exists already"):
        convert(path, out, to="messages")


def test_the_command(write, tmp_path, capsys):
    path, out = write("a.jsonl", [*ALPACA, TOOLS]), tmp_path / "b.jsonl"
    command = ["data", "convert", str(path), str(out), "--to", "alpaca"]
    assert run_command([*command, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["rows"] == 2 and shown["not_held"] == {"tools": 1}
    assert run_command(command) == 4
    assert "exists already" in capsys.readouterr().err
    assert run_command([*command, "--force"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{out}: 2 rows (conversations of {path} as alpaca)\n")
    assert "not written, alpaca cannot hold it: 1 x tools" in text
    assert f"listed in {out}.left_out.jsonl" in text
