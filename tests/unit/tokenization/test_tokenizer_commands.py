import json

import pytest
from click.testing import CliRunner

from hanlin.cli.tokenizer import tokenizer
from hanlin.core.errors import ConfigError, InputError
from hanlin.tokenization.load import load


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
    found = json.loads(done.stdout)
    assert [entry["vocab_size"] for entry in found["tokenizers"]] == [350, 370]
    before, after, en_before, en_after = found["rows"]
    assert after["tokens_per_character"] < before["tokens_per_character"]
    assert en_after["tokens"] == en_before["tokens"] and en_after["changed_texts"] == 0
    assert {row["broken_texts"] for row in found["rows"]} == {0}


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
    with pytest.raises(ConfigError, match=r"the command line: nothing is added: give corpus"):
        call("extend", base_folder, "--out", tmp_path / "out")


@pytest.mark.parametrize(
    ("kind", "model"), [("sp-bpe", "BPE"), ("unigram", "Unigram"), ("byte-bpe", "BPE")]
)
def test_train_every_type(tmp_path, files, kind, model):
    done = call("train", *files, "--type", kind, "--vocab-size", 345, "--special", "<end>",
                "<tool>", "--out", tmp_path / "made", "--json")  # fmt: skip
    assert 330 < json.loads(done.stdout)["vocab_size"] <= 345
    content = json.loads((tmp_path / "made" / "tokenizer.json").read_text(encoding="utf-8"))
    assert content["model"]["type"] == model
    assert (tmp_path / "made" / "tokenizer.model").exists() == (kind != "byte-bpe")
    tokenizer = load(tmp_path / "made")
    for text in ("the river <end>", "河流穿过古城", "  x\n"):
        assert tokenizer.decode(tokenizer.encode(text, at_start=True)) == text
    assert tokenizer.bytes_of(tokenizer.vocabulary["<end>"]) == b""


def test_symbols_of_a_trained_tokenizer(tmp_path, files):
    call("train", files[1], "--vocab-size", 340, "--symbols", "<sep>", "<br>",
         "--out", tmp_path / "m", "--character-coverage", 0.99, "--max-sentences", 5)  # fmt: skip
    tokenizer = load(tmp_path / "m")
    assert tokenizer.vocabulary["<br>"] in tokenizer.encode("the<br>town", at_start=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--type", "sp-bpe", "--style", "qwen2"], "--style qwen2 does not go with --type sp-bpe"),
        (["--type", "byte-bpe", "--symbols", "<x>"], "do not go with --type byte-bpe"),
        (["--type", "byte-bpe", "--character-coverage", "0.9"], "do not go with --type byte-bpe"),
    ],
)
def test_options_that_do_not_go_together(tmp_path, files, options, message):
    with pytest.raises(ConfigError, match=message):
        call("train", files[1], "--vocab-size", 340, "--out", tmp_path / "m", *options)
    assert not (tmp_path / "m").exists()


def test_train_on_a_corpus_in_another_encoding(tmp_path):
    (tmp_path / "gb.txt").write_bytes("河流穿过古城。\n".encode("gb18030") * 9)
    with pytest.raises(InputError, match="9 of 9 rows are bad"):
        call("train", tmp_path / "gb.txt", "--vocab-size", 340, "--out", tmp_path / "m")


def test_bad_rows_are_left_out_if_asked_for(tmp_path, files, base_folder):
    for file in files:
        file.write_bytes(file.read_bytes() + b"\n\xff\n")
    train = ("train", files[1], "--vocab-size", 340, "--out", tmp_path / "m")
    extend = ("extend", base_folder, "--corpus", files[0], "--add", 9, "--out", tmp_path / "x")
    for command in (train, extend):
        with pytest.raises(InputError, match="rows are bad") as caught:
            call(*command)
        assert "--max-bad-rows" in caught.value.fix
        assert call(*command, "--max-bad-rows", 0.5).exit_code == 0


def test_a_coverage_that_is_no_number(tmp_path, files):
    done = CliRunner().invoke(tokenizer, [
        "train", str(files[1]), "--vocab-size", "340", "--out", str(tmp_path / "m"),
        "--character-coverage", "nan",
    ])  # fmt: skip
    assert done.exit_code == 2 and "nan is no number that can be used" in done.output


def test_extend_by_the_published_rule(tmp_path, files, base_folder):
    call("train", files[0], "--vocab-size", 330, "--out", tmp_path / "donor")
    done = call("extend", base_folder, "--pieces", tmp_path / "donor" / "tokenizer.model",
                "--compat", "chinese-llama", "--control", files[1], "--out", tmp_path / "x",
                "--special", "<end>", "--pad-to-multiple", 64)  # fmt: skip
    report = json.loads((tmp_path / "x" / "fertility.json").read_text())
    details = json.loads((tmp_path / "x" / "extension.json").read_text())
    assert details["scores"] == "equal" and len(details["added"]) == report["added"]
    assert f"{report['added']} pieces added, {report['vocab_size']} entries now" in done.stdout
    assert "1 special tokens added" in done.stdout
    assert "unused tokens fill it up" in done.stdout
    assert "that no merges lead to" not in done.stdout


def test_extend_by_pieces_that_shorten_a_corpus(tmp_path, files, base_folder):
    call("train", files[0], "--vocab-size", 330, "--out", tmp_path / "donor")
    done = call("extend", base_folder, "--pieces", tmp_path / "donor" / "tokenizer.model",
                "--corpus", files[0], "--add", 12, "--out", tmp_path / "x", "--json")  # fmt: skip
    assert json.loads(done.stdout)["added"] == 12
    details = json.loads((tmp_path / "x" / "extension.json").read_text())
    assert set(details["added"]) <= load(tmp_path / "donor").vocabulary.keys()
