"""Tokenizers beside each other on texts: counts checked by hand, wrong input told by name."""

import hashlib
import json
import sys

import pytest
import tokenizers

from hanlin.cli.main import run_command
from hanlin.core.errors import ConfigError, InputError, MissingExtraError
from hanlin.tokenization.compare import compare
from hanlin.tokenization.comparison import short_names
from hanlin.tokenization.fertility import measure
from hanlin.tokenization.load import load
from hanlin.tokenization.plot import check_plot, draw


@pytest.fixture(scope="module")
def extended(base_folder, chinese, tmp_path_factory):
    folder = tmp_path_factory.mktemp("extended")
    (folder / "zh.txt").write_text("\n".join(chinese), encoding="utf-8")
    command = ["tokenizer", "extend", base_folder, "--corpus", folder / "zh.txt", "--add", 15,
               "--out", folder / "out"]  # fmt: skip
    assert run_command([str(word) for word in command]) == 0
    return load(folder / "out")


@pytest.fixture(scope="module")
def byte_level(english, tmp_path_factory):
    """A byte-level BPE that knows English only, as GPT-2, LLaMA-3 and Qwen have it."""
    folder = tmp_path_factory.mktemp("bpe")
    made = tokenizers.ByteLevelBPETokenizer()
    made.train_from_iterator(english, vocab_size=300, special_tokens=["</s>"])
    made.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"eos_token": "</s>"}')
    return load(folder)


@pytest.fixture
def files(tmp_path, english, chinese):
    """Rows that name their language, and plain text that does not."""
    rows = [{"text": t, "language": "zh"} for t in chinese[:3]]
    rows += [{"text": t, "language": "en"} for t in english[:2]]
    mixed, plain = tmp_path / "mixed.jsonl", tmp_path / "plain.txt"
    mixed.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    plain.write_text("\n".join(["", english[2], chinese[0], "123 ..."]), encoding="utf-8")
    return mixed, plain


def rows_of(comparison, name):
    return {(row.file.rpartition("/")[2], row.language): row for row in comparison.rows
            if row.tokenizer == name}  # fmt: skip


def test_by_file_and_language(base, extended, files, english, chinese):
    found = compare({"base": base, "more": extended}, files)
    before, after = rows_of(found, "base"), rows_of(found, "more")
    assert list(before) == [
        ("mixed.jsonl", "zh"), ("mixed.jsonl", "en"),
        ("plain.txt", "Latin"), ("plain.txt", "Han"), ("plain.txt", "none"),
    ]  # fmt: skip
    assert before["mixed.jsonl", "zh"].fertility == measure(base, chinese[:3])
    assert after["plain.txt", "Latin"].fertility == measure(extended, english[2:3])
    zh = after["mixed.jsonl", "zh"].fertility
    assert zh.characters_per_token > before["mixed.jsonl", "zh"].fertility.characters_per_token
    assert zh.bytes_fallen_back_share < 0.5
    assert [entry.sha256 for entry in found.inputs] == [
        hashlib.sha256(file.read_bytes()).hexdigest() for file in files
    ]


def test_sums_over_files(base, files):
    found = compare({"base": base}, files)
    total = measure(base, [])
    for row in found.rows:
        total += row.fertility
    again = measure(base, [])
    for row in found.languages:
        again += row.fertility
        assert row.file == ""
    assert total == again and total.tokens > 0
    assert [row.language for row in found.languages] == ["zh", "en", "Latin", "Han", "none"]


def test_new_pieces_that_no_text_produced(base, extended, tmp_path, english, chinese):
    (tmp_path / "en.txt").write_text(english[0], encoding="utf-8")
    found = compare({"base": base, "more": extended}, [tmp_path / "en.txt"])
    first, second = found.vocabularies
    assert (first.new_pieces, first.unused_share) == (0, 0.0)
    assert second.new_pieces == second.unused_new_pieces == 15 and second.unused_share == 1.0
    assert len(second.unused_examples) == 10
    (tmp_path / "zh.txt").write_text("\n".join(chinese), encoding="utf-8")
    found = compare({"base": base, "more": extended}, [tmp_path / "en.txt", tmp_path / "zh.txt"])
    assert found.vocabularies[1].unused_new_pieces < 15


def test_ids_that_changed(base, extended, files):
    found = compare({"base": base, "more": extended}, files)
    before, after = rows_of(found, "base"), rows_of(found, "more")
    assert all(row.changed_texts == row.changed_tokens == 0 for row in before.values())
    for place in (("mixed.jsonl", "en"), ("plain.txt", "Latin"), ("plain.txt", "none")):
        assert (after[place].changed_texts, after[place].changed_tokens) == (0, 0)
    zh = after["mixed.jsonl", "zh"]
    assert zh.changed_texts == zh.texts == 3
    assert 0 < zh.changed_tokens <= before["mixed.jsonl", "zh"].fertility.tokens


def test_ids_keep_their_place_beside_changed_ones(base, extended, tmp_path, english, chinese):
    (tmp_path / "t.txt").write_text(f"{english[0]}{chinese[0]}{english[1]}", encoding="utf-8")
    found = compare({"base": base, "more": extended}, [tmp_path / "t.txt"])
    row = found.rows[1]
    chinese_tokens = measure(base, [chinese[0]]).tokens
    assert row.changed_texts == 1 and 0 < row.changed_tokens <= chinese_tokens


