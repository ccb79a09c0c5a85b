import json
import subprocess
import sys

import pytest

from hanlin.core.config import ConfigSource, validate
from hanlin.core.errors import ConfigError, InputError
from hanlin.core.events import EventLog
from hanlin.core.stage import StageContext
from hanlin.tokenization import sentencepiece
from hanlin.tokenization.extend import STAGE, Config, extend, extend_files
from hanlin.tokenization.foreign import is_other_script
from hanlin.tokenization.load import load
from hanlin.tokenization.sentencepiece_extend import Rules, extend_from_corpus
from hanlin.tokenization.train import Training, train_sentencepiece, write_folder


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
    assert en["after"].pop("fewest_tokens") <= en["after"]["tokens"]
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
    assert extension.unreachable == ("很古城",)  # neither 很 nor 古城 is a piece


def test_a_piece_is_dropped_when_the_way_to_it_is(base):
    offered = ["一", "二", "三", "四", "二三四一", "一二三四"]  # no pair of two is a piece
    extension = extend(base, offered)
    assert extension.added == ("一", "二", "三", "四")
    assert extension.unreachable == ("二三四一", "一二三四")


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
    extension = extend_from_corpus(base, ["河流河流"], rules=Rules(limit=50))
    assert extension.added == ("河", "流", "河流")
    assert "3 pieces were added, not 50" in caplog.text


def test_nothing_to_add_is_refused(base):
    with pytest.raises(InputError, match="not one of the offered pieces can be added") as caught:
        extend(base, ["the", "▁the"])
    assert "1 are in the base already, 1 have no character" in caught.value.why


def test_a_text_file_as_pieces_is_refused(base_folder, files, tmp_path):
    config = Config(base=str(base_folder), pieces=str(files[1]))
    with pytest.raises(InputError, match=r"en\.txt is not a SentencePiece model"):
        run(config, tmp_path / "out")


def unigram_donor(pieces, folder):
    """A unigram model, as chinese_sp.model is one, with pieces of given log-probabilities."""
    model = sentencepiece.empty_model()
    model.trainer_spec.model_type = sentencepiece.UNIGRAM
    for rank, text in enumerate(pieces):
        model.pieces.add(piece=text, score=-1.0 - rank, type=1)
    file = folder / "donor.model"
    file.write_bytes(model.SerializeToString())
    return file


def test_pieces_of_a_unigram_model_get_one_score_and_the_steps_between(base_folder, tmp_path):
    donor = unigram_donor(["国务院", "国", "务", "院", "务员", "员", "the", "▁国"], tmp_path)
    after, report = run(Config(base=str(base_folder), pieces=str(donor)), tmp_path / "out")
    details = json.loads((tmp_path / "out" / "extension.json").read_text())
    assert details["scores"] == "equal" and details["unreachable"] == details["dropped"] == []
    assert details["helpers"] == ["国务"] and report["helpers"] == 1
    assert (report["added"], report["could_move_base"]) == (8, 1)
    assert set(details["added"]) == {"国务院", "国务", "国", "务", "院", "务员", "员", "▁国"}
    ids = after.encode("国务院国务员", at_start=False)
    assert [after.piece_of(i) for i in ids] == ["国务院", "国务", "员"]
    ids = after.encode("国务院", at_start=True)
    assert after.hf.encode("国务院", add_special_tokens=False) == ids


def test_a_limit_holds_for_the_steps_too(base):
    offered = ["国务院", "国", "务", "院", "员"]
    extension = extend(base, offered, equal=True, limit=4)
    assert extension.added == ("国", "务", "院", "员")  # five pieces would be needed for the first
    assert extend(base, offered, equal=True, limit=5).helpers == ("国务",)


def test_a_piece_that_transformers_could_not_make_is_dropped_and_counted(base):
    texts = ["地天", "天天地天天", "天地天", "天天", "天天地天"]
    extension = extend(base, ["天", "地", *texts], equal=True)
    assert extension.unreachable == ("天天地天天",)
    assert extension.is_equal and len(extension.added) == 6


def test_a_base_that_merges_the_language_itself_keeps_its_merges_first(chinese, tmp_path):
    base = load(train_sentencepiece(chinese, vocab_size=330, out=tmp_path / "zh"))
    extension = extend(base, ["河流很", "很长"], equal=True)
    assert not extension.is_equal


