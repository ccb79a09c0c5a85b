import json

import pytest
from click.testing import CliRunner

from hanlin.cli.model import model
from hanlin.core.errors import InputError
from hanlin.models.load import load_pair
from hanlin.models.tiny import make_tiny
from hanlin.tokenization.extend import extend, write
from hanlin.tokenization.load import load


def call(*arguments):
    done = CliRunner().invoke(model, [str(a) for a in arguments], catch_exceptions=True)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


@pytest.fixture
def tiny(tmp_path):
    return make_tiny(tmp_path / "tiny", texts=["the old town"] * 9)


def test_info_as_table_and_json(tiny):
    assert "parameters" in call("info", tiny).stdout
    found = json.loads(call("info", tiny, "--json").stdout)
    assert (found["model_type"], found["layers"], found["hidden_size"]) == ("llama", 2, 32)


def test_info_of_a_folder_that_is_no_model(tmp_path):
    with pytest.raises(InputError, match=r"it has no config\.json"):
        call("info", tmp_path)


def test_grow(tiny, tmp_path):
    tokenizer = load(tiny)
    write(tokenizer, extend(tokenizer, ["中", "国", "中国"]), tmp_path / "extended")
    command = ["grow", tiny, "--tokenizer", tmp_path / "extended", "--out", tmp_path / "grown"]
    done = call(*command)
    _, grown = load_pair(tmp_path / "grown")
    assert grown.vocab_size == tokenizer.vocab_size + 3
    assert f"{grown.vocab_size} rows" in done.stdout
    with pytest.raises(InputError, match="grown exists already"):
        call(*command)
    call(*command, "--init", "random", "--force")
    done = call(*command, "--pad-to-multiple", "64", "--force", "--json")
    made = json.loads(done.stdout)
    assert made["rows"] % 64 == 0 and made["out"] == str(tmp_path / "grown")


def test_grow_with_a_tokenizer_that_is_no_extension(tiny, tmp_path):
    other = make_tiny(tmp_path / "other", texts=["lanterns are lit"] * 9)
    with pytest.raises(InputError, match="does not extend the one in"):
        call("grow", tiny, "--tokenizer", other, "--out", tmp_path / "grown")
    assert not (tmp_path / "grown").exists()
