"""What is in a GGUF file, and which models are refused."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from gguf import GGUFReader, dequantize
from safetensors.torch import load_file, save_file

from hanlin.core.errors import ConfigError, InputError
from hanlin.core.files import read_json, sha256, write_json
from hanlin.models.manifest import write_manifest
from hanlin.models.save import save_model
from hanlin.models.tiny import Architecture, make_tiny, new_llama
from hanlin.prompts.formats import get_format
from hanlin.prompts.jinja import chat_template
from hanlin.prompts.probe import prompt_record
from hanlin.tokenization import sentencepiece
from hanlin.tokenization.load import load
from hanlin.weights.gguf import blocks as gguf_blocks
from hanlin.weights.gguf.types import SIMPLE_TYPES
from hanlin.weights.gguf.write import write_gguf


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("model"))


@pytest.fixture
def copy(model, tmp_path):
    """A model folder to damage."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in model.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def fields(file):
    return {name: field.contents() for name, field in GGUFReader(file).fields.items()}


def change_tensors(folder, change):
    file = folder / "model.safetensors"
    save_file({name: change(name, t) for name, t in load_file(file).items()}, file)


def test_settings_and_vocabulary(model, tmp_path):
    out = tmp_path / "model.gguf"
    write_gguf(model, out, type="f16")
    found, tokenizer = fields(out), load(model)
    assert found["general.architecture"] == "llama"
    assert found["llama.block_count"] == 2 and found["llama.embedding_length"] == 32
    assert found["llama.context_length"] == 512 and found["llama.rope.freq_base"] == 10_000.0
    assert found["llama.vocab_size"] == tokenizer.vocab_size
    spm = sentencepiece.read_model(model / "tokenizer.model")
    assert found["tokenizer.ggml.tokens"] == [piece.piece for piece in spm.pieces]
    assert found["tokenizer.ggml.token_type"] == [piece.type for piece in spm.pieces]
    assert found["tokenizer.ggml.scores"] == [piece.score for piece in spm.pieces]
    assert found["tokenizer.ggml.bos_token_id"] == 1 and found["tokenizer.ggml.eos_token_id"] == 2
    assert found["tokenizer.ggml.add_bos_token"] and found["tokenizer.ggml.add_space_prefix"]
    assert "tokenizer.chat_template" not in found
    assert json.loads(found["hanlin.manifest"])["tokenizer_sha256"] == tokenizer.sha256
    assert found["tokenizer.huggingface.json"] == (model / "tokenizer.json").read_text("utf-8")


def test_prompt_becomes_the_chat_template(copy, tmp_path):
    format = get_format("plain")
    write_manifest(copy, prompt=prompt_record(format, load(copy)))
    write_gguf(copy, tmp_path / "model.gguf", type="q8_0")
    found = fields(tmp_path / "model.gguf")
    assert found["tokenizer.chat_template"] == chat_template(format)
    assert json.loads(found["hanlin.manifest"])["prompt"]["format"] == "plain"


def test_prompt_that_no_template_can_say(copy, tmp_path):
    format = get_format("chinese-vicuna-chat")
    write_manifest(copy, prompt=prompt_record(format, load(copy)))
    write_gguf(copy, tmp_path / "model.gguf", type="f16")
    assert "tokenizer.chat_template" not in fields(tmp_path / "model.gguf")


@pytest.mark.parametrize("type", SIMPLE_TYPES)
def test_matrices_have_the_type_and_vectors_are_float32(model, tmp_path, type):
    file = write_gguf(model, tmp_path / "model.gguf", type=type)
    assert file.kept_f16 == () and file.trimmed_rows == 0
    original = load_file(model / "model.safetensors")["model.layers.1.mlp.up_proj.weight"].numpy()
    for tensor in GGUFReader(tmp_path / "model.gguf").tensors:
        wanted = "F32" if len(tensor.shape) == 1 else type.upper()
        if tensor.name == "output.weight" and SIMPLE_TYPES[type].bits < 8:
            wanted = "Q8_0"  # as llama.cpp has it in its own files
        assert tensor.tensor_type.name == wanted, tensor.name
        if tensor.name == "blk.1.ffn_up.weight":
            stored = dequantize(tensor.data, tensor.tensor_type)
            error = np.abs(stored.reshape(original.shape) - original).max()
            assert error < np.abs(original).max() / (6 if type.startswith("q4") else 12)


