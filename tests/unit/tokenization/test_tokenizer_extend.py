import json
import subprocess
import sys

import pytest

from hanlin.core.config import ConfigSource, validate
from hanlin.core.errors import ConfigError, InputError
from hanlin.core.events import EventLog
from hanlin.core.stage import StageContext
from hanlin.tokenization import sentencepiece
from hanlin.tokenization.extend import STAGE, Config, extend, train_pieces
from hanlin.tokenization.load import load
from hanlin.tokenization.pieces import appended, is_other_script
from hanlin.tokenization.train import train_sentencepiece, write_folder


@pytest.fixture
def files(tmp_path, english, chinese):
    rows = [{"text": text, "language": "zh"} for text in chinese]
    zh, en = tmp_path / "zh.jsonl", tmp_path / "en.txt"
    zh.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    en.write_text("\n".join(english), encoding="utf-8")
    return zh, en


def run(config, out):
    out.mkdir()
    STAGE.run(config, StageContext("tokenizer", out, 0, EventLog(out / "events.jsonl")))
    return load(out / "tokenizer"), json.loads((out / "fertility.json").read_text())


@pytest.fixture
def extended(files, base_folder, tmp_path):
    zh, en = files
    config = Config(base=str(base_folder), corpus=[str(zh)], control=[str(en)], add=60)
    return run(config, tmp_path / "out")


def test_base_ids_never_move(base, extended):
    after, _ = extended
    assert after.vocab_size == 400
    assert [after.piece_of(i) for i in range(340)] == [base.piece_of(i) for i in range(340)]
    before_spm = sentencepiece.parse_model(base.spm_model, name="before").pieces
    after_spm = sentencepiece.parse_model(after.spm_model, name="after").pieces
    assert list(after_spm)[:340] == list(before_spm)


def test_english_ids_stay_and_chinese_gets_shorter(base, extended, english, chinese):
    after, report = extended
    for text in [*english, "unseen words — “quoted”, naïve café 🙂 </s>"]:
        assert after.encode(text, at_start=True) == base.encode(text, at_start=True)
        assert after.encode(text, at_start=False) == base.encode(text, at_start=False)
    zh, en = report["zh"], report["control"]
    assert zh["after"]["tokens_per_character"] < zh["before"]["tokens_per_character"] / 2
    assert zh["after"]["characters"] == zh["before"]["characters"] == sum(map(len, chinese))
    assert en["before"] == en["after"]
    assert report["added"] == 60
    assert report["english_ids_changed"] == 0


def test_every_new_piece_is_made_from_its_own_text(extended):
    after, _ = extended
    for index in range(340, 400):
        text = after.bytes_of(index).decode()
        assert after.encode(text, at_start=False) == [index]


def test_unknown_characters_still_fall_back_to_bytes(extended):
    after, _ = extended
    assert all(map(after.is_byte, after.encode("鱻🙂", at_start=False)))
    text = " 河流 鱻🙂  the 古城\n"
    assert after.decode(after.encode(text, at_start=True)) == text


