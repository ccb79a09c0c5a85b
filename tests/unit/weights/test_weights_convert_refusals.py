"""What cannot be converted, and what the refusals say."""

import json

import pytest
import torch
from meta_folder import params_of, state_of, write_meta_folder
from safetensors.torch import load_file, save_file

from hanlin.core.errors import ConfigError, InputError
from hanlin.core.files import read_json, write_json
from hanlin.models.tiny import make_tiny
from hanlin.weights.convert.convert import Options, convert

LLAMA_2 = params_of()


def make_meta(tmp_path, *, name="meta", shards=1, **state):
    return write_meta_folder(tmp_path / name, LLAMA_2, state_of(LLAMA_2, **state), shards=shards)


@pytest.fixture
def tiny(tmp_path):
    return make_tiny(tmp_path / "tiny", hidden_size=64, vocab_size=400)


def refusal(kind, *arguments, **options):
    with pytest.raises(kind) as caught:
        convert(*arguments, **options)
    return str(caught.value)


def test_folder_with_neither_layout(tmp_path):
    text = refusal(InputError, tmp_path, tmp_path / "out", Options("hf"))
    assert "there is neither config.json (Hugging Face) nor consolidated.00.pth (Meta)" in text
    make_meta(tmp_path, name="original")
    assert f"give {tmp_path}/original" in refusal(InputError, tmp_path, tmp_path, Options("hf"))
    (tmp_path / "original" / "consolidated.00.pth").unlink()
    text = refusal(InputError, tmp_path / "original", tmp_path / "out", Options("hf"))
    assert "though params.json is there" in text


def test_missing_params(tmp_path):
    folder = make_meta(tmp_path)
    (folder / "params.json").unlink()
    text = refusal(InputError, folder, tmp_path / "out", Options("hf"))
    assert "has no params.json" in text and "copy params.json from where" in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_heads": None}, "n_heads is None"),
        ({"n_heads": 7}, "64 dim over 7 n_heads is no whole number"),
        ({"n_layers": 3}, "'model.layers.2.input_layernorm.weight' is missing"),
        ({"n_kv_heads": 8}, "k_proj.weight' has the shape [32, 64], not [64, 64]"),
    ],
)
def test_params_of_another_model(tmp_path, change, message):
    folder = make_meta(tmp_path)
    (folder / "params.json").write_text(json.dumps(LLAMA_2 | change))
    assert message in refusal(InputError, folder, tmp_path / "out", Options("hf"))


def test_missing_shards(tmp_path):
    folder = make_meta(tmp_path, shards=4)
    (folder / "consolidated.03.pth").unlink()
    text = refusal(InputError, folder, tmp_path / "out", Options("hf"))
    assert "has 3 of 4 shards" in text and "missing consolidated.03.pth" in text
    (folder / "consolidated.01.pth").unlink()
    text = refusal(InputError, folder, tmp_path / "out", Options("hf"))
    assert "consolidated.01.pth is missing" in text


def test_shards_that_do_not_fit(tmp_path):
    folder, other = make_meta(tmp_path, shards=2), make_meta(tmp_path, name="other", shards=4)
    (folder / "consolidated.01.pth").write_bytes((other / "consolidated.01.pth").read_bytes())
    text = refusal(InputError, folder, tmp_path / "out", Options("hf"))
    assert "consolidated.01.pth: the tensor" in text
    assert "all shards of a model hold the same tensors in the same shapes" in text


def test_shards_of_two_models(tmp_path):
    folder = make_meta(tmp_path, shards=2)
    other = make_meta(tmp_path, name="other", shards=2, seed=1)
    (folder / "consolidated.01.pth").write_bytes((other / "consolidated.01.pth").read_bytes())
    text = refusal(InputError, folder, tmp_path / "out", Options("hf"))
    assert "has other values than in consolidated.00.pth" in text
    assert "norms are the same in all shards" in text


