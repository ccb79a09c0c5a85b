"""What belongs together: tokenizers, numbers, types; and what is left out or refused."""

import json
import logging

import pytest
import torch
from safetensors.torch import load_file, save_file

from hanlin.core import environment
from hanlin.core.errors import InputError
from hanlin.core.files import read_json, write_json
from hanlin.models.load import load_pair
from hanlin.models.manifest import write_manifest
from hanlin.models.tiny import make_tiny
from hanlin.prompts.formats import get_format
from hanlin.prompts.probe import prompt_record
from hanlin.tokenization.load import load
from hanlin.weights.merge.check import check_merged
from hanlin.weights.merge.inputs import open_inputs
from hanlin.weights.merge.merge import Config, merge

PREFIX = "base_model.model."
Q = f"{PREFIX}model.layers.0.self_attn.q_proj"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("base"))


@pytest.fixture
def adapter(tmp_path):
    generator = torch.Generator().manual_seed(3)
    tensors = {
        f"{Q}.lora_A.weight": torch.randn(2, 32, generator=generator),
        f"{Q}.lora_B.weight": torch.randn(32, 2, generator=generator),
    }
    return save(tmp_path / "adapter", tensors)


def save(folder, tensors, **more):
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "lora_alpha": 4, "bias": "none",
        "target_modules": ["q_proj"], "layers_to_transform": [0], "init_lora_weights": True,
        "base_model_name_or_path": "owner/float-7b", **more,
    }  # fmt: skip
    write_json(folder / "adapter_config.json", config)
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def run(base, adapter, out, **settings):
    settings = {"check_logits": False, **settings}
    return merge(Config(base=str(base), adapter=str(adapter), **settings), out)


def tensors_of(folder):
    return load_file(folder / "model.safetensors")


