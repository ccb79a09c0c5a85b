"""Does llama.cpp answer from our GGUF files as transformers does from the model folder?"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanlin.core.errors import InputError, StageFailedError
from hanlin.models.grow import Config, grow
from hanlin.models.llama_server import open_server
from hanlin.models.manifest import write_manifest
from hanlin.models.save import save_model
from hanlin.models.tiny import SAMPLE_TEXTS, Architecture, make_tiny, new_llama
from hanlin.prompts.formats import FORMATS, get_format
from hanlin.prompts.probe import prompt_record
from hanlin.tokenization.extend import write
from hanlin.tokenization.load import load
from hanlin.tokenization.sentencepiece_extend import Rules, extend_from_corpus
from hanlin.weights.gguf.check import check_gguf, make_reference, require_agreement
from hanlin.weights.gguf.types import SIMPLE_TYPES
from hanlin.weights.gguf.write import write_gguf

ENGLISH, CHINESE = SAMPLE_TEXTS[:5], SAMPLE_TEXTS[5:]
SHORT = (ENGLISH[0], CHINESE[0])


def make_model(folder, tokenizer_folder, **architecture):
    """A model with grouped queries, and with weights so large that every tensor matters."""
    shape = {"hidden_size": 64, "layers": 2, "heads": 4, "kv_heads": 2, "max_length": 256}
    tokenizer = load(tokenizer_folder)
    model = new_llama(Architecture(**{**shape, **architecture}), tokenizer.vocab_size, 5)
    for parameter in model.parameters():
        parameter.data *= 6 if parameter.ndim > 1 else 1
    return save_model(model, tokenizer, folder)


def checked(folder, file, type):
    """Write and check a file, on few texts: llama.cpp is asked for each of their tokens."""
    return check_gguf(write_gguf(folder, file, type=type), make_reference(folder, texts=SHORT))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parity")
    return make_model(folder / "model", make_tiny(folder / "tokenizer"))


@pytest.fixture(scope="module")
def reference(model):
    return make_reference(model)


@pytest.mark.parametrize("type", SIMPLE_TYPES)
def test_every_type_agrees_as_far_as_its_bits_go(model, reference, tmp_path, type):
    check = check_gguf(write_gguf(model, tmp_path / "m.gguf", type=type), reference)
    # About three times what was seen; log-probabilities of the candidates span some 10 nats.
    limits = {"f32": 2e-5, "f16": 1e-2, "bf16": 0.1, "q8_0": 0.25, "q5_1": 1.0, "q5_0": 1.0}
    agreements = {"f32": 1.0, "f16": 0.98, "bf16": 0.9, "q8_0": 0.85}
    assert check.token_ids_equal
    assert check.max_logprob_difference < limits.get(type, 4.0)
    assert check.greedy_agreement >= agreements.get(type, 0.3)
    require_agreement(check, file=tmp_path / "m.gguf", type=type)


@pytest.mark.parametrize(
    "architecture",
    [
        {"tie_embeddings": True},
        {"kv_heads": 1, "rope_theta": 500_000.0},
        {"hidden_size": 48, "heads": 2, "kv_heads": 2},  # rows of 48 stay f16 in q8_0
    ],
    ids=["tied", "multi-query", "odd rows"],
)
@pytest.mark.parametrize("type", ["f16", "q8_0"])
def test_other_shapes(model, tmp_path, architecture, type):
    folder = make_model(tmp_path / "model", model, **architecture)
    check = checked(folder, tmp_path / "m.gguf", type)
    require_agreement(check, file=tmp_path / "m.gguf", type=type)
    assert check.max_logprob_difference < (1e-2 if type == "f16" else 0.25)
    assert bool(check.kept_f16) == (architecture.get("hidden_size") == 48 and type == "q8_0")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_models(model, tmp_path, dtype):
    from hanlin.models.load import load_model

    folder = save_model(load_model(model, dtype=dtype), load(model), tmp_path / "model")
    check = checked(folder, tmp_path / "m.gguf", "f32")
    assert check.greedy_agreement == 1.0 and check.max_logprob_difference < 2e-5


@pytest.mark.parametrize("name", [n for n in FORMATS if not get_format(n).markers])
def test_chat_gives_the_ids_of_training(model, tmp_path, name):
    folder = make_model(tmp_path / "model", model)
    write_manifest(folder, prompt=prompt_record(get_format(name), load(folder)))
    check = checked(folder, tmp_path / "m.gguf", "f16")
    assert check.chat_ids_equal is (True if get_format(name).has_exact_borders else None)
    require_agreement(check, file=tmp_path / "m.gguf", type="f16")


def test_grown_vocabulary(tmp_path):
    base = make_tiny(tmp_path / "base", texts=ENGLISH * 3)
    before = load(base)
    extension = extend_from_corpus(before, CHINESE * 3, rules=Rules(limit=30))
    write(before, extension, tmp_path / "tokenizer")
    grown = grow(Config(model=str(base), tokenizer=str(tmp_path / "tokenizer")), tmp_path / "grown")
    tokenizer = load(grown)
    assert tokenizer.vocab_size > before.vocab_size
    check = checked(grown, tmp_path / "m.gguf", "f16")
    require_agreement(check, file=tmp_path / "m.gguf", type="f16")
    with open_server(tmp_path / "m.gguf", context_length=64) as server:
        for text in (*CHINESE, *ENGLISH):
            assert server.tokenize(text) == tokenizer.encode(text, at_start=True)


@pytest.fixture(scope="module")
def server(model, tmp_path_factory):
    file = tmp_path_factory.mktemp("server") / "m.gguf"
    write_gguf(model, file, type="f32")
    with open_server(file, context_length=256) as opened:
        yield opened


CHARACTERS = st.text(st.sampled_from("ab e\n\t.　。，河流书Ａ１7🙂é<s>/▁"), min_size=1, max_size=30)
TEXTS = CHARACTERS | st.sampled_from([*SAMPLE_TEXTS, "</s>", "<0x41>", "  x  ", "\n\n", "▁"])


@settings(max_examples=100, deadline=None)
@given(text=TEXTS)
def test_any_text_has_our_ids(model, server, text):
    assert server.tokenize(text) == load(model).encode(text, at_start=True)


def test_continuations_are_those_of_transformers(model, reference, server):
    for prompt, wanted in zip(reference.prompts, reference.continuations, strict=True):
        assert server.greedy(prompt, max_new_tokens=len(wanted)) == wanted


def test_whole_distribution(model, server):
    import torch

    from hanlin.models.load import load_model

    tokenizer, transformer = load(model), load_model(model)
    prompt = [1, *tokenizer.encode("古桥 and the river", at_start=True)]
    with torch.inference_mode():
        wanted = transformer(input_ids=torch.tensor([prompt])).logits[0, -1].log_softmax(-1)
    found = server.next_log_probs(prompt, tokenizer=tokenizer)
    assert len(found) == tokenizer.vocab_size
    assert max(abs(found[i] - float(wanted[i])) for i in found) < 2e-5


def test_other_weights_are_found_out(model, reference, tmp_path):
    other = make_model(tmp_path / "other", model, rope_theta=100.0)
    check = check_gguf(write_gguf(other, tmp_path / "m.gguf", type="f16"), reference)
    assert check.greedy_agreement < 0.95
    with pytest.raises(StageFailedError) as caught:
        require_agreement(check, file=tmp_path / "m.gguf", type="f16")
    assert "picks other tokens than transformers" in str(caught.value)
    assert "should agree on at least 95%" in caught.value.why


def test_another_tokenizer_is_found_out(reference, tmp_path):
    words = [text[::-1] for text in SAMPLE_TEXTS]
    other = make_tiny(tmp_path / "other", texts=words, vocab_size=420)
    check = check_gguf(write_gguf(other, tmp_path / "m.gguf", type="q8_0"), reference)
    assert not check.token_ids_equal
    with pytest.raises(StageFailedError, match="splits text into other tokens"):
        require_agreement(check, file=tmp_path / "m.gguf", type="q8_0")


def test_damaged_file(tmp_path):
    (tmp_path / "m.gguf").write_bytes(b"GGUF" + bytes(100))
    with (
        pytest.raises(InputError, match=r"llama\.cpp cannot load") as caught,
        open_server(tmp_path / "m.gguf", context_length=64),
    ):
        pass
    assert "export it again" in caught.value.fix


def test_refused_request(server):
    with pytest.raises(InputError, match="refused a request to /completion") as caught:
        server.greedy([10**6], max_new_tokens=1)
    assert "invalid tokens" in caught.value.why


def test_llama_cpp_is_silent(model, tmp_path, capfd):
    write_gguf(model, tmp_path / "m.gguf", type="f16")
    with open_server(tmp_path / "m.gguf", context_length=64) as server:
        server.greedy([1, 5], max_new_tokens=4)
    with pytest.raises(InputError), open_server(tmp_path / "none.gguf", context_length=64):
        pass
    assert capfd.readouterr() == ("", "")


@pytest.mark.real_data
def test_tokenizer_of_llama(real_data, tmp_path):
    tokenizer = load(real_data / "tokenizers" / "llama")
    shape = Architecture(hidden_size=32, layers=1, heads=2, max_length=256)
    folder = save_model(new_llama(shape, tokenizer.vocab_size, 0), tokenizer, tmp_path / "model")
    reference = make_reference(folder, texts=["A map 地图"])  # byte by byte: the slow kind of token
    check = check_gguf(write_gguf(folder, tmp_path / "m.gguf", type="q8_0"), reference)
    require_agreement(check, file=tmp_path / "m.gguf", type="q8_0")
    assert abs(check.loss) < 0.005
