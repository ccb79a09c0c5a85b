"""On a CUDA device packed documents are kept apart too, padded or not. Skipped without one."""

import numpy as np
import pytest
import torch
import transformers
from transformers.utils import is_flash_attn_2_available

from hanlin.data.collate import collator_for
from hanlin.data.pack import Row
from hanlin.training.packing_check import check_packing

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]
SHAPES = {"Llama": {}, "Mistral": {"sliding_window": 40}, "Qwen3": {}}


class Rows:
    rows_per_epoch = 8

    def row(self, index):
        ids = np.random.default_rng(index).integers(3, 500, 64)
        return Row(ids, ids, (30, 34))


def make_model(family, *, attention, dtype):
    config = getattr(transformers, f"{family}Config")(
        vocab_size=512, hidden_size=256, intermediate_size=512, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=64, max_position_embeddings=512,
        **SHAPES[family],
    )  # fmt: skip
    torch.manual_seed(0)
    model = getattr(transformers, f"{family}ForCausalLM")(config).to("cuda", dtype)
    model.set_attn_implementation(attention)
    return model


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("family", SHAPES)
def test_the_padded_path(family, dtype):
    model = make_model(family, attention="sdpa", dtype=dtype)
    assert check_packing(model, Rows(), collator_for(model, pad_id=0, seq_len=64)).is_apart


@pytest.mark.skipif(not is_flash_attn_2_available(), reason="flash-attn is not installed")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("family", SHAPES)
def test_the_path_without_padding(family, dtype):
    model = make_model(family, attention="flash_attention_2", dtype=dtype)
    collator = collator_for(model, pad_id=0, seq_len=64)
    assert collator.is_flat
    assert check_packing(model, Rows(), collator).is_apart
