"""What `hanlin data inspect` and `prepare` show."""

import json
import re

import pytest

from hanlin.cli.main import run_command
from hanlin.core.errors import ConfigError, InputError
from hanlin.data.inspection.inspect import check_blessed, inspect
from hanlin.data.inspection.samples import bracketed
from hanlin.data.store import StoreWriter
from hanlin.tokenization.load import load

CHAT = [{"input": ["你好", "Bye"], "output": ["Hi 🙂", "再见"]}]


def test_conversations_show_what_is_trained(write, tiny_folder):
    found = inspect(write("chat.jsonl", CHAT), tokenizer=load(tiny_folder))
    assert found.kind == "conversations"
    assert [bracketed(sample) for sample in found.samples] == [
        "User: 你好\nAssistant:⟦ Hi 🙂</s>⟧User: Bye\nAssistant:⟦ 再见</s>⟧",
    ]
    assert found.counts["rows"] == 1
    assert 0 < found.counts["trained_tokens"] < found.counts["tokens"]
    alpaca = inspect(write("chat.jsonl", CHAT), prompt="alpaca").samples[0]
    assert "### Response:\n⟦Hi 🙂</s>⟧\n\n### Instruction:\nBye" in bracketed(alpaca)


def test_documents_and_questions(write, tmp_path):
    found = inspect(write("a.txt", "字" * 1000))
    assert (found.kind, found.counts["characters"]) == ("documents", 1000)
    assert bracketed(found.samples[0]).startswith("⟦字字")
    assert bracketed(found.samples[0]).endswith("⟧ ... (1004 characters)")
    found = inspect(write("q.csv", "id,question,A,B,answer\n0,谁？,甲,乙,B\n1,谁？,甲,乙,\n"))
    assert found.kind == "questions"
    assert [bracketed(sample) for sample in found.samples] == [
        "谁？\n1. 甲\n2. 乙\n-> 2. 乙  (q)", "谁？\n1. 甲\n2. 乙\n-> hidden  (q)"
    ]  # fmt: skip


def test_bad_rows_are_shown_and_do_not_stop_it(write):
    found = inspect(write("a.jsonl", '{broken\n{"text": "ok"}\n{"text": 3}\n'))
    assert (found.counts["rows"], found.counts["bad_rows"]) == (1, 2)
    assert [row["line"] for row in found.bad_rows] == [1, 3]


def test_a_file_of_another_kind_is_explained(write):
    with pytest.raises(InputError) as caught:
        inspect(write("a.jsonl", [{"x": 1}, [2]]))
    assert "holds no rows of a known kind" in str(caught.value)
    assert '{"messages": [...]}' in caught.value.fix


def turn(answer, **more):
    return {"messages": [{"role": "user", "content": "问"},
                         {"role": "assistant", "content": answer, **more}]}  # fmt: skip


def test_counts_of_conversations(write, tiny_folder):
    tokenizer = load(tiny_folder)
    rows = [turn("甲"), turn("甲"), turn("Yes", id=1), CHAT[0], {"x": 1}, turn(""), turn("")]
    found = inspect(write("a.jsonl", rows), tokenizer=tokenizer, rows=0)
    assert found.counts["rows"] == 4 and found.counts["bad_rows"] == 3
    assert found.counts["duplicates"] == 1
    assert found.counts["begin_tokens"] == 4
    assert found.counts["end_tokens"] == 5
    assert sum(bucket["rows"] for bucket in found.lengths["tokens"]) == 4
    assert found.languages == {"Han": 2, "Latin": 2}
    assert next(iter(found.reasons.items())) == ("an answer is empty", 2)
    assert found.samples == [] and found.problems == []
    check_blessed(found)
    assert found.to_json()["is_blessed"] is True


def test_lengths_are_in_powers_of_two(write):
    found = inspect(write("a.jsonl", [{"text": "x" * n} for n in (1, 2, 3, 4, 7, 16)]))
    assert found.lengths["characters"] == [
        {"from": 1, "below": 2, "rows": 1}, {"from": 2, "below": 4, "rows": 2},
        {"from": 4, "below": 8, "rows": 2}, {"from": 8, "below": 16, "rows": 0},
        {"from": 16, "below": 32, "rows": 1},
    ]  # fmt: skip


