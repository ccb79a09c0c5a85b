"""`kill -9` in the middle of `hanlin eval run`, then the same call: the same file, little lost."""

import json
import os
import signal
import subprocess
import sys
import time

from hanlin.cli.main import run_command
from hanlin.evaluation.cache import SCORE_BLOCK
from hanlin.models.tiny import make_tiny

QUESTIONS, PATIENCE_S = 640, 120


def start(arguments, cache):
    environment = {**os.environ, "HANLIN_CACHE": str(cache)}
    command = [sys.executable, "-m", "hanlin", "eval", "run", *arguments]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def journal_of(cache):
    """Return the bytes of the journal; none before there is one."""
    files = list(cache.glob("responses/*.jsonl"))
    return files[0].read_bytes() if files else b""


def test_a_killed_run_ends_in_the_same_file(tmp_path, capsys):
    model = make_tiny(tmp_path / "model")
    data = tmp_path / "questions.jsonl"
    rows = [
        {"id": f"q{n}", "question": f"问题{n}？" + "河流穿过古城。" * 8, "answer": n % 4,
         "options": [f"甲{n}", f"乙{n}", f"丙{n}", f"丁{n}"], "subject": "s", "language": "zh"}
        for n in range(QUESTIONS)
    ]  # fmt: skip
    data.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    arguments = [str(model), "--benchmark", "questions", "--data", str(data), "--scorer", "text"]
    assert run_command(["eval", "run", *arguments, "--out", str(tmp_path / "whole.json")]) == 0
    capsys.readouterr()

    cache, out = tmp_path / "killed" / "cache", tmp_path / "killed.json"
    child = start([*arguments, "--out", str(out)], cache)
    deadline = time.monotonic() + PATIENCE_S
    while not journal_of(cache):
        assert child.poll() is None, child.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.001)
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    assert not out.exists()
    kept = journal_of(cache)

    again = start([*arguments, "--out", str(out)], cache)
    _, errors = again.communicate(timeout=PATIENCE_S)
    assert again.returncode == 0, errors
    assert out.read_bytes() == (tmp_path / "whole.json").read_bytes()
    answers = journal_of(cache)
    assert answers.startswith(kept)  # what was computed stands,
    lines = answers[len(kept) :].splitlines()
    assert len(kept.splitlines()) >= 1
    assert len(lines) + len(kept.splitlines()) <= 4 * QUESTIONS + SCORE_BLOCK  # but one block
