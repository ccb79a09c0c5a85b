"""`hanlin chat` in a pipe: questions in, answers out, commands obeyed, broken bytes survived."""

import io
import json
import os
import pty
import select
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
    code, out, err = chat("/system 请简短回答。\n你好！\n/help\n/nonsense\n/quit\n再见\n".encode())
    assert code == 0
    assert out == expected(model, Message("system", "请简短回答。"), user("你好！")) + "\n"
    assert "System message: 请简短回答。" in err
    assert err.count("Ctrl-C stops an answer.") == 2
    assert "unknown command /nonsense" in err


def test_options_reach_the_model(chat, model):
    _, out, _ = chat("你好！".encode(), "--system", "Be brief.")
    assert out == expected(model, Message("system", "Be brief."), user("你好！")) + "\n"
    _, out, _ = chat("你好！".encode(), "--temperature", "1.5", "--seed", "3", "--top-p", "0.9")
    assert out == expected(model, user("你好！"), temperature=1.5, seed=3, top_p=0.9) + "\n"
    _, out, _ = chat("你好！".encode(), "--prompt", "alpaca")
    assert out == expected(model, user("你好！"), format=get_format("alpaca")) + "\n"


def test_broken_bytes_and_a_byte_order_mark(chat):
    code, out, err = chat(b"\xef\xbb\xbf" + "你好".encode()[:-1] + b"\xff\n", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["turns"][0]["question"] == "你\ufffd\ufffd"


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


def test_nothing_typed(chat):
    assert chat(b"") == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--temperature", "-1"], 2, "temperature is -1.0"),
        (["--prompt", "alpacca"], 2, "did you mean 'alpaca'"),
        (["--temperature", "warm"], 2, "is not a valid float"),
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

    def __init__(self, model):
        self.pid, self.handle = pty.fork()
        if self.pid == 0:
            command = [
                sys.executable,
                "-m",
                "hanlin",
                "chat",
                str(model),
                "--max-new-tokens",
                "480",
            ]
            os.execv(sys.executable, command)
        self.seen = b""

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


def test_a_terminal_streams_and_ctrl_c_stops_the_answer_not_the_chat(model):
    terminal = Terminal(model)
    terminal.wait_for(b"/quit leaves.")
    terminal.wait_for(b"> ")
    terminal.type("这本书是谁写的？\n".encode())
    terminal.wait_for(b"\n")  # the echo of the question
    terminal.seen += os.read(terminal.handle, 1)  # the answer has begun
    terminal.type(b"\x03")
    terminal.wait_for(b"(stopped)")
    terminal.wait_for(b"> ")
    terminal.type(("汉字" * 600 + "\n").encode())
    terminal.wait_for(b"error: the question has")
    terminal.wait_for(b"> ")
    terminal.type(b"/quit\n")
    assert os.waitstatus_to_exitcode(os.waitpid(terminal.pid, 0)[1]) == 0
    os.close(terminal.handle)