def test_what_does_not_fit_is_counted(write, tiny_folder):
    tokenizer = load(tiny_folder)
    long = {"input": ["a" * 40, "b", "c"], "output": ["d", "e", "f"]}
    path = write("a.jsonl", [long, turn("g"), turn("h" * 200)])
    whole = inspect(path, tokenizer=tokenizer)
    assert "shortened_rows" not in whole.counts
    found = inspect(path, tokenizer=tokenizer, seq_len=60)
    kept = {
        name: found.counts[name] for name in ("shortened_rows", "dropped_turns", "too_long_rows")
    }
    assert kept == {"shortened_rows": 1, "dropped_turns": 1, "too_long_rows": 1}
    assert sum(bucket["rows"] for bucket in found.lengths["tokens"]) == 2
    with pytest.raises(ConfigError, match="no tokenizer is given"):
        inspect(path, seq_len=60)


@pytest.mark.parametrize("has_tokenizer", [True, False])
def test_a_row_that_teaches_nothing_is_not_blessed(write, tiny_folder, has_tokenizer):
    tokenizer = load(tiny_folder) if has_tokenizer else None
    path = write("a.jsonl", [turn("甲"), turn("乙", weight=0), turn("丙", weight=0)])
    found = inspect(path, tokenizer=tokenizer)
    assert [(p.what, p.rows, p.where) for p in found.problems] == [
        ("no trained token", 2, f"{path}:2")
    ]  # fmt: skip
    assert "⟦" not in bracketed(found.samples[1])
    with pytest.raises(InputError) as caught:
        check_blessed(found)
    assert f"{path} is not fit for training" in str(caught.value)
    assert f"2 rows: no trained token; the first: {path}:2" in caught.value.why
    assert "weight 1" in caught.value.fix


def test_a_store_without_end_tokens_is_not_blessed(tmp_path, tiny_folder):
    tokenizer = load(tiny_folder)
    with StoreWriter(
        tmp_path / "store", tokenizer_sha256=tokenizer.sha256, vocab_size=tokenizer.vocab_size,
        has_mask=True,
    ) as writer:  # fmt: skip
        writer.begin("chat")
        for ids, trained in ([[5, 6, tokenizer.eos_id], [0, 1, 1]], [[5, 6, 7], [0, 1, 1]],
                             [[5, 6], [0, 0]], [[5, 6], [1, 1]]):  # fmt: skip
            writer.add(ids, trained=list(map(bool, trained)))
    found = inspect(tmp_path / "store", tokenizer=tokenizer)
    assert [(p.what, p.rows, p.where) for p in found.problems] == [
        ("no trained end token", 1, "chat:2"), ("no trained token", 1, "chat:3")
    ]  # fmt: skip
    assert found.counts["end_tokens"] == 1
    without = inspect(tmp_path / "store")
    assert [p.what for p in without.problems] == ["no trained token"] and without.samples == []


def test_the_command_refuses_and_still_tells(write, capsys):
    path = write("a.jsonl", [turn("甲"), turn("乙", weight=0)])
    assert run_command(["data", "inspect", str(path), "--json"]) == 4
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert found["is_blessed"] is False
    assert found["problems"][0]["what"] == "no trained token"
    assert "is not fit for training" in shown.err and "fix:" in shown.err


