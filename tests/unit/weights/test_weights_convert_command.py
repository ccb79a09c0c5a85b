"""`hanlin weights convert` on the command line."""

import json

import pytest
from meta_folder import params_of, state_of, write_meta_folder

from hanlin.cli.main import run_command


@pytest.fixture
def convert(capsys):
    """Run the command; return exit code, stdout and stderr."""

    def run(*arguments):
        code = run_command(["weights", "convert", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_one_json_document_or_a_line_for_people(convert, tmp_path, caplog):
    params = params_of()
    folder = write_meta_folder(tmp_path / "meta", params, state_of(params))
    code, out, err = convert(folder, tmp_path / "hf", "--to", "hf", "--dtype", "float16", "--json")
    assert code == 0, err
    assert json.loads(out) == {
        "out": str(tmp_path / "hf"), "from": "meta", "to": "hf", "tensors": 21, "files": 1,
        "size_bytes": 2 * sum(tensor.numel() for tensor in state_of(params).values()),
        "dtype": "float16", "max_length": 4096, "has_tokenizer": False,
    }  # fmt: skip
    assert "give one with --tokenizer FILE" in caplog.text
    code, out, err = convert(tmp_path / "hf", tmp_path / "back", "--to", "meta", "--shards", 2)
    assert code == 0, err
    assert "from hf to meta: 2 files of weights in" in out
    code, out, _ = convert(folder, tmp_path / "long", "--to", "hf", "--max-length", 8000)
    assert "longest sequence 8,000 tokens (change it with --max-length)" in out


def test_refusals_have_exit_codes_and_mends(convert, tmp_path):
    code, _, err = convert(tmp_path, tmp_path / "out", "--to", "hf")
    assert code == 4 and "why:" in err and "fix:" in err
    code, _, err = convert(tmp_path, tmp_path / "out", "--to", "onnx")
    assert code == 2 and "unknown layout 'onnx'" in err
    assert convert(tmp_path, tmp_path / "out")[0] == 2
