"""`kill -9` ten times at random moments of `hanlin data prepare corpus`: the same bytes."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from hanlin.core.events import EventLog
from hanlin.core.files import list_files
from hanlin.core.stage import StageContext
from hanlin.data import prepare_corpus
from hanlin.models.tiny import make_tiny

KILLS, PATIENCE_S = 10, 120
WORDS = [
    "the",
    "old",
    "town",
    "has",
    "a",
    "river",
    "and",
    "古城",
    "的",
    "老师",
    "写",
    "了",
    "这本书",
    "在",
    "山",
    "里",
    "她",
    "说",
    "好",
    "。",
    "，",
    ".",
    "\n",
]


@pytest.fixture(scope="module")
def values(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepare")
    draw, rows = random.Random(0), []
    for number in range(300):
        text = " ".join(draw.choices(WORDS, k=800))
        rows.append({"text": f"{number} {text} a{number % 50}@b.com"})
    rows += rows[:50]
    almost = [{"text": row["text"] + " 山"} for row in rows[:20]]
    rows += [*almost, *almost]
    for name in ("a", "b"):
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text("".join(lines))
    return {
        "sources": [{"path": str(folder / f"{n}.jsonl"), "name": n} for n in ("a", "b")],
        "tokenizer": str(make_tiny(folder / "tiny")),
        "shard_characters": 1000,  # one document: many moments at which it can be killed
        "cleaning": {"mask": ["email"], "near_duplicates": 0.9},
    }


def bytes_of(folder):
    names = (file.relative_to(folder).as_posix() for file in list_files(folder))
    return {name: (folder / name).read_bytes() for name in names if name != "events.jsonl"}


def shards_done(journal):
    try:
        progress = json.loads(journal.read_text())["progress"]
    except (OSError, ValueError):
        return 0
    return progress["source"] * 1000 + progress["shards"]


def workers_of(parent):
    """Return the processes that a process has started and that still run."""
    done = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True
    )
    return [int(pid) for pid in done.stdout.split()]


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_killed_and_restarted_it_gives_the_same_bytes(values, tmp_path):
    whole = tmp_path / "whole"
    whole.mkdir()
    config = prepare_corpus.Config.model_validate(values)
    prepare_corpus.STAGE.run(config, StageContext("x", whole, 0, EventLog(tmp_path / "e.jsonl")))
    expected = bytes_of(whole / "store")

    (tmp_path / "corpus.json").write_text(json.dumps({**values, "workers": 2}))
    out = tmp_path / "store"
    command = [sys.executable, "-m", "hanlin", "data", "prepare", "corpus", "--config",
               str(tmp_path / "corpus.json"), "--out", str(out)]  # fmt: skip
    journal = tmp_path / ".store.work" / ".work" / "prepare-corpus" / "journal.json"
    draw, seen, orphans = random.Random(1), [], []
    for _ in range(KILLS):
        before = shards_done(journal)
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE_S
        while shards_done(journal) <= before and child.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        time.sleep(draw.random() * 0.05)
        assert child.poll() is None, f"it ended before it was killed: {seen}"
        orphans += workers_of(child.pid)
        child.send_signal(signal.SIGKILL)
        child.wait()
        seen.append(shards_done(journal))
        assert not out.exists()
    assert seen == sorted(seen) and seen[0] > 0  # finished shards stay finished
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert bytes_of(out) == expected
    counts = json.loads((out / "counts.json").read_text())["sources"]
    assert [source["dropped"]["near_duplicate"] for source in counts] == [20, 20]
    assert [(s["documents"], s["dropped"]["duplicate"]) for s in counts] == [(300, 70)] * 2
    assert counts[0]["masked"] == {"email": 300 + 50 + 40}
    while any(map(is_alive, orphans)):  # workers of a killed process end by themselves
        assert time.monotonic() < deadline + PATIENCE_S
        time.sleep(0.05)
