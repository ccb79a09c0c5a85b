"""`hanlin plan`: fits or not, what to change, time and cost; fast, without torch."""

import json
import subprocess
import sys

import pytest

from hanlin.cli.main import run_command

ASKED = ["plan", "--model", "llama-13b", "--method", "qlora", "--seq-len", "2048",
         "--gpu", "rtx-2080ti"]  # fmt: skip


@pytest.fixture
def hanlin(capsys):
    """Run a command; return exit code, stdout and stderr."""

    def run(*arguments):
        code = run_command([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_whether_it_fits_and_what_to_change(hanlin):
    code, out, _ = hanlin(*ASKED)
    assert code == 0 and "does not fit: 27.9 GiB at the peak, of 10.4 GiB usable" in out
    assert "schedule.gradient_checkpointing=true: 9.3 GiB" in out
    code, out, _ = hanlin(*ASKED, "--checkpointing", "--json")
    (forecast,) = json.loads(out)["forecasts"]
    assert forecast["fits"] and forecast["changes"] == []
    memory = forecast["memory"]
    assert memory["total"] == sum(size for name, size in memory.items() if name != "total")


def test_planning_imports_no_framework():
    script = (
        "from hanlin.cli.main import run_command\n"
        f"run_command({ASKED})\n"
        "import sys; print(*sorted({m.partition('.')[0] for m in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.splitlines()[-1].split())
    assert not loaded & {"torch", "transformers", "peft", "numpy", "matplotlib", "huggingface_hub"}


def test_all_cards_and_ones_own(hanlin):
    _, out, _ = hanlin("plan", "--model", "llama-7b", "--json")
    names = [item["gpu"] for item in json.loads(out)["forecasts"]]
    assert names[0] == "rtx-2080ti" and {"v100-32g", "a100", "h100", "h200"} <= set(names)
    _, out, _ = hanlin("plan", "--model", "llama-7b", "--gpu", "16:97:500", "--gpu", "a100")
    assert "16:97:500" in out and "a100" in out


def test_hours_and_cost(hanlin):
    words = ["plan", "--model", "llama-7b", "--gpu", "a100", "--tokens", "1e9", "--price", "2"]
    _, out, _ = hanlin(*words, "--gpus", "4", "--json")
    value = json.loads(out)
    (forecast,) = value["forecasts"]
    hours = forecast["tokens"] / forecast["tokens_per_second"] / 3600
    assert forecast["hours"] == pytest.approx(hours, abs=0.01)
    assert forecast["usd"] == pytest.approx(hours * 4 * 2, rel=0.01)
    assert [item["gpus"] for item in value["scaling"]] == [1, 2, 4]
    _, out, _ = hanlin(*words)
    assert "hours for 1,000.0 million tokens, about" in out


def test_many_machines_send_over_the_network(hanlin):
    words = ["plan", "--model", "llama-7b", "--method", "full", "--gpu", "a100", "--gpus", "16"]
    speeds = []
    for network in (10, 400):
        _, out, _ = hanlin(*words, "--network", network, "--json")
        (forecast,) = json.loads(out)["forecasts"]
        assert forecast["nodes"] == 2 and forecast["zero_stage"] == 3
        speeds.append(forecast["tokens_per_second"])
    assert speeds[0] < speeds[1] / 2


def test_a_recipe_with_all_its_trainings(hanlin):
    code, out, _ = hanlin("plan", "cutegpt-13b", "--gpu", "a100")
    assert code == 0 and out.count("13.20 B parameters") == 3 and "each of 8 A100" in out
    code, out, _ = hanlin("plan", "cutegpt-13b", "--tiny", "--gpu", "rtx-3090", "--json")
    assert code == 0 and all(item["fits"] for item in json.loads(out)["forecasts"])


def test_a_picture(hanlin, tmp_path):
    pytest.importorskip("matplotlib")
    code, _, err = hanlin(*ASKED, "--plot", tmp_path / "memory.png")
    assert code == 0 and "memory.png" in err
    first = (tmp_path / "memory.png").read_bytes()
    assert first.startswith(b"\x89PNG")
    hanlin(*ASKED, "--plot", tmp_path / "memory.png")
    assert (tmp_path / "memory.png").read_bytes() == first


def test_published_figures(hanlin):
    code, out, _ = hanlin("plan", "--published", "--json")
    value = json.loads(out)
    assert code == 0 and value["median_error"]["memory"] < 0.15 and len(value["memory"]) >= 40
    code, out, _ = hanlin("plan", "--published")
    assert "memory: median error" in out and "speed: median error" in out


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["plan"], 2, "give a recipe or --model"),
        (["plan", "quickstart", "--model", "llama-7b"], 2, "are both given"),
        (["plan", "--model", "llama-9b"], 4, "did you mean"),
        (["plan", "--model", "llama-7b", "--gpu", "gtx"], 2, "unknown card 'gtx'"),
        (["plan", "--model", "llama-7b", "--gpu", "1:2"], 2, "three positive numbers"),
    ],
)
def test_mistakes(hanlin, words, code, message):
    found, out, err = hanlin(*words)
    assert (found, out) == (code, "") and message in err


def test_a_recipe_without_a_known_training(hanlin, tmp_path):
    file = tmp_path / "world.yaml"
    file.write_text("name: world\nstages:\n  world: {stage: sample-world}\n")
    code, _, err = hanlin("plan", file)
    assert code == 2 and "no training stage whose model's shape is known" in err


def test_a_run_stops_before_hours_are_lost(hanlin, tmp_path, monkeypatch):
    from hanlin.core import environment

    monkeypatch.setattr(environment, "available_memory_bytes", lambda: 1000)
    code, out, err = hanlin("run", "quickstart", "--out", tmp_path / "run")
    assert (code, out) == (5, "") and "would not get to its end" in err
    assert not (tmp_path / "run").exists()