def extended(base, folder, *, pieces=("古桥", "灯笼")):
    """Write the base's tokenizer with more pieces into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    content = json.loads((base / "tokenizer.json").read_text())
    first = len(content["model"]["vocab"])
    for offset, piece in enumerate(pieces):
        token = {
            "id": first + offset, "content": piece, "special": False, "single_word": False,
            "lstrip": False, "rstrip": False, "normalized": False,
        }  # fmt: skip
        content.setdefault("added_tokens", []).append(token)
    (folder / "tokenizer.json").write_text(json.dumps(content, ensure_ascii=False))
    settings = (base / "tokenizer_config.json").read_bytes()
    (folder / "tokenizer_config.json").write_bytes(settings)
    return first + len(pieces)


def grown_adapter(base, folder):
    """An adapter as Chinese-LLaMA-Alpaca publishes them: whole tables and a larger tokenizer."""
    rows = extended(base, folder)
    generator = torch.Generator().manual_seed(5)
    tensors = {
        f"{PREFIX}{name}.weight": torch.randn(rows, 32, generator=generator)
        for name in ("model.embed_tokens", "lm_head")
    }
    tensors |= {
        f"{Q}.lora_A.weight": torch.randn(2, 32, generator=generator),
        f"{Q}.lora_B.weight": torch.randn(32, 2, generator=generator),
    }
    return save(folder, tensors, modules_to_save=["embed_tokens", "lm_head"]), rows


def test_an_adapter_that_brings_its_tokenizer_grows_the_model(base, tmp_path):
    folder, rows = grown_adapter(base, tmp_path / "adapter")
    report = run(base, folder, tmp_path / "out", check_logits=True)
    model, tokenizer = load_pair(tmp_path / "out")
    assert tokenizer.vocab_size == rows == load(base).vocab_size + 2
    assert model.config.vocab_size == rows
    assert model.get_input_embeddings().weight.shape == (rows, 32)
    assert tokenizer.sha256 == load(folder).sha256
    assert report.check.max_difference < 1e-5


def test_the_tokenizer_it_brings_must_be_the_one_it_was_trained_with(base, tmp_path):
    folder, _ = grown_adapter(base, tmp_path / "adapter")
    write_manifest(folder, tokenizer_sha256=load(base).sha256)
    with pytest.raises(InputError) as caught:
        run(base, folder, tmp_path / "out")
    assert f"was trained with another tokenizer than {folder} has" in str(caught.value)


def test_a_tokenizer_that_moves_ids_is_refused(base, adapter, tmp_path):
    extended(base, adapter)
    content = json.loads((adapter / "tokenizer.json").read_text())
    vocab = content["model"]["vocab"]
    one, two = list(vocab)[300:302]
    vocab[one], vocab[two] = vocab[two], vocab[one]
    (adapter / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(InputError) as caught:
        run(base, adapter, tmp_path / "out")
    assert "the tokenizer that the adapter" in str(caught.value)
    assert f"id 300 is {one!r} there and {two!r} here" in caught.value.why


def test_a_larger_tokenizer_without_rows_is_refused(base, adapter, tmp_path):
    extended(base, adapter)
    with pytest.raises(InputError, match="embedding rows but the tokenizer has"):
        run(base, adapter, tmp_path / "out")


def test_tables_of_different_lengths_are_refused(base, tmp_path):
    folder, rows = grown_adapter(base, tmp_path / "adapter")
    tensors = load_file(folder / "adapter_model.safetensors")
    del tensors[f"{PREFIX}lm_head.weight"]
    save(folder, tensors)
    with pytest.raises(InputError) as caught:
        run(base, folder, tmp_path / "out")
    assert f"{rows} rows in its embeddings and {rows - 2} in its lm_head" in str(caught.value)
    assert "hanlin model grow" in caught.value.fix


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_refused(base, adapter, tmp_path, value):
    tensors = load_file(adapter / "adapter_model.safetensors")
    tensors[f"{Q}.lora_A.weight"][1, 2] = value
    save_file(tensors, adapter / "adapter_model.safetensors")
    with pytest.raises(InputError) as caught:
        run(base, adapter, tmp_path / "out")
    assert f"holds NaN or infinite values in '{Q}.lora_A.weight'" in str(caught.value)
    assert "earlier checkpoint" in caught.value.fix


def test_an_adapter_that_does_nothing_is_merged_with_a_warning(base, adapter, tmp_path, caplog):
    tensors = load_file(adapter / "adapter_model.safetensors")
    tensors[f"{Q}.lora_B.weight"].zero_()
    save_file(tensors, adapter / "adapter_model.safetensors")
    with caplog.at_level(logging.WARNING):
        run(base, adapter, tmp_path / "out")
    assert "does nothing: every lora_B is zero" in caplog.text
    before, after = tensors_of(base), tensors_of(tmp_path / "out")
    assert all(torch.equal(before[name], after[name]) for name in before)


def halved(base, folder, dtype=torch.float16):
    """Write the base in another type."""
    folder.mkdir()
    for file in base.iterdir():
        if file.suffix != ".safetensors":
            (folder / file.name).write_bytes(file.read_bytes())
    tensors = {name: tensor.to(dtype) for name, tensor in tensors_of(base).items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_a_sum_too_large_for_half_precision_is_refused(base, adapter, tmp_path):
    half = halved(base, tmp_path / "half")
    tensors = load_file(adapter / "adapter_model.safetensors")
    tensors[f"{Q}.lora_B.weight"] *= 1e6
    save_file(tensors, adapter / "adapter_model.safetensors")
    with pytest.raises(InputError) as caught:
        run(half, adapter, tmp_path / "out")
    assert "does not fit into F16" in str(caught.value) and "6.55e+04" in caught.value.why
    assert "hanlin weights convert" in caught.value.fix
    assert sorted(p.name for p in tmp_path.iterdir()) == ["adapter", "half"]


def test_a_damaged_base_is_refused(base, adapter, tmp_path):
    damaged = halved(base, tmp_path / "damaged", torch.float32)
    tensors = tensors_of(damaged)
    tensors["model.layers.0.self_attn.q_proj.weight"][3, 3] = float("nan")
    save_file(tensors, damaged / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError) as caught:
        run(damaged, adapter, tmp_path / "out")
    assert "is not finite" in str(caught.value)
    assert "hanlin weights verify BASE" in caught.value.fix


def test_a_double_precision_base_stays_one(base, adapter, tmp_path):
    double = halved(base, tmp_path / "double", torch.float64)
    run(double, adapter, tmp_path / "out")
    name = "model.layers.0.self_attn.q_proj.weight"
    tensors = load_file(adapter / "adapter_model.safetensors")
    a, b = (tensors[f"{Q}.lora_{x}.weight"].double() for x in "AB")
    assert torch.equal(tensors_of(tmp_path / "out")[name], tensors_of(double)[name] + b @ a * 2)


def test_two_prompt_formats_are_told(base, adapter, tmp_path, caplog):
    tokenizer = load(base)
    second = save(tmp_path / "second", load_file(adapter / "adapter_model.safetensors"))
    for folder, name in ((adapter, "plain"), (second, "alpaca")):
        write_manifest(folder, prompt=prompt_record(get_format(name), tokenizer))
    with caplog.at_level(logging.WARNING):
        run(base, adapter, tmp_path / "out", then=[{"adapter": str(second)}])
    assert "several prompt formats (plain, alpaca)" in caplog.text
    assert "the template of alpaca" in caplog.text
    assert read_json(tmp_path / "out" / "hanlin.json")["prompt"]["format"] == "alpaca"


def test_without_memory_for_it_the_check_is_left_out_and_said(base, adapter, tmp_path, monkeypatch):
    run(base, adapter, tmp_path / "out")
    inputs = open_inputs(base, [[(adapter, 1.0)]], any_base=False, dequantize=False)
    monkeypatch.setattr("hanlin.weights.merge.check.available_memory_bytes", lambda: 1_000_000_000)
    reason = check_merged(inputs, tmp_path / "out", mode="auto")
    assert reason == "it needs 1.5 GB of memory, 1.0 GB are free"
    assert check_merged(inputs, tmp_path / "out", mode=True).is_ok
    assert check_merged(inputs, tmp_path / "out", mode=False) == "it was turned off"


def test_available_memory_is_a_part_of_all(tmp_path):
    assert 0 < environment.available_memory_bytes() <= environment.total_memory_bytes()


def test_a_container_limit_is_seen(tmp_path, monkeypatch):
    for name, text in (
        ("memory.max", "3000000"),
        ("memory.current", "1500000"),
        ("memory.stat", "anon 5\ninactive_file 500000\n"),
    ):
        (tmp_path / name).write_text(text)
    limits = ((str(tmp_path), "memory.max", "memory.current"), (str(tmp_path), "none", "none"))
    monkeypatch.setattr(environment, "CONTAINER_LIMITS", limits)
    assert environment.available_memory_bytes() == 2_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert environment.available_memory_bytes() > 2_000_000