def test_rows_that_are_no_blocks_stay_f16(tmp_path):
    folder = make_tiny(tmp_path / "odd", hidden_size=48)
    file = write_gguf(folder, tmp_path / "model.gguf", type="q8_0")
    kinds = {t.name: t.tensor_type.name for t in GGUFReader(tmp_path / "model.gguf").tensors}
    assert kinds["blk.0.attn_q.weight"] == "F16" and kinds["blk.0.ffn_down.weight"] == "Q8_0"
    assert "blk.0.attn_q.weight" in file.kept_f16 and "blk.0.ffn_down.weight" not in file.kept_f16


def test_tied_model_has_no_output_matrix(tmp_path):
    folder = make_tiny(tmp_path / "tied", tie=True)
    write_gguf(folder, tmp_path / "model.gguf", type="f16")
    names = {tensor.name for tensor in GGUFReader(tmp_path / "model.gguf").tensors}
    assert "token_embd.weight" in names and "output.weight" not in names


def test_padding_rows_are_trimmed(copy, tmp_path):
    padding, padded = torch.zeros(5, 32), ("model.embed_tokens.weight", "lm_head.weight")
    change_tensors(copy, lambda name, t: torch.cat([t, padding]) if name in padded else t)
    file = write_gguf(copy, tmp_path / "model.gguf", type="f32")
    rows = {t.name: int(t.shape[1]) for t in GGUFReader(file.path).tensors if len(t.shape) > 1}
    assert file.trimmed_rows == 5
    assert rows["token_embd.weight"] == rows["output.weight"] == load(copy).vocab_size


def test_rows_of_another_vocabulary(copy, tmp_path):
    change_tensors(copy, lambda name, t: t[:9] if name == "model.embed_tokens.weight" else t)
    with pytest.raises(InputError, match="the model has 9 embedding rows but the tokenizer has"):
        write_gguf(copy, tmp_path / "model.gguf", type="f32")
    change_tensors(
        copy, lambda n, t: torch.zeros(5000, 32) if n == "model.embed_tokens.weight" else t
    )
    with pytest.raises(InputError) as caught:
        write_gguf(copy, tmp_path / "model.gguf", type="f32")
    assert "5000 embedding rows but the tokenizer has only" in str(caught.value)
    assert "another model's tokenizer" in caught.value.why
    assert not list(tmp_path.glob("*.gguf")) and not list(tmp_path.glob(".*"))


def test_added_tokens_of_tokenizer_json(tmp_path):
    tokenizer_folder = make_tiny(tmp_path / "plain")
    content = read_json(tokenizer_folder / "tokenizer.json")
    size = len(content["model"]["vocab"])
    common = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    content["added_tokens"] += [
        {"id": size, "content": "<pad>", "special": True, **common},
        {"id": size + 1, "content": "<工具>", "special": False, **common},
    ]
    write_json(tokenizer_folder / "tokenizer.json", content)
    tokenizer = load(tokenizer_folder)
    architecture = Architecture(hidden_size=32, layers=1, heads=2)
    folder = save_model(new_llama(architecture, size + 2, 0), tokenizer, tmp_path / "model")
    write_gguf(folder, tmp_path / "model.gguf", type="f16")
    found = fields(tmp_path / "model.gguf")
    assert found["tokenizer.ggml.tokens"][size:] == ["<pad>", "<工具>"]
    assert found["tokenizer.ggml.token_type"][size:] == [
        sentencepiece.CONTROL, sentencepiece.USER_DEFINED,
    ]  # fmt: skip


def test_two_exports_have_the_same_bytes(model, tmp_path):
    for name in ("a.gguf", "b.gguf"):
        write_gguf(model, tmp_path / name, type="q8_0")
    assert sha256(tmp_path / "a.gguf") == sha256(tmp_path / "b.gguf")


