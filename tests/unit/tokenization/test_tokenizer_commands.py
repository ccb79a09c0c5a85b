import json

import pytest
from click.testing import CliRunner

from hanlin.cli.tokenizer import tokenizer
from hanlin.core.errors import ConfigError, InputError


def call(*arguments):
    done = CliRunner().invoke(tokenizer, [str(a) for a in arguments], catch_exceptions=True)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


@pytest.fixture
def files(tmp_path, english, chinese):
    zh, en = tmp_path / "zh.txt", tmp_path / "en.txt"
    zh.write_text("\n".join(chinese), encoding="utf-8")
    en.write_text("\n".join(english), encoding="utf-8")
    return zh, en


def test_train_extend_compare(tmp_path, files):
    zh, en = files
    done = call("train", en, zh, "--vocab-size", 350, "--out", tmp_path / "base", "--json")
    assert json.loads(done.stdout)["vocab_size"] == 350
    done = call(
        "extend", tmp_path / "base", "--corpus", zh, zh, "--control", en, "--add", 20,
        "--out", tmp_path / "more", "--json",
    )  # fmt: skip
    report = json.loads(done.stdout)
    assert (report["added"], report["english_ids_changed"]) == (20, 0)
    done = call("compare", tmp_path / "base", tmp_path / "more", "--text", zh, en, "--json")
    rows = json.loads(done.stdout)
    assert [row["vocab_size"] for row in rows] == [350, 350, 370, 370]
    assert rows[2]["tokens_per_character"] < rows[0]["tokens_per_character"]
    assert rows[3]["tokens"] == rows[1]["tokens"]
    assert {row["broken_texts"] for row in rows} == {0}


def test_tables_for_people(tmp_path, files, base_folder):
    zh, en = files
    done = call("extend", base_folder, "--corpus", zh, "--add", 20, "--out", tmp_path / "more")
    assert "20 pieces added" in done.stdout
    assert "tokens per character" in done.stdout
    done = call("compare", base_folder, tmp_path / "more", "--text", en)
    assert done.stdout.count("exact") == 2


def test_pieces_and_a_second_run_with_force(tmp_path, files, base_folder):
    donor = tmp_path / "donor"
    call("train", files[0], "--vocab-size", 330, "--out", donor)
    command = [
        "extend",
        base_folder,
        "--pieces",
        donor / "tokenizer.model",
        "--out",
        tmp_path / "x",
    ]
    call(*command)
    with pytest.raises(InputError, match="x exists already"):
        call(*command)
    call(*command, "--force")
    assert (tmp_path / "x" / "fertility.json").exists()


def test_a_failed_command_leaves_nothing(tmp_path, files, base_folder):
    with pytest.raises(InputError, match="is not a SentencePiece model"):
        call("extend", base_folder, "--pieces", files[1], "--out", tmp_path / "out")
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]


def test_extend_needs_pieces_or_a_corpus(tmp_path, base_folder):
    with pytest.raises(ConfigError, match=r"the command line: give corpus .* or pieces"):
        call("extend", base_folder, "--out", tmp_path / "out")
