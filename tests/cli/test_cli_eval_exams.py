"""`hanlin eval` on exams: nothing is left out in silence, plots, published figures, task files."""

import json

import pytest

from exam_world import World
from hanlin.models.tiny import make_tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exams")
    make_tiny(folder / "model")
    World(folder, count=4).write_all()
    return folder


@pytest.fixture
def measure(hanlin, folder, tmp_path):
    """Run a benchmark; return exit code, what was printed, and the result file."""

    def run(benchmark, *more, data=None):
        out = tmp_path / f"{benchmark}.json"
        code, stdout, stderr = hanlin(
            "run", folder / "model", "--benchmark", benchmark, "--data", data or folder / benchmark,
            "--out", out, "--force", *more,
        )  # fmt: skip
        return code, stdout, stderr, out

    return run


def broken(folder, tmp_path):
    """A C-Eval whose rows are damaged in every way that was seen in the wild."""
    exam = tmp_path / "broken"
    (exam / "val").mkdir(parents=True)
    text = (folder / "ceval" / "val" / "law_val.csv").read_text("utf-8-sig")
    lines = [
        "90,一行太短,甲,乙",
        "91,答案不在选项里,甲,乙,丙,丁,E",
        "92,,甲,乙,丙,丁,A",
        "93,没有答案,甲,乙,丙,丁,",
    ]
    (exam / "val" / "law_val.csv").write_text(text + "\n".join(lines) + "\n")
    return exam


def test_broken_rows_hidden_answers_and_missing_subjects_are_told(measure, folder, tmp_path):
    exam = broken(folder, tmp_path)
    code, _, stderr, out = measure("ceval", "--shots", "0", data=exam)
    assert (code, out.exists()) == (4, False)
    assert "3 of 8 rows cannot be used" in stderr
    assert "law_val.csv:7: the answer 'E' is none of the 4 options" in stderr
    code, stdout, _, out = measure("ceval", "--shots", "0", "--max-bad-rows", "0.5", data=exam)
    assert code == 0
    told = [
        "3 rows cannot be used and are left out, the first: law_val.csv:6: 4 cells, expected 7",
        "51 subjects are missing, the first: computer_network",
        "1 questions have no answer and are left out",
    ]
    for line in told:
        assert f"ceval: {line}" in stdout
    code, stdout, _, out = measure(
        "ceval", "--shots", "0", "--max-bad-rows", "0.5", "--json", data=exam
    )
    row = json.loads(stdout)["rows"][0]
    for line, found in zip(told, row["problems"]["model"], strict=True):
        assert found.startswith(line)
    assert row["scores"]["model"]["n"] == 4  # none of the others counts as wrong
    details = json.loads(out.read_text())["details"]["ceval"]
    assert [bad["line"] for bad in details["bad_rows"]["rows"]] == [6, 7, 8]


def test_a_prompt_longer_than_the_window_is_told(measure, folder, tmp_path):
    exam = tmp_path / "long"
    (exam / "val").mkdir(parents=True)
    long = "很长的问题" * 600
    (exam / "val" / "law_val.csv").write_text(
        f"id,question,A,B,C,D,answer\n0,{long},甲,乙,丙,丁,A\n1,短,甲,乙,丙,丁,B\n"
    )
    code, stdout, _, _ = measure("ceval", "--shots", "0", data=exam)
    assert code == 0
    assert "ceval: 1 of 2 questions lost their beginning to fit the model's context" in stdout


def test_a_split_without_answers_is_refused_with_the_way_out(measure, folder):
    code, stdout, stderr, _ = measure("m3ke", "--split", "test", "--shots", "0")
    assert (code, stdout) == (4, "")
    assert "none of the 8 questions has an answer" in stderr
    assert "hanlin eval submit" in stderr
    code, stdout, _, _ = measure("m3ke", "--shots", "0", "--json")
    assert code == 0
    problems = json.loads(stdout)["rows"][0]["problems"]["model"]
    assert any(line.startswith("8 questions have no answer") for line in problems)