def test_unknown_type(model, tmp_path):
    with pytest.raises(ConfigError) as caught:
        write_gguf(model, tmp_path / "model.gguf", type="q8_1")
    assert "unknown GGUF type 'q8_1'" in str(caught.value)
    assert "known types: f32, f16, bf16, q8_0" in caught.value.why
    assert caught.value.fix == "did you mean 'q8_0'?"
    with pytest.raises(ConfigError) as caught:
        write_gguf(model, tmp_path / "model.gguf", type="large")
    assert caught.value.fix == "take one of them, for example q8_0 or q4_k_m"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"model_type": "gpt2"}, "is of the type 'gpt2'"),
        ({"rope_parameters": {"rope_type": "longrope"}}, "rotary positions of the type 'longrope'"),
    ],
)
def test_other_architectures(copy, tmp_path, change, what):
    write_json(copy / "config.json", {**read_json(copy / "config.json"), **change})
    with pytest.raises(InputError, match=what) as caught:
        write_gguf(copy, tmp_path / "model.gguf", type="f16")
    assert "convert_hf_to_gguf.py" in caught.value.fix


def test_unknown_tensor(copy, tmp_path):
    file = copy / "model.safetensors"
    save_file({**load_file(file), "vision.weight": torch.ones(2, 2)}, file)
    with pytest.raises(InputError, match=r"cannot write the tensor 'vision\.weight'"):
        write_gguf(copy, tmp_path / "model.gguf", type="f16")


def test_values_too_large_for_f16(copy, tmp_path):
    change_tensors(copy, lambda name, t: t * 1e7 if name.endswith("up_proj.weight") else t)
    with pytest.raises(InputError, match="does not fit into f16") as caught:
        write_gguf(copy, tmp_path / "model.gguf", type="f16")
    assert "export bf16 or f32" in caught.value.fix
    assert list(tmp_path.glob(".*")) == []
    write_gguf(copy, tmp_path / "model.gguf", type="bf16")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("type", ["f32", "q8_0"])
def test_numbers_that_are_none(copy, tmp_path, value, type):
    def damage(name, tensor):
        tensor = tensor.clone()
        if name == "model.layers.1.self_attn.k_proj.weight":
            tensor[3, 2] = value
        return tensor

    change_tensors(copy, damage)
    with pytest.raises(InputError, match=r"k_proj\.weight' holds NaN or infinity") as caught:
        write_gguf(copy, tmp_path / "model.gguf", type=type)
    assert "hanlin weights verify" in caught.value.fix
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_quantized_types_need_a_scale_in_f16(copy, tmp_path):
    change_tensors(copy, lambda name, t: t * 1e7 if name.endswith("up_proj.weight") else t)
    with pytest.raises(InputError, match="does not fit into q8_0"):
        write_gguf(copy, tmp_path / "model.gguf", type="q8_0")


def test_tensor_that_is_missing(copy, tmp_path):
    file = copy / "model.safetensors"
    tensors = load_file(file)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, file)
    with pytest.raises(InputError) as caught:
        write_gguf(copy, tmp_path / "model.gguf", type="f16")
    assert "lacks 1 of its tensors, first 'model.layers.1.mlp.up_proj.weight'" in str(caught.value)


def test_rows_that_the_config_denies(copy, tmp_path):
    change_tensors(
        copy, lambda name, t: t[:16] if name.endswith("1.self_attn.q_proj.weight") else t
    )
    with pytest.raises(InputError, match=r"q_proj\.weight' has 16 rows, config\.json says 32"):
        write_gguf(copy, tmp_path / "model.gguf", type="f16")


def test_rotary_scaling_without_its_numbers(copy, tmp_path):
    rope = {"rope_parameters": {"rope_type": "llama3", "factor": 8.0}}
    write_json(copy / "config.json", {**read_json(copy / "config.json"), **rope})
    with pytest.raises(InputError, match="'llama3' without 'low_freq_factor'"):
        write_gguf(copy, tmp_path / "model.gguf", type="f16")


def test_blocks_of_rows_are_put_together_right(copy, tmp_path, monkeypatch):
    monkeypatch.setattr(gguf_blocks, "BLOCK_BYTES", 3 * 32 * 4)  # three rows of most tensors
    write_gguf(copy, tmp_path / "small.gguf", type="q8_0")
    monkeypatch.undo()
    write_gguf(copy, tmp_path / "whole.gguf", type="q8_0")
    assert sha256(tmp_path / "small.gguf") == sha256(tmp_path / "whole.gguf")


