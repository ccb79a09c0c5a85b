"""Reading the `.bin` files of llama2.c. Its export.py is restated here from its format."""

import struct

import pytest
import torch
from meta_folder import forward, params_of, state_of

from hanlin.core.errors import InputError
from hanlin.models.load import load_model, load_pair
from hanlin.models.tiny import make_tiny
from hanlin.tokenization.load import load as load_tokenizer
from hanlin.tokenization.sentencepiece import parse_model
from hanlin.weights.convert.convert import Options, convert

PARAMS = params_of(vocab_size=400)
NORMS, LENGTH = ("attention_norm", "ffn_norm"), 40
MATRICES = ("wq", "wk", "wv", "wo", "w1", "w2", "w3")


def layers(state, part):
    """Return the tensors of one part of all layers, in order."""
    names = [name for name in state if name.split(".")[-2] == part]
    return [state[name] for name in sorted(names, key=lambda name: int(name.split(".")[1]))]


def numbers(state, *, is_shared, length=LENGTH):
    wide = layers(state, "w1")[0].shape[0]
    vocabulary = PARAMS["vocab_size"] * (1 if is_shared else -1)
    return [PARAMS["dim"], wide, 2, PARAMS["n_heads"], PARAMS["n_kv_heads"], vocabulary, length]


def floats(tensors):
    return b"".join(tensor.float().numpy().tobytes() for tensor in tensors)


def old_format(state, *, is_shared):
    table = torch.zeros(LENGTH, PARAMS["dim"] // PARAMS["n_heads"] // 2)
    order = [state["tok_embeddings.weight"], *layers(state, "attention_norm")]
    order += [t for part in MATRICES[:4] for t in layers(state, part)]
    order += layers(state, "ffn_norm") + [t for p in MATRICES[4:] for t in layers(state, p)]
    order += [state["norm.weight"], table, table]
    order += [] if is_shared else [state["output.weight"]]
    return struct.pack("<7i", *numbers(state, is_shared=is_shared)) + floats(order)


def version_1(state, *, is_shared):
    head = numbers(state, is_shared=True)
    header = struct.pack("<Ii7iB", 0x616B3432, 1, *head, is_shared).ljust(256, b"\0")
    order = [t for part in NORMS for t in layers(state, part)]
    order += [state["norm.weight"], state["tok_embeddings.weight"]]
    order += [t for part in MATRICES for t in layers(state, part)]
    return header + floats(order + ([] if is_shared else [state["output.weight"]]))


def tokenizer_bin(model):
    """Return a SentencePiece model in llama2.c's format, as its tokenizer.py exports it."""
    names = {1: "\n<s>\n", 2: "\n</s>\n"}
    pieces = [names.get(i, p.piece.replace("\u2581", " ")) for i, p in enumerate(model.pieces)]
    data = struct.pack("<i", max(len(piece.encode()) for piece in pieces))
    for piece, entry in zip(pieces, model.pieces, strict=True):
        data += struct.pack("<fi", entry.score, len(piece.encode())) + piece.encode()
    return data


def make_state(*, is_shared):
    state = state_of(PARAMS)
    if is_shared:
        state["output.weight"] = state["tok_embeddings.weight"]
    return state


def refusal(path, out, **options):
    with pytest.raises(InputError) as caught:
        convert(path, out, Options("hf", **options))
    return str(caught.value)


@pytest.mark.parametrize("is_shared", [True, False])
@pytest.mark.parametrize("export", [old_format, version_1])
def test_logits_are_those_of_metas_formulas(tmp_path, export, is_shared):
    state = make_state(is_shared=is_shared)
    (tmp_path / "model.bin").write_bytes(export(state, is_shared=is_shared))
    done = convert(tmp_path / "model.bin", tmp_path / "hf", Options("hf"))
    assert (done.layout, done.dtype, done.max_length) == ("llama2c", "float32", LENGTH)
    model, ids = load_model(tmp_path / "hf"), [5, 1, 77, 30, 30, 2, 64, 9]
    assert model.config.tie_word_embeddings is is_shared
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0]
    torch.testing.assert_close(logits, forward(PARAMS, state, ids), rtol=0, atol=1e-5)


def test_straight_to_metas_layout(tmp_path):
    state = make_state(is_shared=True)
    (tmp_path / "model.bin").write_bytes(old_format(state, is_shared=True))
    convert(tmp_path / "model.bin", tmp_path / "meta", Options("meta"))
    written = torch.load(tmp_path / "meta" / "consolidated.00.pth", weights_only=True)
    assert written.keys() == state.keys()
    assert all(torch.equal(written[name], state[name]) for name in state)


