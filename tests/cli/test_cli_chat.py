"""`hanlin chat` in a pipe: questions in, answers out, commands obeyed, broken bytes survived."""

import contextlib
import io
import json
import os
import pty
import select
import signal
import sys
import time

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
def chat(model, monkeypatch, capsys):
    """Run `hanlin chat` with bytes on stdin; return exit code, stdout and stderr."""

    def run(typed, *arguments):
        stdin = io.TextIOWrapper(io.BytesIO(typed), encoding="ascii")
        monkeypatch.setattr(sys, "stdin", stdin)
        code = run_command(["chat", str(model), "--max-new-tokens", "8", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def expected(model, *messages, format=PLAIN, **settings):
    engine = open_engine(str(model))
    prompt = encode_prompt(messages, format=format, tokenizer=engine.tokenizer)
    sampling = Sampling(max_new_tokens=8, stop=format.stop_strings, **settings)
    return engine.generate([prompt], sampling)[0].text.lstrip()


def user(text):
    return Message("user", text)


def test_a_line_in_a_pipe_is_answered_on_stdout(chat, model):
    code, out, _ = chat("这本书是谁写的？\n".encode())
    assert code == 0
    assert out == expected(model, user("这本书是谁写的？")) + "\n"


def test_lines_are_one_conversation_until_reset(chat, model):
    code, out, err = chat("你好！\r\n\n  \n/reset\n你好！".encode())
    answer = expected(model, user("你好！"))
    assert (code, out) == (0, f"{answer}\n{answer}\n")
    assert "A new conversation." in err


def test_commands(chat, model):
    code, out, err = chat("/system 请简短回答。\n你好！\n/help\n/quit\n再见\n".encode())
    assert code == 0
    assert out == expected(model, Message("system", "请简短回答。"), user("你好！")) + "\n"
    assert "System message: 请简短回答。" in err
    assert "Ctrl-C stops an answer." in err


def test_options_reach_the_model(chat, model):
    _, out, _ = chat("你好！".encode(), "--system", "Be brief.")
    assert out == expected(model, Message("system", "Be brief."), user("你好！")) + "\n"
    _, out, _ = chat("你好！".encode(), "--temperature", "1.5", "--seed", "3", "--top-p", "0.9")
    assert out == expected(model, user("你好！"), temperature=1.5, seed=3, top_p=0.9) + "\n"
    _, out, _ = chat("你好！".encode(), "--prompt", "alpaca")
    assert out == expected(model, user("你好！"), format=get_format("alpaca")) + "\n"


def test_a_byte_order_mark_and_bytes_of_another_encoding(chat, model):
    code, out, _ = chat(b"\xef\xbb\xbf" + "你好！".encode())
    assert (code, out) == (0, expected(model, user("你好！")) + "\n")
    code, out, err = chat("你好！\n".encode() + "再见\n".encode("gb18030"))
    assert (code, out) == (4, expected(model, user("你好！")) + "\n")
    assert "line 2 of the standard input is not utf-8" in err
    assert "as gb18030 it reads: 再见" in err
    assert "add --encoding gb18030" in err
    code, out, _ = chat("你好！\n".encode("gb18030"), "--encoding", "gb18030")
    assert (code, out) == (0, expected(model, user("你好！")) + "\n")
    code, _, err = chat(b"\xff\xff\xff\n")
    assert code == 4
    assert "convert the text to UTF-8 first" in err


def test_several_lines_as_one_question(chat, model):
    asked = ["第一行\n第二行", "一\n\n二", "三"]
    typed = '第一行\\\n第二行\n/reset\n"""一\n\n二"""\n/reset\n"""\n三\n'
    code, out, _ = chat(typed.encode(), "--json")
    assert code == 0
    assert [turn["question"] for turn in json.loads(out)["turns"]] == asked
    assert json.loads(out)["turns"][0]["answer"] == expected(model, user(asked[0])).rstrip()


def test_json_is_one_document(chat, model):
    _, out, _ = chat("你好！\n/reset\nhi".encode(), "--json")
    answers = [expected(model, user(text)).rstrip() for text in ("你好！", "hi")]
    assert json.loads(out) == {
        "model": str(model),
        "turns": [
            {"question": "你好！", "answer": answers[0]},
            {"question": "hi", "answer": answers[1]},
        ],
    }


def test_retry_edit_undo_and_params(chat, model):
    typed = "你好！\n/params temperature 1.5\n/params\n/retry\n/edit 再见\n/undo\n你好！"
    code, out, err = chat(typed.encode(), "--json")
    assert code == 0
    answers = [turn["answer"] for turn in json.loads(out)["turns"]]
    assert answers == [
        expected(model, user("你好！")).rstrip(),
        expected(model, user("你好！"), temperature=1.5, seed=1).rstrip(),
        expected(model, user("再见"), temperature=1.5).rstrip(),
        expected(model, user("你好！"), temperature=1.5).rstrip(),
    ]
    assert "temperature 1.5" in err
    assert "memory_turns all" in err
    assert "Taken back: 再见" in err


def test_save_load_and_replay(chat, model, tmp_path, capsys):
    file = tmp_path / "talk.json"
    typed = f"你好！\n/params seed 7\n/save {file}\n/reset\n/load {file}\n/retry\n/save {file}"
    code, _, err = chat(typed.encode(), "--temperature", "1.2", "--memory-turns", "2")
    assert code == 0
    assert err.count(f"Saved to {file}") == 2
    assert "> 你好！" in err  # shown when it is loaded
    saved = json.loads(file.read_text(encoding="utf-8"))
    assert saved["sampling"] == {"max_new_tokens": 8, "temperature": 1.2, "seed": 7}
    assert saved["memory_turns"] == 2
    assert run_command(["chat", str(model), "--replay", str(file), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["same"] == 1
    assert found["turns"][0]["now"] == saved["messages"][1]["content"]
    saved["messages"][1]["content"] = "从前的回答"
    file.write_text(json.dumps(saved), encoding="utf-8")
    assert run_command(["chat", str(model), "--replay", str(file)]) == 0
    assert "(then: 从前的回答)\n0 of 1 answers are the same" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("/nonsense", 2, "unknown command /nonsense"),
        ("/rest", 2, "did you mean '/reset'"),
        ("/params", 0, "prompt format plain"),
        ("/params heat 2", 2, "there is no parameter 'heat'"),
        ("/params seed", 2, "/params seed has no value"),
        ("/params seed x", 2, "it must be a whole number"),
        ("/params top_p 3", 2, "above 0 and at most 1"),
        ("/params memory_turns -1", 2, "memory_turns is -1"),
        ("/params memory_turns 3", 0, ""),
        ("/params stop [。, 完]", 0, ""),
        ("/retry", 4, "nothing was asked yet"),
        ("/undo", 4, "nothing was asked yet"),
        ("/edit", 2, "/edit needs the new question"),
        ("/save", 2, "/save needs a file"),
        ("/load /no/such/file", 4, "/no/such/file does not exist"),
        (f"/save {__file__}", 4, "exists and is no saved conversation"),
        ("/save /proc/x/talk.json", 4, "/proc/x"),
    ],
)
def test_commands_that_cannot_be_carried_out(chat, line, code, message):
    found, _, err = chat(line.encode())
    assert (found, message in err) == (code, True)


def test_beam_search_and_penalties_reach_the_model(chat, model):
    _, out, _ = chat("你好！".encode(), "--num-beams", "3", "--length-penalty", "0.5")
    assert out == expected(model, user("你好！"), num_beams=3, length_penalty=0.5) + "\n"
    options = ["--repetition-penalty", "1.3", "--top-k", "5", "--min-p", "0.1"]
    _, out, _ = chat("你好！".encode(), "--temperature", "1", *options)
    settings = {"repetition_penalty": 1.3, "top_k": 5, "min_p": 0.1, "temperature": 1.0}
    assert out == expected(model, user("你好！"), **settings) + "\n"


def test_nothing_typed(chat):
    assert chat(b"") == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--temperature", "-1"], 2, "temperature is -1.0"),
        (["--prompt", "alpacca"], 2, "did you mean 'alpaca'"),
        (["--temperature", "warm"], 2, "is not a valid float"),
        (["--backend", "vlm"], 2, "did you mean 'vllm'"),
        (["--tokenizer", "x"], 2, "tokenizer cannot be chosen"),
        (["--questions", "x.txt"], 2, "--questions needs --out"),
        (["--out", "x.jsonl"], 2, "--out needs --questions"),
        (["--questions", "x", "--out", "y", "--replay", "z"], 2, "cannot both be given"),
    ],
)
def test_wrong_options(chat, arguments, code, message):
    assert chat("你好！".encode(), *arguments)[0] == code
    assert message in chat("你好！".encode(), *arguments)[2]


