"""Quantized bases: refused in favor of the float model, or turned back on request."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from hanlin.core.errors import InputError
from hanlin.core.files import read_json, write_json
from hanlin.models.load import load_pair
from hanlin.models.tensors import open_checkpoint
from hanlin.models.tiny import make_tiny
from hanlin.weights.merge.dequantize import open_dequantized
from hanlin.weights.merge.merge import Config, merge

bitsandbytes = pytest.importorskip("bitsandbytes")

Q = "model.layers.0.self_attn.q_proj.weight"
PREFIX = "base_model.model.model.layers.0.self_attn.q_proj"
KINDS = {
    "int8": {"load_in_8bit": True},
    "nf4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
    "nf4, twice": {
        "load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True,
    },
    "fp4": {"load_in_4bit": True, "bnb_4bit_quant_type": "fp4"},
}  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("base"), hidden_size=64)


@pytest.fixture
def adapter(tmp_path):
    generator = torch.Generator().manual_seed(3)
    tensors = {
        f"{PREFIX}.lora_A.weight": torch.randn(2, 64, generator=generator),
        f"{PREFIX}.lora_B.weight": torch.randn(64, 2, generator=generator) * 0.1,
    }
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "lora_alpha": 4, "bias": "none",
        "target_modules": ["q_proj"], "layers_to_transform": [0], "init_lora_weights": True,
        "base_model_name_or_path": "owner/float-7b",
    }  # fmt: skip
    write_json(tmp_path / "adapter" / "adapter_config.json", config)
    save_file(tensors, tmp_path / "adapter" / "adapter_model.safetensors")
    return tmp_path / "adapter"


def quantized(base, folder, kind):
    """Save the base as transformers and bitsandbytes do."""
    import transformers

    config = transformers.BitsAndBytesConfig(**KINDS[kind])
    model = transformers.AutoModelForCausalLM.from_pretrained(
        str(base), quantization_config=config, dtype=torch.float16
    )
    model.save_pretrained(str(folder))
    for name in ("tokenizer.json", "tokenizer_config.json", "tokenizer.model"):
        (folder / name).write_bytes((base / name).read_bytes())
    return model


def run(base, adapter, out, **settings):
    return merge(Config(base=str(base), adapter=str(adapter), **settings), out)


@pytest.mark.parametrize("kind", KINDS)
def test_the_numbers_are_those_that_bitsandbytes_computes_with(base, tmp_path, kind):
    from peft.utils.integrations import dequantize_module_weight

    folder = tmp_path / "quantized"
    model = quantized(base, folder, kind)
    found = open_dequantized(open_checkpoint(folder), dtype="float16")
    layers = {
        f"{name}.weight": module
        for name, module in model.named_modules()
        if type(module).__module__.startswith("bitsandbytes")
    }
    assert set(found.specs) == set(load_file(base / "model.safetensors")) and len(layers) == 14
    for name, module in layers.items():
        theirs = dequantize_module_weight(module).to(torch.float16)
        assert torch.equal(found.read(name), theirs)
        assert torch.equal(torch.cat(list(found.blocks(name))), theirs)


@pytest.mark.parametrize("kind", ["int8", "nf4, twice"])
def test_merged_onto_the_dequantized_numbers(base, adapter, tmp_path, kind):
    folder, out = tmp_path / "quantized", tmp_path / "out"
    quantized(base, folder, kind)
    report = run(folder, adapter, out, dequantize=True)
    assert report.check.is_ok
    config = read_json(out / "config.json")
    assert "quantization_config" not in config and config["dtype"] == "float16"
    floats = open_dequantized(open_checkpoint(folder), dtype="float16")
    tensors = load_file(adapter / "adapter_model.safetensors")
    delta = tensors[f"{PREFIX}.lora_B.weight"] @ tensors[f"{PREFIX}.lora_A.weight"] * 2
    merged = load_file(out / "model.safetensors")
    assert torch.equal(merged[Q], (floats.read(Q).float() + delta).half())
    assert all(torch.equal(merged[name], floats.read(name)) for name in merged if name != Q)
    load_pair(out)


def test_without_being_asked_to_the_float_model_is_named(base, adapter, tmp_path):
    folder = tmp_path / "quantized"
    quantized(base, folder, "nf4")
    with pytest.raises(InputError) as caught:
        run(folder, adapter, tmp_path / "out")
    assert f"the base model {folder} is quantized (bitsandbytes)" in str(caught.value)
    assert f"hanlin weights merge owner/float-7b {adapter} OUT --any-base" in caught.value.fix
    assert "add --dequantize" in caught.value.fix


def test_only_bitsandbytes_can_be_turned_back(base, adapter, tmp_path):
    with pytest.raises(InputError) as caught:
        run(base, adapter, tmp_path / "out", dequantize=True)
    assert "it is in float already" in caught.value.why
    gptq = tmp_path / "gptq"
    gptq.mkdir()
    for file in base.iterdir():
        (gptq / file.name).write_bytes(file.read_bytes())
    config = read_json(base / "config.json")
    write_json(gptq / "config.json", {**config, "quantization_config": {"quant_method": "gptq"}})
    with pytest.raises(InputError, match="cannot be dequantized"):
        run(gptq, adapter, tmp_path / "out", dequantize=True)
    with pytest.raises(InputError) as caught:
        run(gptq, adapter, tmp_path / "out")
    assert "is quantized (gptq)" in str(caught.value) and "--dequantize" not in caught.value.fix


def test_int8_weights_in_an_old_layout_are_refused(tmp_path):
    tensors = {
        "q.weight": torch.zeros(4, 4, dtype=torch.int8),
        "q.SCB": torch.ones(4),
        "q.weight_format": torch.tensor(2, dtype=torch.uint8),
    }
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="in a layout for tensor cores"):
        open_dequantized(open_checkpoint(tmp_path), dtype="float16")