def test_two_runs_give_the_same_bytes(files, base_folder, tmp_path):
    zh, _ = files
    config = Config(base=str(base_folder), corpus=[str(zh)], add=40)
    run(config, tmp_path / "a")
    run(config, tmp_path / "b")
    for name in ("tokenizer/tokenizer.model", "tokenizer/tokenizer.json", "fertility.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_pieces_of_another_model(base_folder, chinese, tmp_path):
    donor = train_sentencepiece(chinese, vocab_size=330, out=tmp_path / "donor")
    config = Config(base=str(base_folder), pieces=str(donor / "tokenizer.model"))
    after, report = run(config, tmp_path / "out")
    assert report["added"] == after.vocab_size - 340 > 20
    assert report["duplicates"] > 0  # both have the space


def test_pieces_that_cannot_be_added_are_counted(base):
    offered = ["河", "流", "河流", "河流", "很古城", "the", "▁the", "naïve", "“x”", "▁河"]
    extension = extend(base, offered)
    assert extension.added == ("河", "流", "河流", "▁河")
    assert extension.duplicates == 1  # ▁the
    assert extension.could_move_base == 3  # the, naïve, “x”
    assert extension.unreachable == 1  # neither 很 nor 古城 is a piece


def test_a_piece_is_dropped_when_the_way_to_it_is(base):
    offered = ["一", "二", "三", "四", "二三四一", "一二三四"]  # no pair of two is a piece
    extension = extend(base, offered)
    assert extension.added == ("一", "二", "三", "四")
    assert extension.unreachable == 2


def test_a_limit_takes_the_first_that_can_be_made(base):
    extension = extend(base, ["一", "二三", "一二", "二", "三"], limit=4)
    assert extension.added == ("一", "二", "三", "二三")


def test_control_texts_keep_punctuation_that_they_use(base, english):
    quoted = [*english, "“Well …”"]
    assert extend(base, ["中", "“"], control=quoted).added == ("中",)
    assert extend(base, ["中", "“"], control=english).added == ("中", "“")
    assert extend(base, ["中", "“"]).added == ("中",)


def test_control_texts_in_another_script_keep_its_characters(base):
    extension = extend(base, ["中", "да", "д", "а"], control=["да да нет"])
    assert extension.added == ("中",)


def test_control_texts_that_change_are_told(base_folder, files, tmp_path, caplog):
    zh, en = files
    en.write_text("the river " * 9999 + "河\nthe town", encoding="utf-8")
    config = Config(base=str(base_folder), corpus=[str(zh)], control=[str(en)], add=40)
    _, report = run(config, tmp_path / "out")
    assert report["english_ids_changed"] == 1
    assert "1 of 2 control texts have other ids now" in caplog.text


def test_fewer_pieces_than_asked_for_are_told(base, caplog):
    assert len(extend(base, train_pieces(["河流河流"], add=50), limit=50).added) == 6
    assert "6 pieces were added, not 50" in caplog.text


def test_nothing_to_add_is_refused(base):
    with pytest.raises(InputError, match="not one of the offered pieces can be added") as caught:
        extend(base, ["the", "▁the"])
    assert "1 are in the base already, 1 have no character" in caught.value.why


def test_a_text_file_as_pieces_is_refused(base_folder, files, tmp_path):
    config = Config(base=str(base_folder), pieces=str(files[1]))
    with pytest.raises(InputError, match=r"en\.txt is not a SentencePiece model"):
        run(config, tmp_path / "out")


def test_a_base_without_a_sentencepiece_model_is_refused(base, tmp_path):
    base.save(tmp_path)
    (tmp_path / "tokenizer.model").unlink()
    with pytest.raises(InputError, match="cannot be extended") as caught:
        extend(load(tmp_path), ["中"])
    assert "no tokenizer.model" in caught.value.why


def test_a_base_whose_two_files_differ_is_refused(base, tmp_path):
    model = sentencepiece.parse_model(base.spm_model, name="base")
    base.save(tmp_path)
    (tmp_path / "tokenizer.model").write_bytes(appended(model, ["中"]).SerializeToString())
    with pytest.raises(InputError, match=r"has 341 pieces, tokenizer\.json has 340"):
        extend(load(tmp_path), ["国"])


def test_an_extended_tokenizer_can_be_extended_again(base, tmp_path):
    once = load(write_folder(extend(base, ["中", "国", "中国"]).model, tmp_path / "once"))
    twice = load(write_folder(extend(once, ["中国", "人"]).model, tmp_path / "twice"))
    assert twice.vocab_size == 344
    assert twice.encode("中国人", at_start=False) == [342, 343]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"base": "b"}, "give corpus .* or pieces"),
        ({"base": "b", "corpus": ["c"]}, "corpus needs add"),
        ({"base": "b", "corpus": ["c"], "add": 0}, "greater than or equal to 1"),
    ],
)
def test_rules_of_the_config(values, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        validate(Config, values, source=ConfigSource("recipe.yaml", tmp_path))


def test_the_estimate_is_cheap(files):
    config = Config(base="owner/name", corpus=[str(files[0])], add=10)
    assert STAGE.estimate(config).seconds > 0


def test_the_stage_imports_nothing_heavy():
    code = (
        "import sys, hanlin.tokenization.extend, hanlin.models.grow; "
        "print([m for m in ('torch', 'transformers', 'tokenizers', 'sentencepiece', 'safetensors')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_scripts():
    for character in "中，。《（あ한ёकع％\u3000":
        assert is_other_script(character), character
    for character in "a1 é“”…—·€→🙂\u0301\ufeff\u200b":
        assert not is_other_script(character), character
