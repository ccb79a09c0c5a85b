"""A wrong input gets what, why and fix, the exit code of its kind, and leaves nothing half made."""

import json
import subprocess
import sys

import pytest

from hanlin.models.tiny import make_tiny


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("models") / "tiny")


def run(folder, recipe: str) -> subprocess.CompletedProcess[str]:
    (folder / "r.yaml").write_text(f"name: r\nstages:\n{recipe}", encoding="utf-8")
    command = [sys.executable, "-m", "hanlin", "run", "r.yaml", "--out", "out"]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


def finished(folder) -> list[str]:
    """Names of what looks finished in the run directory."""
    out = folder / "out"
    return sorted(path.name for path in out.iterdir() if path.is_dir() and path.name[0] != ".")


CORPUS = """\
  corpus:
    stage: prepare-corpus
    tokenizer: {tiny}
    sources: [{{name: a, path: texts.jsonl}}]
"""


def write_texts(folder, *, good: int, bad: int) -> None:
    lines = [json.dumps({"text": f"第{i}行 line"}, ensure_ascii=False) for i in range(good)]
    lines[1:1] = ['{"text": "cut'] * bad
    (folder / "texts.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_corrupt_lines_stop_the_stage_and_are_named(tmp_path, tiny):
    write_texts(tmp_path, good=50, bad=2)
    done = run(tmp_path, CORPUS.format(tiny=tiny))
    assert done.returncode == 4, done.stderr
    for part in ("texts.jsonl:2", "why:", "fix:", "max_bad_rows"):
        assert part in done.stderr
    assert "Traceback" not in done.stderr and finished(tmp_path) == []


def test_a_few_corrupt_lines_are_counted_and_kept_aside(tmp_path, tiny):
    write_texts(tmp_path, good=300, bad=2)
    done = run(tmp_path, CORPUS.format(tiny=tiny))
    assert done.returncode == 0, done.stderr
    rows = (tmp_path / "out/corpus/store/bad_rows.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(row)["line"] for row in rows] == [2, 3]
    header = json.loads((tmp_path / "out/corpus/store/store.json").read_text(encoding="utf-8"))
    assert header["sources"][0]["bad_rows"] == 2 and header["sources"][0]["documents"] == 300


@pytest.mark.parametrize("content", ["", "\n\n  \n"])
def test_an_empty_corpus_is_refused(tmp_path, tiny, content):
    (tmp_path / "texts.jsonl").write_text(content)
    done = run(tmp_path, CORPUS.format(tiny=tiny))
    assert done.returncode == 4 and "empty" in done.stderr and "fix:" in done.stderr
    assert finished(tmp_path) == []


def test_a_missing_file_is_found_before_anything_is_written(tmp_path, tiny):
    done = run(tmp_path, CORPUS.format(tiny=tiny))
    assert done.returncode == 4 and "texts.jsonl does not exist" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("stage", ["grow", "evaluate", "export"])
def test_a_folder_that_is_no_model_is_refused(tmp_path, tiny, stage):
    (tmp_path / "nothing").mkdir()
    (tmp_path / "nothing" / "notes.txt").write_text("not a model")
    (tmp_path / "text.txt").write_text("一些文字")
    settings = {
        "grow": f"{{model: ./nothing, tokenizer: {tiny}}}",
        "export": "{model: ./nothing}",
        "evaluate": "{models: {a: ./nothing}, "
        "benchmarks: [{id: b, benchmark: bits-per-byte, data: text.txt}]}",
    }
    done = run(tmp_path, f"  {stage}: {settings[stage]}\n")
    assert done.returncode == 4, done.stderr
    assert "nothing" in done.stderr and "why:" in done.stderr and "Traceback" not in done.stderr
    assert finished(tmp_path) == []


def test_a_tokenizer_that_is_a_text_file_is_refused(tmp_path, tiny):
    write_texts(tmp_path, good=5, bad=0)
    (tmp_path / "tok").mkdir()
    (tmp_path / "tok" / "tokenizer.model").write_text("hello")
    done = run(tmp_path, CORPUS.format(tiny="tok"))
    assert done.returncode == 4 and "tokenizer.model" in done.stderr
    assert "Traceback" not in done.stderr