def test_the_published_rule(base, base_folder, files, tmp_path, caplog):
    pieces = ["人", "▁the", "国务院", "riv", "<s>", "国"]
    donor = unigram_donor(pieces, tmp_path)
    config = Config(
        base=str(base_folder), pieces=str(donor), control=[str(files[1])], compat="chinese-llama"
    )
    after, report = run(config, tmp_path / "out")
    assert [after.piece_of(i) for i in range(340, 344)] == ["人", "国务院", "riv", "国"]
    model = sentencepiece.parse_model(after.spm_model, name="after")
    assert [piece.score for piece in model.pieces][340:] == [0.0] * 4
    assert (report["duplicates"], report["could_move_base"], report["unreachable"]) == (2, 1, 1)
    assert report["english_ids_changed"] == 3
    assert "pieces that can change them were asked for" in caplog.text
    for text in ("人国人 the river 国务院", "riv"):
        processor = sentencepiece.processor(model)
        assert after.hf.encode(text, add_special_tokens=False) == processor.encode(text)


def test_special_tokens_are_added_once_and_the_size_is_filled_up(
    base, base_folder, files, tmp_path
):
    config = Config(
        base=str(base_folder), corpus=[str(files[0])], add=20,
        special=["<end>", "</s>", "<end>", "<user>"], pad_to_multiple=64,
    )  # fmt: skip
    after, report = run(config, tmp_path / "out")
    assert (report["special_added"], report["padded"], after.vocab_size) == (2, 22, 384)
    assert after.vocabulary["<end>"] == 360 and after.vocabulary["<user>"] == 361
    assert after.hf.encode("<end>", add_special_tokens=False) == [360]
    assert after.encode("<end>", at_start=True) == base.encode("<end>", at_start=True)
    assert after.bytes_of(360) == after.bytes_of(383) == b""
    again = Config(base=str(tmp_path / "out" / "tokenizer"), corpus=[str(files[0])], add=1,
                   special=["<end>"])  # fmt: skip
    assert run(again, tmp_path / "again")[1]["special_added"] == 0


def test_a_special_token_that_is_a_piece_is_refused(base_folder, files, tmp_path):
    config = Config(base=str(base_folder), corpus=[str(files[0])], add=20, special=["▁the"])
    with pytest.raises(InputError, match="'▁the' cannot become a special token") as caught:
        run(config, tmp_path / "out")
    assert "for example <|▁the|>" in caught.value.fix


def test_settings_of_the_base_are_kept(base, files, tmp_path):
    base.save(tmp_path / "base", chat_template="{{ messages }}")
    settings = tmp_path / "base" / "tokenizer_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"model_max_length": 4096}))
    config = Config(base=str(tmp_path / "base"), corpus=[str(files[0])], add=20)
    after, _ = run(config, tmp_path / "out")
    assert after.chat_template == "{{ messages }}"
    assert after.settings["model_max_length"] == 4096


def test_the_fewest_tokens_are_a_lower_bound(extended):
    _, report = extended
    zh = report["zh"]["after"]
    assert zh["tokens"] / 1.1 < zh["fewest_tokens"] <= zh["tokens"]


def test_large_texts_are_sampled_to_choose_and_measured_in_parts(base_folder, tmp_path, chinese):
    zh, en = tmp_path / "zh.txt", tmp_path / "en.txt"
    zh.write_text("\n".join(chinese * 200), encoding="utf-8")
    en.write_text("the old town\n" * 1000, encoding="utf-8")
    config = Config(base=str(base_folder), corpus=[str(zh)], control=[str(en)], add=30,
                    sample_characters=2000)  # fmt: skip
    _, report = run(config, tmp_path / "out")
    assert report["corpus"]["after"]["characters"] == 200 * sum(map(len, chinese))
    assert (report["control_texts"], report["added"]) == (1000, 30)


def test_a_corpus_in_another_encoding_is_refused(base_folder, tmp_path):
    (tmp_path / "zh.txt").write_bytes("河流穿过古城。\n".encode("gb18030") * 9)
    config = Config(base=str(base_folder), corpus=[str(tmp_path / "zh.txt")], add=10)
    with pytest.raises(InputError, match="9 of 9 rows are bad") as caught:
        run(config, tmp_path / "out")
    assert "line 1: not UTF-8" in caught.value.why


