import json

import pytest

from hanlin.core.errors import InputError
from hanlin.models.info import describe, read_info
from hanlin.models.load import load_model
from hanlin.models.tiny import make_tiny


@pytest.mark.parametrize("tie", [True, False])
def test_the_formula_counts_what_the_model_has(tmp_path, tie):
    folder = make_tiny(tmp_path / "m", tie=tie)
    info, model = read_info(folder), load_model(folder)
    assert info.parameters == model.num_parameters()
    assert info.is_tied == tie
    assert info.weight_bytes >= 4 * info.parameters
    assert info.dtype == "float32"
    assert len(info.tokenizer_sha256) == 64


SMALL = {
    "vocab_size": 100, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2,
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("Llama", {"attention_bias": True, "mlp_bias": True, "head_dim": 10}),
        ("Mistral", {}),
        ("Qwen2", {"tie_word_embeddings": True}),
    ],
)
def test_relatives_are_counted_right(name, extra):
    import transformers

    config = getattr(transformers, f"{name}Config")(**SMALL, **extra)
    model = getattr(transformers, f"{name}ForCausalLM")(config)
    info = describe(config.to_dict(), name="config.json")
    assert info.parameters == model.num_parameters()


def test_llama_7b_from_its_published_numbers():
    config = {
        "model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008,
        "num_hidden_layers": 32, "num_attention_heads": 32, "vocab_size": 32000,
    }  # fmt: skip
    assert describe(config, name="config.json").parameters == 6_738_415_616


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "gpt2"}, "model_type 'gpt2' is not of the LLaMA family"),
        ({"model_type": "llama", "hidden_size": 8}, "'num_attention_heads' is missing"),
        ([], r"config\.json holds no settings"),
    ],
)
def test_other_models_are_refused(tmp_path, config, message):
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=message):
        read_info(tmp_path)


def test_a_folder_without_a_config(tmp_path):
    with pytest.raises(InputError, match=r"is not a model: it has no config\.json"):
        read_info(tmp_path)