def test_long_work_says_how_far_it_is(write, capsys, monkeypatch):
    path = write("a.jsonl", [turn(str(n)) for n in range(500)])
    monkeypatch.setattr("hanlin.cli.console.SECONDS_BETWEEN_LINES", 0)
    assert run_command(["data", "inspect", str(path), "--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["counts"]["rows"] == 500
    assert "  400 rows\n" in shown.err


def test_when_all_rows_are_bad_the_reasons_are_shown(write, capsys):
    path = write("a.jsonl", [turn(""), turn(""), {"messages": []}])
    assert run_command(["data", "inspect", str(path)]) == 4
    shown = capsys.readouterr()
    assert "cannot be used: 2 x an answer is empty" in shown.out
    assert "cannot be used: 1 x no answer in it" in shown.out
    assert "0 rows: no row can be used" in shown.err


def test_a_prompt_format_that_cannot_hold_tools(write):
    row = {**turn("a"), "tools": [{"name": "f"}]}
    found = inspect(write("a.jsonl", [row, turn("b")]))
    assert found.counts["rows"] == 1
    assert list(found.reasons) == ["prompt format 'plain' has no place for tools"]


def test_trained_text_is_colored_on_a_terminal(write, capsys, monkeypatch):
    path = write("a.jsonl", [turn("甲")])
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    run_command(["data", "inspect", str(path)])
    assert "Assistant:\x1b[32m 甲</s>\x1b[0m" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    run_command(["data", "inspect", str(path)])
    assert "Assistant:⟦ 甲</s>⟧" in capsys.readouterr().out


def test_token_ids_of_other_programs(tmp_path, tiny_folder):
    import numpy as np

    tokenizer = load(tiny_folder)
    ids = [*tokenizer.encode("古城 is old", at_start=True), tokenizer.eos_id]
    (tmp_path / "k.bin").write_bytes(np.asarray(ids, "<u2").tobytes())
    (tmp_path / "k.idx").write_bytes(
        np.asarray([0], "<u8").tobytes() + np.asarray([len(ids)], "<u2").tobytes()
    )
    found = inspect(tmp_path, tokenizer=tokenizer)
    assert (found.kind, found.counts["rows"], found.counts["tokens"]) == ("token ids", 1, len(ids))
    assert bracketed(found.samples[0]) == "⟦ 古城 is old</s>⟧"
    assert inspect(tmp_path / "k.idx").samples == []


def test_commands(write, tiny_folder, tmp_path, capsys):
    chat = write("chat.jsonl", CHAT)
    write("corpus.txt", "The old town. 古城")
    config = write("chat.yaml", f"""
tokenizer: {tiny_folder}
sources:
  - {{path: {chat}, name: chat}}
""")  # fmt: skip
    store = tmp_path / "store"
    command = ["data", "prepare", "chat", "--config", str(config), "--out", str(store)]
    assert run_command([*command, "--seq-len", "128", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["out"] == str(store)
    assert [(s["name"], s["documents"]) for s in told["sources"]] == [("chat", 1)]
    assert json.loads((store / "store.json").read_text())["seq_len"] == 128
    assert run_command(command) == 4
    assert "exists already" in capsys.readouterr().err

    arguments = ["data", "inspect", str(store), "--tokenizer", str(tiny_folder), "--json"]
    assert run_command(arguments) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["kind"] == "token store"
    assert "Assistant:⟦ Hi 🙂</s>⟧" in shown["samples"][0]
    assert run_command(["data", "inspect", str(chat)]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{chat}: conversations\n  rows: 1\n")
    assert "--- row 1 ---\nUser: 你好" in text


def test_prepare_corpus_by_flags_alone(write, tiny_folder, tmp_path, capsys):
    texts = ("The old town. 古城", "A river.", "The old town. 古城")
    path = write("a.jsonl", "".join(json.dumps({"text": text}) + "\n" for text in texts))
    arguments = ["data", "prepare", "corpus", "--out", str(tmp_path / "store")]
    arguments += ["--tokenizer", str(tiny_folder), "--sources", f"[{{path: {path}, name: a}}]"]
    assert run_command(arguments) == 0
    assert (tmp_path / "store" / "a.ids.bin").exists()
    place, line = capsys.readouterr().out.splitlines()
    assert place == str(tmp_path / "store")
    assert re.fullmatch(r"  a: 2 rows, \d+ tokens; left out or cut: 1 duplicate", line)
    assert run_command([*arguments, "--force", "--min-caracters", "3"]) == 2
    assert "min_characters" in capsys.readouterr().err


def test_the_sample_world_is_made(tmp_path, capsys):
    assert run_command(["data", "world", "--out", str(tmp_path / "world"), "--seed", "3"]) == 0
    assert (tmp_path / "world" / "corpus" / "zh.jsonl").exists()
    assert (tmp_path / "world" / "questions" / "four-en.jsonl").exists()


def test_help_imports_nothing_heavy():
    import subprocess
    import sys

    code = (
        "import sys; from hanlin.cli.main import run_command; import hanlin.data.prepare_chat, "
        "hanlin.data.prepare_corpus; run_command(['data', '--help']); "
        "sys.exit(bool({'torch', 'transformers', 'tokenizers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
