import hashlib
import json
import shutil

import pytest

from hanlin.core.errors import InputError
from hanlin.tokenization.load import load

TEXTS = [
    "",
    " ",
    "the river",
    " leading",
    "trailing ",
    "  two  spaces   three",
    "line\nnew\n\nline\r\n\ttab",
    "河流穿过古城。",
    "the 河流 and the 桥",
    "Ｆｕｌｌ　ｗｉｄｔｈ，１２３",
    "🙂👍🏽 flag 🇨🇳 family 👨‍👩‍👧",
    "e\u0301 is not é",
    "\x00\x7f\ufeff\u200b",
    "1234567890",
    "</s>",
    "a <s> b </s> <unk> <0x41>",
]


@pytest.mark.parametrize("text", TEXTS)
def test_text_comes_back_exactly(base, text):
    assert base.decode(base.encode(text, at_start=True)) == text
    assert base.decode_continuation(base.encode(text, at_start=False)) == text


@pytest.mark.parametrize("text", TEXTS)
def test_text_never_becomes_a_special_token(base, text):
    ids = base.encode(text, at_start=True) + base.encode(text, at_start=False)
    assert not {0, base.bos_id, base.eos_id} & set(ids)


def test_a_continuation_gets_no_space_in_front(base):
    assert base.decode_continuation(base.encode("town", at_start=True)) == " town"
    assert base.encode(" town", at_start=False) == base.encode("town", at_start=True)
    assert base.bytes_of(base.encode("town", at_start=False)[0])[:1] == b"t"


def test_special_tokens_are_left_out_of_decoded_text(base):
    ids = [base.bos_id, *base.encode("the river", at_start=True), base.eos_id]
    assert base.decode(ids) == "the river"


def test_bytes_of_pieces_make_up_the_text(base):
    text = "the 河流 🙂"
    ids = base.encode(text, at_start=False)
    assert b"".join(map(base.bytes_of, ids)) == text.encode()
    assert base.bytes_of(base.eos_id) == b""
    assert base.bytes_of(base.vocabulary["<0xE6>"]) == b"\xe6"
    assert base.bytes_of(base.vocabulary["▁t"]) == b" t"


def test_byte_fallback_is_known(base):
    assert all(map(base.is_byte, base.encode("河", at_start=False)))
    assert not any(map(base.is_byte, base.encode("the", at_start=False)))


def test_ids_of_special_tokens(base):
    assert (base.bos_id, base.eos_id, base.pad_id) == (1, 2, 0)
    assert base.vocab_size == 340 == len(base.hf)


def test_the_transformers_object_gives_the_same_ids(base):
    text = "  the 河流 🙂\n"
    assert base.hf.encode(text, add_special_tokens=False) == base.encode(text, at_start=True)
    assert base.hf.encode("the")[0] == base.bos_id
    assert (base.hf.pad_token_id, base.hf.eos_token_id) == (0, 2)


def test_a_folder_with_only_a_model_file_is_enough(base, base_folder, tmp_path):
    shutil.copy(base_folder / "tokenizer.model", tmp_path)
    for path in (tmp_path, tmp_path / "tokenizer.model"):
        bare = load(path)
        assert bare.sha256 == base.sha256
        assert bare.encode(" the 河", at_start=True) == base.encode(" the 河", at_start=True)


def test_saving_keeps_the_digest(base, tmp_path):
    base.save(tmp_path, chat_template="{{ messages }}")
    again = load(tmp_path)
    digest = hashlib.sha256((tmp_path / "tokenizer.json").read_bytes()).hexdigest()
    assert again.sha256 == base.sha256 == digest
    assert again.chat_template == again.hf.chat_template == "{{ messages }}"


def test_a_tokenizer_saved_by_transformers_gives_the_same_ids(base, tmp_path):
    base.hf.save_pretrained(tmp_path)
    again = load(tmp_path)
    for text in TEXTS:
        assert again.encode(text, at_start=True) == base.encode(text, at_start=True)
        assert again.encode(text, at_start=False) == base.encode(text, at_start=False)