def test_an_empty_corpus_is_refused(base_folder, tmp_path):
    (tmp_path / "zh.txt").write_text("\n \n")
    config = Config(base=str(base_folder), corpus=[str(tmp_path / "zh.txt")], add=10)
    with pytest.raises(InputError, match="there is no text in"):
        run(config, tmp_path / "out")


def test_a_unigram_base_is_refused(english, tmp_path):
    base = train_sentencepiece(
        english, vocab_size=330, out=tmp_path / "uni", training=Training(model_type="unigram")
    )
    with pytest.raises(InputError, match="is a unigram model, not a BPE"):
        extend(load(base), ["中"])


def test_a_tokenizer_of_another_family_is_refused(tmp_path):
    from tokenizers import Tokenizer, models

    Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]")).save(
        str(tmp_path / "tokenizer.json")
    )
    with pytest.raises(InputError, match="of type WordPiece, neither byte-pair encoding") as caught:
        run(Config(base=str(tmp_path), pieces="p"), tmp_path / "out")
    assert "LLaMA family" in caught.value.fix


def test_a_byte_level_base_learns_merges_and_takes_no_pieces(english, files, tmp_path):
    from hanlin.tokenization.bpe import train_byte_bpe

    base = train_byte_bpe(english, vocab_size=330, out=tmp_path / "base")
    config = Config(
        base=str(base), corpus=[str(files[0])], control=[str(files[1])], add=20, special=["<end>"],
        pad_to_multiple=8,
    )  # fmt: skip
    after, report = run(config, tmp_path / "out")
    assert (report["added"], report["special_added"], report["english_ids_changed"]) == (20, 1, 0)
    assert report["vocab_size"] == after.vocab_size == len(after.hf)
    assert report["unreachable"] == 0 and after.vocab_size % 8 == 0
    donor = unigram_donor(["国"], tmp_path)
    with pytest.raises(InputError, match="cannot be added to the tokenizer in") as caught:
        run(Config(base=str(base), pieces=str(donor)), tmp_path / "other")
    assert "--corpus FILE --add N" in caught.value.fix


def test_a_base_without_a_sentencepiece_model_is_refused(base, tmp_path):
    base.save(tmp_path)
    (tmp_path / "tokenizer.model").unlink()
    with pytest.raises(InputError, match="cannot be extended") as caught:
        extend(load(tmp_path), ["中"])
    assert "no tokenizer.model" in caught.value.why


def test_a_base_whose_two_files_differ_is_refused(base, tmp_path):
    model = sentencepiece.parse_model(base.spm_model, name="base")
    base.save(tmp_path)
    (tmp_path / "tokenizer.model").write_bytes(
        sentencepiece.appended(model, ["中"]).SerializeToString()
    )
    with pytest.raises(InputError, match=r"has 341 pieces, tokenizer\.json has 340"):
        extend(load(tmp_path), ["国"])


def test_an_extended_tokenizer_can_be_extended_again(base, tmp_path):
    once = load(write_folder(extend(base, ["中", "国", "中国"]).model, tmp_path / "once"))
    twice = load(write_folder(extend(once, ["中国", "人"]).model, tmp_path / "twice"))
    assert twice.vocab_size == 344
    assert twice.encode("中国人", at_start=False) == [342, 343]


def test_special_tokens_alone(base, tmp_path):
    base.save(tmp_path / "base")
    config = Config(base=str(tmp_path / "base"), special=["<end>"], pad_to_multiple=8)
    report, _ = extend_files(config, folder=tmp_path / "out")
    made = load(tmp_path / "out")
    assert made.special_id("<end>") == base.vocab_size == 340
    assert (report["special_added"], report["padded"], report["added"]) == (1, 3, 0)
    assert made.vocab_size == 344
    for text in ("the river", "<end> 古城"):
        assert made.encode(text, at_start=True) == base.encode(text, at_start=True)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"base": "b"}, "give corpus .* pieces .* or special"),
        ({"base": "b", "corpus": ["c"]}, "corpus needs add"),
        ({"base": "b", "corpus": ["c"], "add": 0}, "greater than or equal to 1"),
        ({"base": "b", "pieces": "p", "add": 1, "compat": "chinese-llama"}, "leave add out"),
        ({"base": "b", "corpus": ["c"], "add": 1, "compat": "chinese-llama"}, "give pieces"),
        ({"base": "b", "pieces": "p", "compat": "other"}, "chinese-llama"),
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
