import pytest
import torch

from hanlin.core.config import ConfigSource, validate
from hanlin.core.errors import ConfigError
from hanlin.models.load import load_pair
from hanlin.models.tiny import Architecture, make_tiny, new_llama


def test_the_seed_alone_decides_the_bytes(tmp_path):
    torch.manual_seed(1)
    first = make_tiny(tmp_path / "a", seed=5)
    torch.manual_seed(2)
    second = make_tiny(tmp_path / "b", seed=5)
    other = make_tiny(tmp_path / "c", seed=6)
    for name in sorted(file.name for file in first.iterdir()):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    weights = "model.safetensors"
    assert (first / weights).read_bytes() != (other / weights).read_bytes()


def test_making_a_model_leaves_the_global_random_numbers_alone():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    new_llama(Architecture(hidden_size=32, layers=1), 300, 0)
    assert torch.equal(torch.rand(3), expected)


def test_tied_embeddings_are_one_matrix(tmp_path):
    model, _ = load_pair(make_tiny(tmp_path / "tied", tie=True))
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()


def test_texts_of_the_caller_train_the_tokenizer(tmp_path):
    folder = make_tiny(tmp_path / "m", texts=["lantern lantern lantern"] * 5, vocab_size=280)
    model, tokenizer = load_pair(folder)
    assert "▁lantern" in tokenizer.vocabulary
    assert model.config.vocab_size == tokenizer.vocab_size
    assert (model.config.eos_token_id, model.config.pad_token_id) == (2, 0)
    assert model.generation_config.pad_token_id == 0


def test_the_shape_is_as_asked():
    shape = Architecture(hidden_size=64, layers=3, heads=4, kv_heads=2, max_length=99)
    config = new_llama(shape, 300, 0).config
    assert (config.num_hidden_layers, config.num_key_value_heads) == (3, 2)
    assert (config.intermediate_size, config.max_position_embeddings) == (192, 99)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hidden_size": 30, "heads": 4}, "hidden_size 30 over heads 4 must be an even number"),
        ({"heads": 4, "kv_heads": 3}, "heads 4 must be a multiple of kv_heads 3"),
    ],
)
def test_shapes_that_cannot_be(values, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        validate(Architecture, values, source=ConfigSource("base.yaml", tmp_path))