def test_a_metaspace_tokenizer_gives_the_same_ids(base, tmp_path):
    """The layout of LlamaTokenizer in transformers 5."""
    base.save(tmp_path)
    content = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    content["normalizer"] = None
    content["pre_tokenizer"] = {
        "type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False,
    }  # fmt: skip
    (tmp_path / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    again = load(tmp_path)
    for text in TEXTS:
        assert again.encode(text, at_start=True) == base.encode(text, at_start=True)
        assert again.decode(again.encode(text, at_start=True)) == text
        assert again.decode_continuation(again.encode(text, at_start=False)) == text


@pytest.fixture
def byte_level(tmp_path):
    """A byte-level BPE as LLaMA 3 has it, trained here."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|begin_of_text|>", "<|end_of_text|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(["the old town and the river 河流"] * 3, trainer)
    made.save(str(tmp_path / "tokenizer.json"))
    return load(tmp_path)


@pytest.mark.parametrize("text", TEXTS)
def test_a_byte_level_tokenizer_is_exact_too(byte_level, text):
    for at_start in (True, False):
        ids = byte_level.encode(text, at_start=at_start)
        assert byte_level.decode(ids) == byte_level.decode_continuation(ids) == text
    assert byte_level.encode("<|end_of_text|>", at_start=True) != [byte_level.eos_id]


@pytest.fixture
def families(base, byte_level, tmp_path):
    """Tokenizers laid out as the makers of three families lay them out, all of one base."""
    pieces = byte_level.content

    def made(name, settings, **changes):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "tokenizer.json").write_text(json.dumps(pieces | changes))
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
        return load(folder)

    def token(text, index, *, special):
        return {"id": index, "content": text, "special": special, "single_word": False,
                "lstrip": False, "rstrip": not special, "normalized": False}  # fmt: skip

    def added(**names):
        first = len(pieces["model"]["vocab"])
        return pieces["added_tokens"] + [
            token(text, first + i, special=special)
            for i, (text, special) in enumerate(names.items())
        ]

    llama3 = {"<|reserved_special_token_0|>": True, "<|eot_id|>": True}
    qwen = {"<|endoftext|>": True, "<|im_end|>": True, "<|fim_pad|>": True, "<tool_call>": False}
    return {
        "llama3": made("llama3", {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"},
                       added_tokens=added(**llama3)),
        "qwen": made("qwen", {"bos_token": None, "eos_token": "<|endoftext|>",
                              "pad_token": "<|endoftext|>"}, added_tokens=added(**qwen)),
    }  # fmt: skip


def test_padding_of_other_families_is_an_unused_token(families):
    llama3, qwen = families["llama3"], families["qwen"]
    assert llama3.piece_of(llama3.eos_id) == "<|eot_id|>"
    assert llama3.piece_of(llama3.pad_id) == "<|reserved_special_token_0|>"
    assert (qwen.bos_id, qwen.piece_of(qwen.eos_id)) == (None, "<|endoftext|>")
    assert qwen.piece_of(qwen.pad_id) == qwen.hf.pad_token == "<|fim_pad|>"


@pytest.mark.parametrize("name", ["llama3", "qwen"])
def test_text_comes_back_beside_added_tokens(families, name):
    tokenizer = families[name]
    for text in [*TEXTS, "a <tool_call>  b<tool_call> c", "<|im_end|> <|eot_id|>"]:
        for at_start in (True, False):
            ids = tokenizer.encode(text, at_start=at_start)
            assert tokenizer.decode_continuation(ids) == text
            assert not {tokenizer.eos_id, tokenizer.pad_id} & set(ids)
    has_symbol = "<tool_call>" in tokenizer.vocabulary
    ids = tokenizer.encode("x<tool_call>", at_start=True)
    assert (tokenizer.vocabulary.get("<tool_call>") == ids[-1]) == has_symbol


def test_many_texts_at_once(base, byte_level):
    for tokenizer in (base, byte_level):
        for at_start in (True, False):
            one_by_one = [tokenizer.encode(text, at_start=at_start) for text in TEXTS]
            assert tokenizer.encode_batch(TEXTS, at_start=at_start) == one_by_one
    assert base.encode_batch([], at_start=True) == []


def test_sentencepiece_encodes_only_what_it_is_known_to_agree_with(base, base_folder, tmp_path):
    shutil.copytree(base_folder, tmp_path / "same")
    assert base.is_spm_equal and load(tmp_path / "same").is_spm_equal
    file = tmp_path / "same" / "tokenizer.json"
    file.write_text(json.dumps(json.loads(file.read_text())))  # other bytes
    other = load(tmp_path / "same")
    assert not other.is_spm_equal
    for text in TEXTS:
        assert other.encode(text, at_start=True) == base.encode(text, at_start=True)
    other.save(tmp_path / "again")
    assert not load(tmp_path / "again").is_spm_equal


def test_a_dummy_space_is_put_once_beside_added_tokens(base, tmp_path):
    """A Prepend normalizer of tokenizers puts one after every added token."""
    content = json.loads(json.dumps(base.content))
    content["added_tokens"].append(
        {"id": 340, "content": "<sep>", "special": False, "single_word": False, "lstrip": True,
         "rstrip": True, "normalized": False}
    )  # fmt: skip
    base.save(tmp_path)
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    tokenizer = load(tmp_path)
    for text in ("the <sep> town<sep>the", "<sep>", " <sep> "):
        ids = tokenizer.encode(text, at_start=True)
        assert tokenizer.decode(ids) == text and ids.count(340) == text.count("<sep>")


def test_padding_without_an_unknown_token_is_not_the_end(byte_level):
    assert (byte_level.bos_id, byte_level.eos_id, byte_level.pad_id) == (0, 1, 0)


def test_padding_named_as_the_end_token_is_replaced(base, tmp_path):
    base.save(tmp_path)
    file = tmp_path / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"pad_token": "</s>"}))
    assert load(tmp_path).pad_id == 0
    assert load(tmp_path).hf.pad_token_id == 0


def test_an_empty_folder_is_no_tokenizer(tmp_path):
    with pytest.raises(InputError, match="is no tokenizer") as caught:
        load(tmp_path)
    assert "neither a tokenizer.json nor a tokenizer.model" in caught.value.why


def test_a_missing_path_is_named(tmp_path):
    with pytest.raises(InputError, match="gone does not exist"):
        load(tmp_path / "gone")


def test_a_hub_id_that_cannot_be_had(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match="someone/nothing is no local folder") as caught:
        load("someone/nothing")
    assert "HF_ENDPOINT" in caught.value.fix


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not readable JSON"),
        ("[]", "is no tokenizer"),
        ('{"model": {"type": "BPE"}}', "is no tokenizer"),
        ('{"model": {"type": "WordPiece", "vocab": {}}}', "of type WordPiece, neither byte-pair"),
        ('{"model": {"type": "Unigram", "vocab": []}}', "unigram tokenizer without byte fallback"),
    ],
)
def test_a_bad_tokenizer_json(tmp_path, content, message):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(InputError, match=message):
        load(tmp_path)


def test_a_tokenizer_without_an_end_token(tmp_path):
    content = {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="has no end token") as caught:
        load(tmp_path)
    assert "eos_token" in caught.value.fix
