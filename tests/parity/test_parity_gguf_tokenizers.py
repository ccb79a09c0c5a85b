"""Do byte-level BPE tokenizers, and SentencePiece ones without scores, keep their ids?"""

import json

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from hanlin.core.errors import InputError
from hanlin.core.files import read_json, write_json
from hanlin.models.grow import Config, grow
from hanlin.models.llama_server import open_server
from hanlin.models.manifest import write_manifest
from hanlin.models.save import save_model
from hanlin.models.tiny import SAMPLE_TEXTS, Architecture, make_tiny, new_llama
from hanlin.prompts.formats import get_format
from hanlin.prompts.probe import prompt_record
from hanlin.tokenization.bpe import train_byte_bpe
from hanlin.tokenization.bpe_extend import extend_byte_bpe
from hanlin.tokenization.load import load
from hanlin.weights.gguf.bpe import SPLITTERS, splitter_name
from hanlin.weights.gguf.check import check_gguf, make_reference, require_agreement
from hanlin.weights.gguf.write import write_gguf

ENGLISH, CHINESE = SAMPLE_TEXTS[:5], SAMPLE_TEXTS[5:]
PROBES = (
    *SAMPLE_TEXTS, "  two  spaces\n\tand a line", "I'LL it's 1234567 ＡＢＣ１２３",
    "混合 mixed，123元。", "\n\n  x", "naïve café", "🙂🙂 ok!!", "x=1;\r\ny = 2", "ÀÉ Ωmega", "",
)  # fmt: skip
SHAPE = Architecture(hidden_size=32, layers=1, heads=2, max_length=256)