def test_round_trips_that_fail_are_named(base, tmp_path):
    lines = ["fine", "a ▁ is a space to SentencePiece", "also ▁ this"]
    (tmp_path / "t.txt").write_text("\n".join(lines), encoding="utf-8")
    (row,) = compare({"base": base}, [tmp_path / "t.txt"]).rows
    assert row.broken_texts == 2 and row.first_broken == f"{tmp_path}/t.txt:2"


def test_byte_level_tokenizers(base, byte_level, files, english, chinese):
    found = compare({"bytes": byte_level, "base": base}, files)
    zh, en = (rows_of(found, "bytes")["mixed.jsonl", code] for code in ("zh", "en"))
    assert zh.broken_texts == en.broken_texts == 0
    assert en.fertility.byte_fallback_tokens == 0
    assert zh.fertility.bytes_fallen_back_share == pytest.approx(1.0, abs=0.2)
    assert zh.fertility.byte_fallback_bytes >= zh.fertility.byte_fallback_tokens
    assert found.vocabularies[1].new_pieces > 0  # pieces of several letters that it has not


def test_large_files_are_a_stream(base, tmp_path):
    rows = 40_000  # 1.3 million characters: three batches
    text = "the old bridge crosses the river\n"
    (tmp_path / "t.txt").write_text(text * rows, encoding="utf-8")
    (tmp_path / "line.txt").write_text(text, encoding="utf-8")
    seen = []

    def note(done, total, _text):
        seen.append((done, total))

    parts = compare({"base": base}, [tmp_path / "t.txt"], progress=note)
    (one,) = compare({"base": base}, [tmp_path / "line.txt"]).rows
    (whole,) = parts.rows
    assert whole.fertility.tokens == rows * one.fertility.tokens
    assert whole.fertility.bytes == rows * one.fertility.bytes
    assert len(seen) == 4 and seen == sorted(seen)  # one a batch, and one at the end
    assert seen[-1] == (1320, 1320)


@pytest.mark.parametrize(
    ("content", "message", "why"),
    [
        (b"\xff\xfe\x00binary\n" * 3, "3 of 3 rows are bad", "line 1: not UTF-8"),
        (b"\n\n  \n", "there is no text in", "every line is empty"),
        (b"", "there is no text in", "every line is empty"),
    ],
)
def test_files_that_are_no_texts(base, tmp_path, content, message, why):
    (tmp_path / "t.txt").write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        compare({"base": base}, [tmp_path / "t.txt"])
    assert why in caught.value.why and caught.value.fix


def test_a_few_bad_rows_are_left_out_aloud(base, tmp_path, caplog):
    (tmp_path / "t.txt").write_bytes(b"good\n" * 9 + b"\xff\n")
    (row,) = compare({"base": base}, [tmp_path / "t.txt"], max_bad_rows=0.1).rows
    assert row.texts == 9 and "1 of 10 rows were left out" in caplog.text


def test_what_cannot_be_compared(base, files, tmp_path):
    with pytest.raises(InputError, match=r"gone\.txt does not exist"):
        compare({"base": base}, [files[0], tmp_path / "gone.txt"])
    with pytest.raises(InputError, match="is a folder, not a text file"):
        compare({"base": base}, [tmp_path])
    with pytest.raises(ConfigError, match=r"plain\.txt is given twice"):
        compare({"base": base}, [files[1], files[1]])


def test_json_is_flat_and_plain(base, extended, files):
    value = compare({"base": base, "more": extended}, files).to_json()
    assert json.loads(json.dumps(value)) == value
    row = value["rows"][0]
    assert (row["tokenizer"], row["language"], row["texts"]) == ("base", "zh", 3)
    assert row["characters_per_token"] == pytest.approx(row["characters"] / row["tokens"], abs=1e-6)
    assert value["tokenizers"][1]["unused_share"] <= 1.0


def test_short_names_only_where_they_tell_apart():
    assert short_names(["a/x", "b/y"]) == {"a/x": "x", "b/y": "y"}
    assert short_names(["a/x", "b/x"]) == {"a/x": "a/x", "b/x": "b/x"}
    assert short_names([".", "x"]) == {".": ".", "x": "x"}


def test_a_plot(base, extended, files, tmp_path):
    pytest.importorskip("matplotlib")
    found = compare({"base": base, "more": extended}, files)
    for name, start in (("p.png", b"\x89PNG"), ("p.svg", b"<?xml")):
        check_plot(tmp_path / name, force=False)
        draw(found, tmp_path / name)
        data = (tmp_path / name).read_bytes()
        assert data.startswith(start)
        draw(found, tmp_path / name)
        assert (tmp_path / name).read_bytes() == data
        with pytest.raises(InputError, match="exists already"):
            check_plot(tmp_path / name, force=False)
        check_plot(tmp_path / name, force=True)


def test_plots_that_could_not_be_written(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"plot\.jpg is no name for a plot") as caught:
        check_plot(tmp_path / "plot.jpg", force=False)
    assert caught.value.fix.endswith("plot.png")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match="drawing a plot needs") as caught:
        check_plot(tmp_path / "plot.png", force=False)
    assert caught.value.fix == 'pip install "hanlin[plot]"'
