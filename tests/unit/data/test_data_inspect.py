"""What `hanlin data inspect` and `prepare` show."""

import json

import pytest

from hanlin.cli.main import run_command
from hanlin.core.errors import InputError
from hanlin.data.inspect import inspect
from hanlin.tokenization.load import load

CHAT = [{"input": ["你好", "Bye"], "output": ["Hi 🙂", "再见"]}]


def test_conversations_show_what_is_trained(write, tiny_folder):
    found = inspect(write("chat.jsonl", CHAT), tokenizer=load(tiny_folder))
    assert found.kind == "conversations"
    assert found.samples == [
        "User: 你好\nAssistant:⟦ Hi 🙂</s>⟧User: Bye\nAssistant:⟦ 再见</s>⟧",
    ]
    assert found.counts["rows"] == 1
    assert 0 < found.counts["trained_tokens"] < found.counts["tokens"]
    alpaca = inspect(write("chat.jsonl", CHAT), prompt="alpaca").samples[0]
    assert "### Response:\n⟦Hi 🙂</s>⟧\n\n### Instruction:\nBye" in alpaca


def test_documents_and_questions(write, tmp_path):
    found = inspect(write("a.txt", "字" * 1000))
    assert (found.kind, found.counts["characters"]) == ("documents", 1000)
    assert found.samples[0].startswith("⟦字字")
    assert found.samples[0].endswith("... (1006 characters)")
    found = inspect(write("q.csv", "id,question,A,B,answer\n0,谁？,甲,乙,B\n1,谁？,甲,乙,\n"))
    assert found.kind == "questions"
    assert found.samples == [
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
    assert json.loads(capsys.readouterr().out) == {"out": str(store)}
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
    path = write("a.txt", "The old town. 古城")
    arguments = ["data", "prepare", "corpus", "--out", str(tmp_path / "store")]
    arguments += ["--tokenizer", str(tiny_folder), "--sources", f"[{{path: {path}, name: a}}]"]
    assert run_command(arguments) == 0
    assert (tmp_path / "store" / "a.ids.bin").exists()
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
