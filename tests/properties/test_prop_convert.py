"""Properties of conversions: every bit comes back, whatever the shape, the type and the shards."""

import math
import tempfile
from pathlib import Path

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hanlin.core.files import write_json
from hanlin.models.tensors import DTYPES, TensorSpec, open_checkpoint, write_checkpoint
from hanlin.weights.convert.convert import Options, convert
from hanlin.weights.llama import Llama, config_of_llama, feed_forward_size, params_of_llama


@st.composite
def llamas(draw):
    shards = draw(st.sampled_from([1, 2, 4]))
    kv_heads = shards * draw(st.integers(1, 2))
    heads = kv_heads * draw(st.integers(1, 2))
    model = Llama(
        hidden_size=heads * 2 * draw(st.integers(1, 3)),
        layers=draw(st.integers(1, 11)),
        heads=heads,
        kv_heads=kv_heads,
        intermediate_size=shards * draw(st.integers(1, 9)),
        vocab_size=shards * draw(st.integers(1, 9)),
        epsilon=1e-5,
        theta=draw(st.sampled_from([10_000.0, 500_000.0, 1e6])),
        scale=draw(st.sampled_from([None, 8.0, 32.0])),
        max_length=draw(st.integers(8, 99)),
        is_tied=draw(st.booleans()),
    )
    return model, shards


def write_model(folder, model, *, dtype, seed):
    """Write a model whose weights are any bits at all: NaN, infinite, negative zero."""
    generator = torch.Generator().manual_seed(seed)
    specs = [TensorSpec(name, dtype, shape) for name, shape in model.shapes().items()]

    def bits(spec):
        raw = torch.randint(0, 256, (spec.size_bytes,), dtype=torch.uint8, generator=generator)
        return raw.view(getattr(torch, DTYPES[dtype][0])).reshape(spec.shape)

    write_checkpoint(folder, specs, bits)
    write_json(folder / "config.json", config_of_llama(model, dtype=DTYPES[dtype][0]))


@given(llamas(), st.sampled_from(["F32", "F16", "BF16"]), st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_every_bit_comes_back(drawn, dtype, seed):
    model, shards = drawn
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_model(folder / "hf", model, dtype=dtype, seed=seed)
        convert(folder / "hf", folder / "one", Options("meta"))
        convert(folder / "one", folder / "some", Options("meta", shards=shards))
        convert(folder / "some", folder / "back", Options("hf"))
        old, new = (folder / name / "tensors.json" for name in ("hf", "back"))
        assert old.read_bytes() == new.read_bytes()
        assert open_checkpoint(folder / "back").size_bytes == sum(
            math.prod(shape) * DTYPES[dtype][1] for shape in model.shapes().values()
        )


@given(st.integers(1, 20_000), st.integers(1, 80_000))
def test_params_lead_to_the_width_of_the_feed_forward_layer(hidden, wide):
    model = Llama(hidden, 1, 1, 1, wide, 8, 1e-5, 1e4, None, 8, True)
    params = params_of_llama(model)
    size = feed_forward_size(hidden, params["multiple_of"], params.get("ffn_dim_multiplier"))
    assert size == wide