def test_a_question_too_long_for_a_pipe(chat):
    code, out, err = chat("汉字".encode() * 600)
    assert (code, out) == (4, "")
    assert "the question has" in err


def test_missing_model(capsys):
    assert run_command(["chat", "no/such/model"]) == 4
    assert "no/such/model does not exist" in capsys.readouterr().err


class Terminal:
    """A real terminal with `hanlin chat` in it."""

    def __init__(self, model, *arguments, **environment):
        self.pid, self.handle = pty.fork()
        if self.pid == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a job in the background ignores it
            os.environ |= environment
            words = [sys.executable, "-m", "hanlin", "chat", str(model), *arguments]
            os.execv(sys.executable, words)
        self.seen = b""

    def press_ctrl_c(self, *, until):
        """Press it again where Python has not come back to waiting: it then does not notice it."""
        for _ in range(20):
            self.type(b"\x03")
            with contextlib.suppress(AssertionError):
                self.wait_for(until, seconds=10)
                return
        raise AssertionError(f"{until!r} did not come")

    def leave_by_ctrl_c(self):
        """Press it, again where it was not noticed, until the process ends; return its code."""
        for _ in range(20):
            self.type(b"\x03")
            end = time.monotonic() + 5
            while time.monotonic() < end:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                if pid:
                    os.close(self.handle)
                    return os.waitstatus_to_exitcode(status)
                time.sleep(0.05)
        os.kill(self.pid, signal.SIGKILL)
        raise AssertionError("Ctrl-C did not end it")

    def wait_for(self, text, seconds=120):
        """Read until a text has come since the last wait."""
        end = time.monotonic() + seconds
        while text not in self.seen:
            ready, _, _ = select.select([self.handle], [], [], max(0, end - time.monotonic()))
            assert ready, f"{text!r} did not come, but {self.seen!r}"
            self.seen += os.read(self.handle, 4096)
        before, _, self.seen = self.seen.partition(text)
        return before

    def type(self, data):
        os.write(self.handle, data)


