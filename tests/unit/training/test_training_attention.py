"""The attention of a training run: what may be chosen, and what is put back."""

import pytest
import torch
import transformers

from hanlin.core.errors import ConfigError
from hanlin.data.collate import attention_of, collator_for
from hanlin.data.pack import Row
from hanlin.models.tiny import Architecture, new_llama
from hanlin.training.attention import autocast, training_attention
from hanlin.training.packing_check import check_packing


@pytest.fixture(scope="module")
def model():
    return new_llama(Architecture(hidden_size=32, layers=1, heads=2), 100, 0)


class Rows:
    rows_per_epoch = 1

    def row(self, index):
        ids = torch.arange(3, 67).numpy()
        return Row(ids, ids, (64,))


@pytest.mark.parametrize("wanted", ["eager", "sdpa"])
def test_the_attention_is_used_and_then_put_back(model, wanted):
    with training_attention(model, wanted, precision="fp32"):
        assert attention_of(model) == wanted
        assert check_packing(model, Rows(), collator_for(model, pad_id=0, seq_len=64)).is_apart
    assert attention_of(model) == "sdpa"


def test_auto_is_the_models_own(model):
    with training_attention(model, "auto", precision="fp32"):
        assert attention_of(model) == "sdpa"


def test_flash_attention_needs_16_bits_and_a_gpu(model):
    with (
        pytest.raises(ConfigError) as caught,
        training_attention(model, "flash_attention_2", precision="fp32"),
    ):
        pass
    assert "set schedule.precision to bf16" in caught.value.fix
    if torch.cuda.is_available():
        return
    with (
        pytest.raises(ConfigError) as caught,
        training_attention(model, "flash_attention_2", precision="bf16"),
    ):
        pass
    assert "flash_attention_2, which cannot be used here" in caught.value.what
    assert "pip install flash-attn" in caught.value.fix


def test_an_attention_that_the_model_does_not_have_is_refused():
    config = transformers.Gemma2Config(
        vocab_size=50, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=1, num_key_value_heads=1, head_dim=16,
    )  # fmt: skip
    model = transformers.Gemma2ForCausalLM(config)
    with (
        pytest.raises(ConfigError) as caught,
        training_attention(model, "sdpa", precision="fp32"),
    ):
        pass
    assert "schedule.attention is sdpa, which this model does not have" in caught.value.what
    assert "does not support" in caught.value.why
    assert attention_of(model) == "eager"


def test_in_16_bits_the_mean_difference_counts(model):
    with autocast(model, "bf16"):
        found = check_packing(model, Rows(), collator_for(model, pad_id=0, seq_len=64))
    assert found.is_rounded and found.is_apart and found.mean < 0.02
