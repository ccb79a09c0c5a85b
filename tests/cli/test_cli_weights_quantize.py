"""`hanlin weights quantize` and the mixed types of `gguf`: JSON, exit codes, nothing half made."""

import importlib.util
import json

import pytest

from hanlin.cli.main import run_command
from hanlin.models.tiny import SAMPLE_TEXTS, make_tiny


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    file = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in SAMPLE_TEXTS * 2))
    return file


@pytest.fixture
def hanlin(capsys):
    """Run a command; return exit code, stdout and stderr."""

    def run(*arguments):
        code = run_command(["weights", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def missing(module):
    return importlib.util.find_spec(module) is None


@pytest.mark.skipif(missing("bitsandbytes"), reason="bitsandbytes is not installed")
def test_quantize(hanlin, base, texts, tmp_path):
    out = tmp_path / "small"
    code, stdout, _ = hanlin(
        "quantize", base, out, "--method", "int8", "--calibration", texts, "--json"
    )
    report = json.loads(stdout)
    assert code == 0 and report["out"] == str(out) and report["method"] == "int8"
    assert abs(report["loss"]) < 0.02 and report["held_out_texts"] == 4

    code, stdout, stderr = hanlin("quantize", base, out, "--method", "int8")
    assert code == 4 and stdout == "" and "exists already" in stderr
    code, stdout, _ = hanlin("quantize", base, out, "--method", "nf4", "--force")
    assert code == 0 and "bits per byte" in stdout and "on 2 texts" in stdout


def test_wrong_use(hanlin, base, tmp_path):
    code, stdout, stderr = hanlin("quantize", base, tmp_path / "small", "--method", "nf5")
    assert code == 2 and stdout == "" and "did you mean 'nf4'?" in stderr
    code, _, stderr = hanlin("quantize", base, tmp_path / "small", "--method", "awq")
    assert code == 2 and "--calibration FILE" in stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not missing("gptqmodel"), reason="gptqmodel is installed")
def test_missing_gptqmodel(hanlin, base, texts, tmp_path):
    small = tmp_path / "small"
    code, stdout, stderr = hanlin(
        "quantize", base, small, "--method", "gptq", "--calibration", texts
    )
    assert code == 3 and stdout == "" and 'pip install "hanlin[gptq]"' in stderr


@pytest.mark.skipif(not missing("llama_cpp"), reason="llama-cpp-python is installed")
def test_missing_quantizer(hanlin, base, tmp_path):
    code, stdout, stderr = hanlin("gguf", base, tmp_path / "m.gguf", "--type", "q4_k_m")
    assert code == 3 and stdout == "" and 'pip install "hanlin[kquants]"' in stderr
    assert list(tmp_path.iterdir()) == []


def test_bits_per_byte_of_the_users_own_text(hanlin, base, texts, tmp_path):
    out = tmp_path / "m.gguf"
    code, stdout, _ = hanlin("gguf", base, out, "--type", "q8_0", "--text", texts, "--json")
    result = json.loads(stdout)
    assert code == 0 and abs(result["loss"]) < 0.005
    code, stdout, _ = hanlin("gguf", base, out, "--type", "q8_0", "--force", "--json")
    assert json.loads(stdout)["bits_per_byte_before"] != result["bits_per_byte_before"]
    code, _, stderr = hanlin("gguf", base, out, "--force", "--text", tmp_path / "none.txt")
    assert code == 4 and "none.txt does not exist" in stderr
