"""`hanlin chat --questions`: each by itself, in batches, gone on with after an interruption."""

import json

import pytest

from hanlin.cli.main import run_command
from hanlin.core.records import Message
from hanlin.inference.engine import Sampling, open_engine
from hanlin.models.tiny import make_tiny
from hanlin.prompts.encode import encode_prompt
from hanlin.prompts.formats import get_format

PLAIN = get_format("plain")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def answer(model, capsys):
    """Answer a file; return exit code, stdout and stderr."""

    def run(file, out, *arguments):
        command = ["chat", model, "--questions", file, "--out", out, "--max-new-tokens", "6"]
        code = run_command([str(word) for word in [*command, *arguments]])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def rows(file):
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]


def expected(model, *messages):
    engine = open_engine(str(model))
    prompt = encode_prompt(messages, format=PLAIN, tokenizer=engine.tokenizer)
    return engine.generate([prompt], Sampling(max_new_tokens=6, stop=PLAIN.stop_strings))[0]


def test_lines_of_a_text_file(answer, model, tmp_path):
    file, out = tmp_path / "q.txt", tmp_path / "a.jsonl"
    file.write_text("你好！\n\n  Who wrote it? \n" + "汉字" * 600 + "\n", encoding="utf-8")
    code, said, _ = answer(file, out)
    assert code == 0
    assert "2 of 3 questions answered" in said
    assert "1 could not be" in said
    found = rows(out)
    assert [row["line"] for row in found] == [1, 3, 4]
    made = expected(model, Message("user", "Who wrote it?"))
    assert found[1] == {
        "line": 3, "question": "Who wrote it?", "answer": made.text.strip(),
        "stopped_by": made.stopped_by, "tokens": len(made.ids),
    }  # fmt: skip
    assert "the question has" in found[2]["error"]
    assert "answer" not in found[2]


def test_rows_of_a_json_file(answer, model, tmp_path):
    file, out = tmp_path / "q.jsonl", tmp_path / "a.jsonl"
    turns = [("system", "请简短。"), ("user", "你好！"), ("assistant", "好"), ("user", "再见")]
    messages = [{"role": role, "content": content} for role, content in turns]
    lines = [{"question": "第一行\n第二行"}, {"messages": messages}]
    file.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    code, said, _ = answer(file, out, "--json", "--system", "Be brief.")
    assert code == 0
    assert json.loads(said) == {"questions": 2, "answered": 2, "failed": 0, "out": str(out)}
    first = expected(model, Message("system", "Be brief."), Message("user", "第一行\n第二行"))
    second = expected(model, *(Message(role, content) for role, content in turns))
    assert [row["answer"] for row in rows(out)] == [first.text.strip(), second.text.strip()]


def test_an_interrupted_file_goes_on_and_ends_with_the_same_bytes(answer, tmp_path):
    file = tmp_path / "q.txt"
    file.write_text("".join(f"问题 {i}\n" for i in range(10)), encoding="utf-8")
    options = ["--batch-size", "3", "--temperature", "1.2", "--seed", "5"]
    assert answer(file, tmp_path / "whole.jsonl", *options)[0] == 0
    whole = (tmp_path / "whole.jsonl").read_bytes()
    assert len(set(row["answer"] for row in rows(tmp_path / "whole.jsonl"))) > 5
    out, journal = tmp_path / "a.jsonl", tmp_path / ".a.jsonl.answers"
    out.mkdir()  # stands where the result should go, so that all but the last step is done
    (out / "x").touch()
    assert answer(file, out, "--force", *options)[0] != 0
    lines = journal.read_bytes().split(b"\n")
    assert len(lines) == 12  # settings, ten answers, nothing
    journal.write_bytes(b"\n".join(lines[:5]) + b"\n" + lines[5][:9])  # torn in the fifth answer
    (out / "x").unlink()
    out.rmdir()
    code, _, err = answer(file, out, *options)
    assert code == 0
    assert "Going on behind 3 answers." in err
    assert out.read_bytes() == whole
    assert not journal.exists()


def test_other_settings_begin_anew_and_a_result_is_not_overwritten(answer, tmp_path):
    file, out = tmp_path / "q.txt", tmp_path / "a.jsonl"
    file.write_text("你好！\n再见\n", encoding="utf-8")
    (tmp_path / ".a.jsonl.answers").write_text('{"other": "settings"}\n{"answer": "wrong"}\n')
    code, _, err = answer(file, out, "--batch-size", "1")
    assert (code, "Going on" in err) == (0, False)
    assert "wrong" not in out.read_text(encoding="utf-8")
    code, _, err = answer(file, out)
    assert code == 4
    assert "exists already" in err
    assert answer(file, out, "--force")[0] == 0


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("q.txt", b"", "has no question"),
        ("q.txt", "你好\n再见\n".encode("gb18030"), "q.txt:1 is not utf-8"),
        ("q.jsonl", b'{"question": "x"}\n{"text": "y"}', "q.jsonl:2 is no question"),
        ("q.jsonl", b'{"messages": [{"role": "assistant", "content": "x"}]}', "no question of a"),
        ("q.jsonl", b"[1]", "q.jsonl:1 is no question"),
        ("q.jsonl", b"x", "q.jsonl:1 is no question"),
        ("none/q.txt", None, "No such file"),
    ],
)
def test_files_that_are_no_questions(answer, tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    code, out, err = answer(tmp_path / name, tmp_path / "a.jsonl")
    assert (code, out, message in err) == (4, "", True)


def test_another_encoding(answer, tmp_path):
    (tmp_path / "q.txt").write_bytes("你好\n".encode("gb18030"))
    assert answer(tmp_path / "q.txt", tmp_path / "a.jsonl", "--encoding", "gb18030")[0] == 0
    assert rows(tmp_path / "a.jsonl")[0]["question"] == "你好"
