import pytest

from hanlin.core.errors import InputError
from hanlin.tokenization import sentencepiece


def test_a_text_file_is_no_model(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("这不是模型。This is no model.\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"notes\.txt is not a SentencePiece model") as caught:
        sentencepiece.read_model(file)
    assert "hanlin tokenizer train" in caught.value.fix


@pytest.mark.parametrize("content", [b"", b"\x00" * 40, b"\xff" * 40, b"{}"])
def test_other_bytes_are_no_model(content):
    with pytest.raises(InputError, match="x is not a SentencePiece model"):
        sentencepiece.parse_model(content, name="x")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"gone\.model does not exist"):
        sentencepiece.read_model(tmp_path / "gone.model")


def test_merges_come_in_order_of_score_and_spell_no_special_piece():
    model = _model(
        [("▁", -3.0), ("a", -3.5), ("▁a", -1.0), ("aa", -2.0), ("<", -4.0), ("/s>", -5.0)]
    )
    assert sentencepiece.merges_of(model) == [("▁", "a"), ("a", "a")]


def _model(pieces):
    model = sentencepiece.empty_model()
    for text, kind in (("<unk>", 2), ("<s>", 3), ("</s>", 3)):
        model.pieces.add(piece=text, score=0.0, type=kind)
    for byte in range(256):
        model.pieces.add(piece=f"<0x{byte:02X}>", score=0.0, type=6)
    for text, score in pieces:
        model.pieces.add(piece=text, score=score, type=1)
    model.trainer_spec.model_type = sentencepiece.BPE
    model.normalizer_spec.remove_extra_whitespaces = False
    return model


def test_a_unigram_model_is_refused():
    model = _model([("a", -1.0)])
    model.trainer_spec.model_type = 1
    with pytest.raises(InputError, match="no byte-pair encoding") as caught:
        sentencepiece.tokenizer_json(model)
    assert "tokenizer extend BASE --pieces" in caught.value.fix


def test_a_normalizing_model_is_refused():
    model = _model([("a", -1.0)])
    model.normalizer_spec.name = "nmt_nfkc"
    model.normalizer_spec.remove_extra_whitespaces = True
    with pytest.raises(InputError, match=r"normalizes text \(nmt_nfkc\)"):
        sentencepiece.tokenizer_json(model)


def test_a_model_without_byte_fallback_is_refused():
    model = _model([("a", -1.0)])
    del model.pieces[10]
    with pytest.raises(InputError, match="no byte fallback"):
        sentencepiece.tokenizer_json(model)


def test_a_model_with_user_defined_pieces_is_refused():
    model = _model([("a", -1.0)])
    model.pieces.add(piece="<sep>", score=0.0, type=4)
    with pytest.raises(InputError, match="has 1 user-defined pieces"):
        sentencepiece.tokenizer_json(model)


def test_padding_is_never_the_end_token(base_folder):
    model = sentencepiece.read_model(base_folder / "tokenizer.model")
    config = sentencepiece.tokenizer_config(model)
    assert config["pad_token"] == "<unk>"
    assert config["eos_token"] == "</s>"