def test_cut_off_shard(tmp_path):
    folder = make_meta(tmp_path)
    file = folder / "consolidated.00.pth"
    file.write_bytes(file.read_bytes()[:-1000])
    text = refusal(InputError, folder, tmp_path / "out", Options("hf"))
    assert "consolidated.00.pth" in text and "fix:" in text


def test_quantized_meta_model(tmp_path):
    state = state_of(LLAMA_2) | {"layers.0.attention.wq.scales": torch.ones(64)}
    folder = write_meta_folder(tmp_path / "meta", LLAMA_2, state)
    text = refusal(InputError, folder, tmp_path / "out", Options("hf"))
    assert "'layers.0.attention.wq.scales' (F32) is none of a plain LLaMA" in text


def test_heads_that_cannot_be_cut(tmp_path):
    text = refusal(InputError, make_meta(tmp_path), tmp_path / "out", Options("meta", shards=8))
    assert "4 key and value heads cannot be cut into 8 equal parts" in text
    assert "use --shards 1 or 2 or 4" in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "qwen2"}, "a model of the type 'qwen2' has no Meta layout"),
        ({"attention_bias": True}, "a model with attention_bias has no Meta layout"),
        ({"head_dim": 32}, "a model with head_dim 32 has no Meta layout"),
        ({"hidden_act": "gelu"}, "a model with hidden_act 'gelu' has no Meta layout"),
        (
            {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}},
            "rotary positions with rope_type 'linear' have no Meta layout",
        ),
    ],
)
def test_models_that_meta_has_no_words_for(tmp_path, tiny, change, message):
    write_json(tiny / "config.json", read_json(tiny / "config.json") | change)
    assert message in refusal(InputError, tiny, tmp_path / "out", Options("meta"))


def test_config_that_lacks_a_number(tmp_path, tiny):
    config = read_json(tiny / "config.json")
    del config["num_hidden_layers"]
    write_json(tiny / "config.json", config)
    text = refusal(InputError, tiny, tmp_path / "out", Options("meta"))
    assert (
        "config.json: the key 'num_hidden_layers' is missing" in text
        and "download config.json" in text
    )


def test_hf_model_with_a_tensor_too_many(tmp_path, tiny):
    tensors = load_file(tiny / "model.safetensors") | {"extra.weight": torch.ones(2)}
    save_file(tensors, tiny / "model.safetensors", metadata={"format": "pt"})
    text = refusal(InputError, tiny, tmp_path / "out", Options("meta"))
    assert "the tensor 'extra.weight' is unknown" in text


def test_wrong_options(tmp_path, tiny):
    assert "unknown layout 'gguf'" in refusal(ConfigError, tiny, tmp_path / "o", Options("gguf"))
    text = refusal(ConfigError, tiny, tmp_path / "o", Options("hf", dtype="float61"))
    assert "unknown dtype 'float61'" in text and "float16" in text


def test_options_that_would_be_passed_over(tmp_path, tiny):
    text = refusal(ConfigError, tiny, tmp_path / "o", Options("hf", shards=2))
    assert "--shards has no meaning from hf to hf" in text and "--max-shard-gb" in text
    text = refusal(ConfigError, tiny, tmp_path / "o", Options("meta", max_length=99))
    assert "--max-length has no meaning from hf to meta" in text and "says it itself: 512" in text
    text = refusal(ConfigError, tiny, tmp_path / "o", Options("hf", tokenizer=tiny))
    assert "--tokenizer has no meaning from hf to hf" in text and "is copied" in text


def test_quantized_hf_model(tmp_path, tiny):
    tensors = load_file(tiny / "model.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    tensors[name] = tensors[name].to(torch.int8)
    save_file(tensors, tiny / "model.safetensors", metadata={"format": "pt"})
    text = refusal(InputError, tiny, tmp_path / "out", Options("meta"))
    assert f"the tensor '{name}' has the type I8" in text and "before it was quantized" in text
