"""A recipe may name a data set of the hub: it is taken from the hub's cache, or asked for early."""

import json
import os
import subprocess
import sys

import pytest

from hanlin.data.store import TokenStore
from hanlin.models.tiny import make_tiny

RECIPE = """\
name: r
stages:
  corpus:
    stage: prepare-corpus
    tokenizer: {tiny}
    sources: [{{name: a, path: owner/set/zh}}]
"""


@pytest.fixture
def hub(tmp_path):
    """Return a cache of the hub with one data set, as its client leaves it."""
    repository = tmp_path / "hub" / "datasets--owner--set"
    snapshot = repository / "snapshots" / ("a" * 40)
    (snapshot / "zh").mkdir(parents=True)
    rows = [{"text": f"第{i}行，共五行。"} for i in range(5)]
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    (snapshot / "zh" / "train.jsonl").write_text("".join(lines), encoding="utf-8")
    (snapshot / "en.jsonl").write_text('{"text": "other"}\n')
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    return tmp_path / "hub"


def run(folder, cache):
    recipe = RECIPE.format(tiny=make_tiny(folder / "tiny"))
    (folder / "r.yaml").write_text(recipe, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "hanlin", "run", "r.yaml", "--out", "out"], cwd=folder, text=True,
        capture_output=True, env=os.environ | {"HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip


def test_what_was_fetched_before_is_prepared(tmp_path, hub):
    done = run(tmp_path, hub)
    assert done.returncode == 0, done.stderr
    store = TokenStore.open(tmp_path / "out" / "corpus" / "store")
    assert [source.documents for source in store.sources] == [5]
    again = run(tmp_path, hub)
    assert again.returncode == 0 and "up to date" in again.stdout + again.stderr


def test_what_was_not_is_told_before_anything_runs(tmp_path):
    done = run(tmp_path, tmp_path / "empty")
    assert done.returncode == 4
    assert "owner/set/zh must be fetched, but HF_HUB_OFFLINE forbids it" in done.stderr
    assert not (tmp_path / "out" / "corpus").exists()