def bpe_folder(folder, *, pre_tokenizer, ignore_merges=False):
    """A byte-level tokenizer that cuts words by some rule."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=420, show_progress=False, special_tokens=["<|end|>"],
        initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
    )  # fmt: skip
    tokenizer.train_from_iterator([*SAMPLE_TEXTS, *PROBES] * 3, trainer)
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", {"eos_token": "<|end|>"})
    return folder


def pre_tokenizer_of(steps):
    made = []
    for kind, value in steps:
        if kind == "split":
            rule = tokenizers.Regex(value)
            made.append(tokenizers.pre_tokenizers.Split(rule, behavior="isolated"))
        elif kind == "digits":
            made.append(tokenizers.pre_tokenizers.Digits(individual_digits=value))
        else:
            made.append(
                tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=value)
            )
    return made[0] if len(made) == 1 else tokenizers.pre_tokenizers.Sequence(made)


def model_with(tokenizer, folder):
    return save_model(new_llama(SHAPE, tokenizer.vocab_size, 0), tokenizer, folder)


def assert_same_ids(model, file, texts=PROBES):
    tokenizer = load(model)
    write_gguf(model, file, type="f32")
    with open_server(file, context_length=64) as server:
        for text in texts:
            assert server.tokenize(text) == tokenizer.encode(text, at_start=True), text


@pytest.mark.parametrize("steps", SPLITTERS, ids=lambda steps: SPLITTERS[steps][0][0])
def test_every_rule_that_has_a_name(tmp_path, steps):
    for name, is_whole in SPLITTERS[steps]:
        folder = bpe_folder(
            tmp_path / name, pre_tokenizer=pre_tokenizer_of(steps), ignore_merges=is_whole
        )
        tokenizer = load(folder)
        assert splitter_name(tokenizer) == name
        assert_same_ids(model_with(tokenizer, tmp_path / f"{name}-model"), tmp_path / "m.gguf")


@pytest.fixture(scope="module", params=["llama3", "qwen2"])
def extended(request, tmp_path_factory):
    """A model whose English byte-level tokenizer learned Chinese, grown to it."""
    folder = tmp_path_factory.mktemp(request.param)
    base = train_byte_bpe(
        ENGLISH * 3, vocab_size=330, out=folder / "base", style=request.param,
        special_tokens=["<|tool|>"],
    )  # fmt: skip
    model = model_with(load(base), folder / "model")
    extension = extend_byte_bpe(load(base), CHINESE * 3, add=30, control=ENGLISH)
    extension.tokenizer.save(folder / "tokenizer")
    return grow(Config(model=str(model), tokenizer=str(folder / "tokenizer")), folder / "grown")


@pytest.fixture(scope="module")
def server(extended, tmp_path_factory):
    file = tmp_path_factory.mktemp("server") / "m.gguf"
    write_gguf(extended, file, type="f32")
    with open_server(file, context_length=256) as opened:
        yield opened


CHARACTERS = st.text(
    st.sampled_from("ab E's1\n\t.　。，河流书桥Ａ１7é🙂<|/▁"), min_size=1, max_size=30
)


@settings(max_examples=100, deadline=None)
@given(text=CHARACTERS | st.sampled_from(PROBES))
def test_any_text_has_our_ids_after_an_extension(extended, server, text):
    assert server.tokenize(text) == load(extended).encode(text, at_start=True)


def test_an_extended_model_is_checked_whole(extended, tmp_path):
    reference = make_reference(extended, texts=SAMPLE_TEXTS[4:6])
    check = check_gguf(write_gguf(extended, tmp_path / "m.gguf", type="f16"), reference)
    require_agreement(check, file=tmp_path / "m.gguf", type="f16")
    assert check.token_ids_equal and abs(check.loss) < 1e-3


@pytest.mark.parametrize("name", ["alpaca", "plain"])
def test_chat_with_a_byte_level_tokenizer(tmp_path, name):
    base = train_byte_bpe(
        SAMPLE_TEXTS * 3, vocab_size=400, out=tmp_path / "base", style="qwen2",
        special_tokens=["<|im_start|>"],
    )  # fmt: skip
    folder = model_with(load(base), tmp_path / "model")
    write_manifest(folder, prompt=prompt_record(get_format(name), load(folder)))
    file = write_gguf(folder, tmp_path / "m.gguf", type="f16")
    check = check_gguf(file, make_reference(folder, texts=SAMPLE_TEXTS[4:6]))
    assert check.chat_ids_equal is (True if get_format(name).has_exact_borders else None)
    require_agreement(check, file=file.path, type="f16")


@pytest.mark.parametrize("style", ["llama3", "qwen2"])
def test_flags_and_special_tokens(tmp_path, style):
    from gguf import GGUFReader

    base = train_byte_bpe(SAMPLE_TEXTS * 3, vocab_size=400, out=tmp_path / "base", style=style)
    folder, tokenizer = model_with(load(base), tmp_path / "model"), load(base)
    write_gguf(folder, tmp_path / "m.gguf", type="f16")
    fields = GGUFReader(tmp_path / "m.gguf").fields
    value = {name: field.contents() for name, field in fields.items()}
    assert value["tokenizer.ggml.model"] == "gpt2"
    assert value["tokenizer.ggml.pre"] == {"llama3": "llama-bpe", "qwen2": "qwen2"}[style]
    assert value["tokenizer.ggml.eos_token_id"] == tokenizer.eos_id
    assert value["tokenizer.ggml.padding_token_id"] == tokenizer.pad_id
    assert value.get("tokenizer.ggml.bos_token_id") == tokenizer.bos_id
    assert value["tokenizer.ggml.add_bos_token"] is (style == "llama3")
    assert value["tokenizer.ggml.token_type"][tokenizer.eos_id] == 3  # control
    assert value["tokenizer.ggml.tokens"][tokenizer.eos_id] == tokenizer.piece_of(tokenizer.eos_id)
    assert "tokenizer.ggml.scores" not in value


def change(folder, edit):
    content = read_json(folder / "tokenizer.json")
    edit(content)
    write_json(folder / "tokenizer.json", content)
    return load(folder)


def other_rule(content):
    content["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = r"\p{Han}|\p{L}+"


def lower_case(content):
    content["normalizer"] = {"type": "Lowercase"}


@pytest.mark.parametrize(
    ("edit", "what", "why"),
    [
        (other_rule, "cuts text in a way that llama.cpp has no name for: .*Han", "llama-bpe"),
        (lower_case, "has the normalizer Lowercase", "make other token ids"),
    ],
)
def test_rules_that_llama_cpp_does_not_know(tmp_path, edit, what, why):
    base = train_byte_bpe(SAMPLE_TEXTS * 3, vocab_size=400, out=tmp_path / "base", style="qwen2")
    folder = model_with(change(base, edit), tmp_path / "model")
    with pytest.raises(InputError, match=what) as caught:
        write_gguf(folder, tmp_path / "m.gguf", type="f16")
    assert why in caught.value.why and "transformers" in caught.value.fix
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["base", "model"]


def test_whole_words_matter_only_where_merges_cannot_make_them(tmp_path):
    base = train_byte_bpe(SAMPLE_TEXTS * 3, vocab_size=400, out=tmp_path / "base", style="qwen2")
    tokenizer = change(base, lambda content: content["model"].update(ignore_merges=True))
    assert splitter_name(tokenizer) == "qwen2"
    tokenizer = change(base, lambda content: content["model"]["merges"].pop())
    with pytest.raises(InputError, match="ignore_merges True"):
        splitter_name(tokenizer)


def without_model_file(tokenizer_folder, out):
    folder = model_with(load(tokenizer_folder), out)
    (folder / "tokenizer.model").unlink()
    return folder


def test_sentencepiece_without_tokenizer_model(tmp_path):
    folder = without_model_file(make_tiny(tmp_path / "tiny"), tmp_path / "model")
    assert_same_ids(folder, tmp_path / "m.gguf")


@pytest.mark.real_data
def test_llama_without_tokenizer_model(real_data, tmp_path):
    folder = without_model_file(real_data / "tokenizers" / "llama", tmp_path / "model")
    texts = [*PROBES, " " * 7 + "x" + " " * 40, "a" + " " * 17, "▁ ▁▁"]
    assert_same_ids(folder, tmp_path / "m.gguf", texts)


def test_merges_that_are_no_sentencepiece(tmp_path):
    folder = without_model_file(make_tiny(tmp_path / "tiny"), tmp_path / "model")
    merges = json.loads((folder / "tokenizer.json").read_text())["model"]["merges"]
    double = next(i for i, pair in enumerate(merges) if "".join(pair) == "".join(merges[i + 1]))
    change(folder, lambda content: content["model"]["merges"].pop(double))
    (folder / "hanlin.json").unlink()
    with pytest.raises(InputError, match=r"has no tokenizer\.model, and its tokenizer\.json") as e:
        write_gguf(folder, tmp_path / "m.gguf", type="f16")
    assert "cuts of" in e.value.why and "tokenizer.model" in e.value.fix