def test_a_terminal_streams_and_ctrl_c_stops_the_answer_not_the_chat(model, tmp_path):
    history = tmp_path / "state" / "history"
    settings = {"HANLIN_HISTORY": str(history), "LC_ALL": "C.UTF-8"}
    terminal = Terminal(model, "--max-new-tokens", "480", **settings)
    terminal.wait_for(b"/quit leaves.")
    terminal.wait_for(b"> ")
    terminal.type("这本书是谁写的？\n".encode())
    terminal.wait_for(b"\n")  # the echo of the question
    terminal.seen += os.read(terminal.handle, 1)  # the answer has begun
    terminal.type(b"\x03")
    terminal.wait_for(b"(stopped)")
    terminal.wait_for(b"> ")
    terminal.type(b"half a line")  # is thrown away
    terminal.wait_for(b"half a line")
    terminal.press_ctrl_c(until=b"once more, Ctrl-D or /quit leaves")
    terminal.wait_for(b"> ")
    terminal.type(("汉字" * 600 + "\n").encode())
    terminal.wait_for(b"error: the question has")
    terminal.wait_for(b"> ")
    terminal.type(b"/params num_beams 2\n")
    terminal.wait_for(b"> ")
    terminal.type("一行\\\n".encode())
    terminal.wait_for(b"... ")
    terminal.type("两行\n".encode())
    assert b"\x1b[90m" in terminal.wait_for(b"\x1b[K")  # a tail in gray, and away again
    terminal.type(b"\x03")
    terminal.wait_for(b"(stopped)")
    terminal.type(b"/undo\n")
    terminal.wait_for("Taken back: 一行".encode())
    terminal.wait_for(b"> ")
    terminal.press_ctrl_c(until=b"once more")  # twice on an empty line leaves
    terminal.wait_for(b"> ")
    assert terminal.leave_by_ctrl_c() == 0
    lines = history.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "这本书是谁写的？"
    assert lines[-1] == "/undo"
    assert history.stat().st_mode & 0o077 == 0