KILLED = """
import os, signal, sys
from pathlib import Path
from hanlin.weights.gguf.write import write_gguf
def step(done, total, text):
    if 2 * done > total:
        os.kill(os.getpid(), signal.SIGKILL)
write_gguf(sys.argv[1], Path(sys.argv[2]), type="f32", progress=step)
"""


def test_a_kill_leaves_nothing_that_looks_finished(copy, tmp_path):
    out = tmp_path / "model.gguf"
    done = subprocess.run([sys.executable, "-c", KILLED, copy, out], check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = [path.name for path in tmp_path.iterdir() if path != copy]
    assert left.startswith(".model.gguf.") and left.endswith(".part")
    write_gguf(copy, out, type="f32")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "model.gguf"]


def test_quantized_model(copy, tmp_path):
    quantized = {"quantization_config": {"quant_method": "bitsandbytes"}}
    write_json(copy / "config.json", {**read_json(copy / "config.json"), **quantized})
    with pytest.raises(InputError, match=r"is quantized \(by bitsandbytes\)") as caught:
        write_gguf(copy, tmp_path / "model.gguf", type="f16")
    assert "float model" in caught.value.fix


def test_what_a_killed_process_left_is_swept_away(copy, tmp_path):
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    dead = tmp_path / f".model.gguf.{done.stdout.strip()}.part"
    alive = tmp_path / f".model.gguf.{os.getppid()}.part"
    for left in (dead, alive):
        left.write_bytes(b"half")
    write_gguf(copy, tmp_path / "model.gguf", type="f16")
    assert not dead.exists() and alive.exists()


def test_tokenizer_model_of_another_tokenizer(copy, tmp_path):
    other = make_tiny(tmp_path / "other", texts=["quite other words, 完全不同的词"] * 3)
    (copy / "tokenizer.model").write_bytes((other / "tokenizer.model").read_bytes())
    with pytest.raises(InputError) as caught:
        write_gguf(copy, tmp_path / "model.gguf", type="f16")
    assert "tokenizer.json disagree: the piece" in str(caught.value)


def test_unigram_model(copy, tmp_path):
    spm = sentencepiece.read_model(copy / "tokenizer.model")
    spm.trainer_spec.model_type = 1  # UNIGRAM
    (copy / "tokenizer.model").write_bytes(spm.SerializeToString())
    with pytest.raises(InputError, match="is not a byte-pair encoding"):
        write_gguf(copy, tmp_path / "model.gguf", type="f16")


def test_tokenizer_that_the_manifest_does_not_name(copy, tmp_path):
    write_manifest(copy, tokenizer_sha256="0" * 64)
    with pytest.raises(InputError, match="is not the one that"):
        write_gguf(copy, tmp_path / "model.gguf", type="f16")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"max_position_embeddings": "long"}, "max_position_embeddings is 'long'"),
        ({"rms_norm_eps": None}, "rms_norm_eps is None"),
        ({"rope_parameters": "none"}, "rope_parameters is 'none'"),
        ({"rope_theta": [1], "rope_parameters": None}, r"rope_theta is \[1\]"),
        ({"num_hidden_layers": 10**30}, "num_hidden_layers is 1000"),
        ({"hidden_size": True}, "hidden_size is True"),
        ({"model_type": []}, r"is of the type '\[\]'"),
    ],
)
def test_settings_of_another_type(copy, tmp_path, change, what):
    write_json(copy / "config.json", {**read_json(copy / "config.json"), **change})
    with pytest.raises(InputError, match=what) as caught:
        write_gguf(copy, tmp_path / "model.gguf", type="f16")
    assert caught.value.fix


def test_settings_that_are_no_table(copy, tmp_path):
    (copy / "config.json").write_text("[1]")
    with pytest.raises(InputError, match=r"config\.json holds no settings") as caught:
        write_gguf(copy, tmp_path / "model.gguf", type="f16")
    assert caught.value.why == "it is a list, not a table of names and values"