@pytest.mark.parametrize("name", ["tok400.bin", "tokenizer.bin", "elsewhere/own.bin"])
def test_tokenizer_is_rebuilt(tmp_path, name):
    tiny = make_tiny(tmp_path / "tiny", vocab_size=400)
    model = parse_model((tiny / "tokenizer.model").read_bytes(), name="tiny")
    size = len(model.pieces)
    state = state_of(PARAMS | {"vocab_size": size})
    header = struct.pack("<7i", 64, 192, 2, 8, 4, size, LENGTH)
    data = header + old_format(state, is_shared=True)[28:]
    (tmp_path / "model.bin").write_bytes(data)
    file = tmp_path / name.replace("400", str(size))
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(tokenizer_bin(model))
    given = file if "elsewhere" in name else None
    done = convert(tmp_path / "model.bin", tmp_path / "hf", Options("hf", tokenizer=given))
    assert done.has_tokenizer
    _, tokenizer = load_pair(tmp_path / "hf")
    original = load_tokenizer(tiny)
    for text in ("The old bridge crosses  the river.", "河流穿过古城", " x\n\t😀", ""):
        assert tokenizer.encode(text, at_start=True) == original.encode(text, at_start=True)
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id) == (1, 2, 0)
    rebuilt = parse_model((tmp_path / "hf" / "tokenizer.model").read_bytes(), name="rebuilt")
    entries = [[(p.piece, p.score, p.type) for p in m.pieces] for m in (rebuilt, model)]
    assert entries[0] == entries[1]
    assert rebuilt.normalizer_spec.add_dummy_prefix


def test_tokenizer_that_is_cut_off_or_of_another_model(tmp_path):
    tiny = make_tiny(tmp_path / "tiny", vocab_size=380)
    model = parse_model((tiny / "tokenizer.model").read_bytes(), name="tiny")
    (tmp_path / "model.bin").write_bytes(old_format(make_state(is_shared=True), is_shared=True))
    file = tmp_path / "own.bin"
    file.write_bytes(tokenizer_bin(model)[:-3])
    text = refusal(tmp_path / "model.bin", tmp_path / "hf", tokenizer=file)
    assert "own.bin is not the tokenizer of this llama2.c model" in text
    assert f"it ends within entry {len(model.pieces) - 1}" in text
    file.write_bytes(tokenizer_bin(model))
    text = refusal(tmp_path / "model.bin", tmp_path / "hf", tokenizer=file)
    assert f"it has {len(model.pieces)} entries, the model 400" in text
    file.write_bytes(struct.pack("<i", 1) + b"abc")
    text = refusal(tmp_path / "model.bin", tmp_path / "hf", tokenizer=file)
    assert "entry 0:" in text and "--tokenizer FILE" in text


def test_tokenizer_in_another_order(tmp_path):
    (tmp_path / "model.bin").write_bytes(old_format(make_state(is_shared=True), is_shared=True))
    entries = b"".join(struct.pack("<fi", 0.0, 3) + b"abc" for _ in range(400))
    (tmp_path / "tok400.bin").write_bytes(struct.pack("<i", 3) + entries)
    text = refusal(tmp_path / "model.bin", tmp_path / "hf")
    assert "its first entries are not <unk>, <s>, </s> and the bytes" in text


@pytest.mark.parametrize("export", [old_format, version_1])
def test_cut_off_model(tmp_path, export):
    data = export(make_state(is_shared=True), is_shared=True)
    (tmp_path / "model.bin").write_bytes(data[:-4])
    text = refusal(tmp_path / "model.bin", tmp_path / "hf")
    assert f"is cut off or damaged: it has {len(data) - 4:,} bytes" in text
    assert f"by its header it has {len(data):,}" in text


def test_quantized_version(tmp_path):
    (tmp_path / "model.bin").write_bytes(struct.pack("<Ii", 0x616B3432, 2) + bytes(300))
    text = refusal(tmp_path / "model.bin", tmp_path / "hf")
    assert "is a llama2.c file of version 2" in text and "8-bit integers" in text
    assert "export the model in float" in text


@pytest.mark.parametrize("content", [b"", b"GGUF" + bytes(100), b"PK\x03\x04" + bytes(100)])
def test_file_of_another_kind(tmp_path, content):
    (tmp_path / "model.bin").write_bytes(content)
    text = refusal(tmp_path / "model.bin", tmp_path / "hf")
    assert "model.bin is no model that can be converted" in text
    assert "give the folder of the model" in text
