import pytest

from hanlin.core.errors import InputError
from hanlin.tokenization import backend, sentencepiece, sentencepiece_json


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


def test_a_model_that_contradicts_itself_is_refused():
    model = _model([("a", -1.0), ("a", -2.0)])
    with pytest.raises(InputError, match="SentencePiece refuses a tokenizer") as caught:
        sentencepiece.processor(model)
    assert "already defined" in caught.value.why


def test_merges_come_in_order_of_score_and_spell_no_special_piece():
    model = _model(
        [("▁", -3.0), ("a", -3.5), ("▁a", -1.0), ("aa", -2.0), ("<", -4.0), ("/s>", -5.0)]
    )
    assert sentencepiece_json.merges_of(model) == [("▁", "a"), ("a", "a")]


def _model(pieces):
    model = sentencepiece.empty_model()
    for text, kind in (("<unk>", 2), ("<s>", 3), ("</s>", 3)):
        model.pieces.add(piece=text, score=0.0, type=kind)
    for byte in range(256):
        model.pieces.add(piece=f"<0x{byte:02X}>", score=0.0, type=6)
    for text, score in pieces:
        model.pieces.add(piece=text, score=score, type=1)
    model.trainer_spec.model_type = sentencepiece.BPE
    model.trainer_spec.byte_fallback = True
    model.normalizer_spec.remove_extra_whitespaces = False
    return model


def test_a_model_of_words_is_refused():
    model = _model([("a", -1.0)])
    model.trainer_spec.model_type = 3
    with pytest.raises(InputError, match="neither a byte-pair encoding") as caught:
        sentencepiece_json.tokenizer_json(model)
    assert "tokenizer extend BASE --pieces" in caught.value.fix


def test_a_normalizing_model_is_refused():
    model = _model([("a", -1.0)])
    model.normalizer_spec.name = "nmt_nfkc"
    model.normalizer_spec.remove_extra_whitespaces = True
    with pytest.raises(InputError, match=r"normalizes text \(nmt_nfkc\)"):
        sentencepiece_json.tokenizer_json(model)


def test_a_model_without_byte_fallback_is_refused():
    model = _model([("a", -1.0)])
    del model.pieces[10]
    with pytest.raises(InputError, match="no byte fallback"):
        sentencepiece_json.tokenizer_json(model)


def test_user_defined_pieces_and_a_dummy_space_are_refused():
    model = _model([("a", -1.0)])
    model.pieces.add(piece="<sep>", score=0.0, type=4)
    with pytest.raises(InputError, match="has 1 user-defined pieces and puts a space before"):
        sentencepiece_json.tokenizer_json(model)


def test_pieces_of_one_score_are_cut_out_first():
    model = _model([("a", -1.0), ("b", -1.0), ("c", -1.0), ("ab", 0.0), ("bc", 0.0), ("ca", -2.0)])
    content = sentencepiece_json.tokenizer_json(model)
    assert content["pre_tokenizer"]["pattern"] == {"Regex": "(?:ab|bc)"}
    processor = sentencepiece.processor(model, dummy_prefix=False)
    encode = backend.tokenizers_encoder(content).one
    for text in ("abc", "bcab", "cabcab", "caab", "abcabcabc"):
        assert encode(text) == processor.encode(text)


def test_a_piece_that_another_one_takes_in_is_not_cut_out():
    pieces = [("a", -1.0), ("b", -1.0), ("c", -1.0), ("ab", 0.0), ("cc", 0.0), ("abc", -2.0)]
    content = sentencepiece_json.tokenizer_json(_model(pieces))
    assert content["pre_tokenizer"]["pattern"] == {"Regex": "cc"}
    assert backend.tokenizers_encoder(content).one("abc") == [264]
    assert backend.tokenizers_encoder(content).one("abccc") == [262, 263, 261]  # ab, cc, c


def test_pieces_whose_merges_exclude_each_other_are_told(caplog):
    """Leftmost merging makes all of these; no order of merges does."""
    texts = ["ba", "aabaa", "aba", "aa", "aaba"]
    model = _model([("a", -1.0), ("b", -1.0), *((text, 0.0) for text in texts)])
    sentencepiece_json.tokenizer_json(model)
    assert "transformers will not make 1 pieces, for example 'aabaa'" in caplog.text
    assert sentencepiece_json.reached(model) == set(texts)


def test_as_few_pieces_as_can_be():
    model = _model([(c, -9.0) for c in "abcd"] + [("ab", -1.0), ("bcd", -2.0), ("cd", -1.5)])
    assert len(sentencepiece.processor(model, dummy_prefix=False).encode("abcd")) == 2
    model.normalizer_spec.add_dummy_prefix = False
    assert len(sentencepiece.shortest_processor(model).encode("bcdabcd")) == 3
    assert len(sentencepiece.shortest_processor(model).encode("鱻a")) == 4


def test_padding_is_never_the_end_token(base_folder):
    model = sentencepiece.read_model(base_folder / "tokenizer.model")
    config = sentencepiece_json.tokenizer_config(model)
    assert config["pad_token"] == "<unk>"
    assert config["eos_token"] == "</s>"