def test_published_figures_stand_beside_ones_own(measure, hanlin, tmp_path):
    _, _, _, out = measure("ceval", "--shots", "5")
    code, stdout, _ = hanlin("compare", out, "--published")
    assert code == 0
    assert "ceval, accuracy, 5 examples\npublished, not measured" in stdout
    lines = {line.split()[0]: line for line in stdout.splitlines() if line.strip()}
    assert "measured here" in lines["model"]
    assert lines["CuteGPT-13B-base"].split()[1:6] == ["0.364", "0.333", "0.420", "0.397", "0.338"]
    code, stdout, _ = hanlin("compare", out, "--published", "--json")
    found = json.loads(stdout)["published"]
    assert {p["shots"] for p in found} == {5}
    values = {(p["model"], p["part"], p["split"]): p["value"] for p in found}
    assert values["GPT-4", "Average", "not stated"] == 0.687
    assert values["Chinese-Alpaca-2-13B", "Average", "val"] == 0.459
    _, _, _, out = measure("ceval", "--shots", "2")
    _, stdout, _ = hanlin("compare", out, "--published")
    assert "no published figure was got in the same way; there are: ceval accuracy with 0" in stdout
    _, _, _, out = measure("xiezhi", "--shots", "0")
    _, stdout, _ = hanlin("compare", out, "--published", "--json")
    found = json.loads(stdout)["published"]
    assert {(p["part"], p["metric"]) for p in found} == {("spec zh", "mrr")}
    assert any(p["below_chance"] for p in found)


@pytest.mark.parametrize("kind", ["bars", "radar"])
def test_plots_are_the_same_bytes_each_time(measure, hanlin, tmp_path, kind):
    pytest.importorskip("matplotlib", reason="extra plot")
    _, _, _, out = measure("cmmlu", "--shots", "0")
    pictures = []
    for name in ("a.svg", "b.svg", "c.png"):
        code, _, stderr = hanlin("compare", out, "--plot", tmp_path / name, "--plot-as", kind)
        assert code == 0, stderr
        pictures.append((tmp_path / name).read_bytes())
    assert pictures[0] == pictures[1]
    assert pictures[2].startswith(b"\x89PNG")
    code, _, stderr = hanlin("compare", out, "--plot", tmp_path / "a.svg")
    assert code == 4 and "exists already" in stderr


def test_a_radar_needs_three_categories(measure, hanlin, tmp_path):
    pytest.importorskip("matplotlib", reason="extra plot")
    _, _, _, out = measure("agieval")
    code, _, stderr = hanlin("compare", out, "--plot", tmp_path / "x.png", "--plot-as", "radar")
    assert code == 4
    assert "no benchmark with three categories" in stderr and "--plot-as bars" in stderr


def test_export_writes_a_task_for_each_subject(hanlin, folder, tmp_path):
    out = tmp_path / "tasks"
    code, stdout, _ = hanlin(
        "export", "ceval", "--data", folder / "ceval", "--shots", "1", "--out", out, "--json"
    )
    assert code == 0
    found = json.loads(stdout)
    assert (found["task"], found["subjects"], found["questions"]) == ("hanlin_ceval", 3, 12)
    assert f"--include_path {out}" in found["command"]
    rows = [json.loads(line) for line in (out / "hanlin_ceval_law.jsonl").read_text().splitlines()]
    assert rows[0]["choices"] == ["A", "B", "C", "D"]
    assert rows[0]["text"].startswith("以下是中国关于法学考试的单项选择题")
    assert "doc_to_text: text" in (out / "hanlin_ceval_law.yaml").read_text()
    again = ["export", "ceval", "--data", folder / "ceval", "--shots", "0", "--out", out]
    code, _, stderr = hanlin(*again)
    assert code == 4 and "exists already" in stderr
    assert hanlin(*again, "--force")[0] == 0


def test_what_cannot_be_exported(hanlin, folder, tmp_path):
    start = ["export", "ceval", "--data", folder / "ceval", "--out", tmp_path / "x"]
    for more, message in (
        (["--protocol", "chat"], "asked in the model's chat format"),
        (["--scorer", "generate"], "cannot be written as a task of options"),
    ):
        code, _, stderr = hanlin(*start, *more)
        assert code == 2 and message in stderr
    code, _, stderr = hanlin("export", "bits-per-byte", "--data", folder, "--out", tmp_path / "x")
    assert code == 2 and "asks no questions with options" in stderr
    code, stdout, _ = hanlin(
        "export", "agieval", "--data", folder / "agieval", "--out", tmp_path / "agi"
    )
    assert code == 0 and "1 questions have no answer or no options and are left out" in stdout


def test_a_model_in_eight_bits(measure, hanlin, folder):
    pytest.importorskip("bitsandbytes", reason="extra quantize")
    _, _, _, out = measure("ceval", "--shots", "0")
    exact = json.loads(out.read_text())["records"][0]["log_likelihoods"]
    code, _, stderr, out = measure("ceval", "--shots", "0", "--dtype", "int8")
    assert code == 0, stderr
    rounded = json.loads(out.read_text())["records"][0]["log_likelihoods"]
    assert rounded == pytest.approx(exact, abs=0.5)
    assert rounded != exact
