"""Quantized checkpoints: transformers loads them, they cost little, and wrong input is refused."""

import importlib.util
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from hanlin.core.errors import ConfigError, InputError, MissingExtraError, StageFailedError
from hanlin.core.files import read_json, write_json
from hanlin.models.load import load_model, load_pair
from hanlin.models.manifest import read_manifest, write_manifest
from hanlin.models.save import save_model
from hanlin.models.tiny import SAMPLE_TEXTS, Architecture, make_tiny, new_llama
from hanlin.prompts.formats import get_format
from hanlin.prompts.probe import prompt_record
from hanlin.tokenization.load import load
from hanlin.weights.quantize.quantize import Options, quantize_model

HAS_BITSANDBYTES = importlib.util.find_spec("bitsandbytes") is not None
HAS_GPTQMODEL = importlib.util.find_spec("gptqmodel") is not None
needs_bitsandbytes = pytest.mark.skipif(
    not HAS_BITSANDBYTES, reason='bitsandbytes is not installed: pip install "hanlin[quantize]"'
)
needs_gptqmodel = pytest.mark.skipif(
    not HAS_GPTQMODEL, reason='gptqmodel is not installed: pip install "hanlin[gptq]"'
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tokenizer = load(make_tiny(folder / "tokenizer"))
    shape = Architecture(hidden_size=64, intermediate_size=128, layers=2, heads=2, max_length=256)
    net = new_llama(shape, tokenizer.vocab_size, 5)
    for parameter in net.parameters():
        parameter.data *= 3 if parameter.ndim > 1 else 1
    made = save_model(net, tokenizer, folder / "model")
    write_manifest(made, prompt=prompt_record(get_format("plain"), tokenizer))
    return made


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    file = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in SAMPLE_TEXTS * 4))
    return file


def logits(folder):
    model, tokenizer = load_pair(folder)
    ids = torch.tensor([[1, *tokenizer.encode("The river 河流穿过古城。", at_start=True)]])
    with torch.inference_mode():
        return model(input_ids=ids).logits[0]


@needs_bitsandbytes
@pytest.mark.parametrize(("method", "limit"), [("int8", 0.1), ("nf4", 0.4)])
def test_bitsandbytes_checkpoints_are_loaded_back(model, texts, tmp_path, method, limit):
    out = tmp_path / "small"
    found = quantize_model(model, out, options=Options(method, texts))
    assert found.size_bytes < found.size_bytes_before
    assert found.held_out_texts == 8 and found.calibration_rows == 0
    assert abs(found.loss) < 0.02
    assert found.loss == pytest.approx(
        found.bits_per_byte / found.bits_per_byte_before - 1, abs=1e-4
    )
    assert read_json(out / "quantize.json") == found.to_json()
    assert read_json(out / "config.json")["quantization_config"]["quant_method"] == "bitsandbytes"
    assert read_manifest(out) == read_manifest(model)
    difference = (logits(out) - logits(model)).abs().max() / logits(model).abs().max()
    assert 0 < difference < limit
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


@needs_bitsandbytes
def test_half_precision_model_keeps_its_type(model, tmp_path):
    half = save_model(load_model(model, dtype="bfloat16"), load(model), tmp_path / "half")
    quantize_model(half, tmp_path / "small", options=Options("nf4"))
    config = read_json(tmp_path / "small" / "config.json")
    assert config["dtype"] == "bfloat16"
    assert config["quantization_config"]["bnb_4bit_compute_dtype"] == "bfloat16"
    stored = load_file(tmp_path / "small" / "model.safetensors")["model.embed_tokens.weight"]
    assert stored.dtype == torch.bfloat16


@needs_bitsandbytes
def test_out_that_exists(model, tmp_path):
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "mine.txt").write_text("x")
    with pytest.raises(InputError, match="exists already"):
        quantize_model(model, tmp_path / "small", options=Options("int8"))
    quantize_model(model, tmp_path / "small", options=Options("int8"), force=True)
    assert not (tmp_path / "small" / "mine.txt").exists()


@needs_bitsandbytes
def test_weights_that_are_no_numbers(model, tmp_path):
    folder = save_model(load_model(model), load(model), tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"][3] = torch.nan
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(StageFailedError, match="says nothing any more after int8") as caught:
        quantize_model(folder, tmp_path / "small", options=Options("int8"))
    assert "so before quantizing" in caught.value.why
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@needs_bitsandbytes
def test_quantized_model_is_not_quantized_again(model, tmp_path):
    quantize_model(model, tmp_path / "small", options=Options("int8"))
    with pytest.raises(InputError, match=r"is quantized already \(by bitsandbytes\)") as caught:
        quantize_model(tmp_path / "small", tmp_path / "smaller", options=Options("nf4"))
    assert "float model" in caught.value.fix


def test_unknown_method(model, tmp_path):
    with pytest.raises(ConfigError, match="unknown method 'int4'") as caught:
        quantize_model(model, tmp_path / "small", options=Options("int4"))
    assert "int8, nf4, gptq, awq" in caught.value.why and "did you mean" in caught.value.fix


@pytest.mark.parametrize("method", ["gptq", "awq"])
def test_nothing_to_calibrate_on(model, tmp_path, method):
    with pytest.raises(ConfigError, match="has no texts to calibrate on") as caught:
        quantize_model(model, tmp_path / "small", options=Options(method))
    assert caught.value.fix.endswith("--calibration FILE")


@pytest.mark.skipif(HAS_GPTQMODEL, reason="gptqmodel is installed")
@pytest.mark.parametrize("method", ["gptq", "awq"])
def test_missing_gptqmodel(model, texts, tmp_path, method):
    with pytest.raises(MissingExtraError, match="needs the package 'gptqmodel'") as caught:
        quantize_model(model, tmp_path / "small", options=Options(method, texts))
    assert caught.value.fix == 'pip install "hanlin[gptq]"'
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(HAS_GPTQMODEL, reason="gptqmodel is installed")
def test_loading_needs_the_package_that_quantized(model, tmp_path):
    folder = save_model(load_model(model), load(model), tmp_path / "model")
    config = read_json(folder / "config.json") | {"quantization_config": {"quant_method": "awq"}}
    write_json(folder / "config.json", config)
    with pytest.raises(MissingExtraError, match="loading a model quantized by awq"):
        load_model(folder)


@needs_gptqmodel
@pytest.mark.parametrize("method", ["gptq", "awq"])
def test_calibrated_checkpoints(model, texts, tmp_path, monkeypatch, method):
    out = tmp_path / "small"
    monkeypatch.chdir(tmp_path)
    found = quantize_model(model, out, options=Options(method, texts, group_size=32))
    assert found.calibration_rows == 28 and found.held_out_texts == 8
    assert found.size_bytes < found.size_bytes_before and abs(found.loss) < 0.05
    config = read_json(out / "config.json")["quantization_config"]
    assert config["quant_method"] == method and config["bits"] == 4
    assert "/tmp" not in (out / "config.json").read_text()
    assert load(out).sha256 == load(model).sha256
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


@needs_gptqmodel
def test_rows_that_are_no_groups(model, texts, tmp_path):
    with pytest.raises(
        InputError, match=r"hidden_size 64 .* cannot be cut into groups of 128"
    ) as e:
        quantize_model(model, tmp_path / "small", options=Options("gptq", texts))
    assert e.value.fix == "--group-size 64"
