"""Properties of checkpoints: every bit comes back, however the tensors are split into files."""

import tempfile
from pathlib import Path

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from hanlin.core.files import read_json
from hanlin.models.tensors import (
    DTYPES,
    MANIFEST,
    TensorSpec,
    open_checkpoint,
    raw_bytes,
    tensor_sha256,
    torch_dtype,
    write_checkpoint,
)
from hanlin.weights.lora import LowRank, Rows
from hanlin.weights.merge.apply import Term, changed_blocks

NAMES = st.text(st.sampled_from("abcxyz.层_0123"), min_size=1, max_size=12)
SHAPES = st.lists(st.integers(0, 5), max_size=3).map(tuple)


@st.composite
def tensors(draw):
    """Any bytes at all, seen as tensors of any type: NaN and subnormal numbers among them."""
    found = {}
    for name in draw(st.lists(NAMES, min_size=1, max_size=6, unique=True)):
        spec = TensorSpec(name, draw(st.sampled_from(sorted(DTYPES))), draw(SHAPES))
        content = draw(st.binary(min_size=spec.size_bytes, max_size=spec.size_bytes))
        if spec.dtype == "BOOL":
            content = bytes(byte % 2 for byte in content)
        flat = torch.frombuffer(bytearray(content or b"\0"), dtype=torch.uint8)[: len(content)]
        found[spec] = flat.view(torch_dtype(spec.dtype)).reshape(spec.shape)
    return found


@settings(deadline=None, max_examples=60)
@given(content=tensors(), limit=st.integers(1, 400))
def test_writing_and_reading_gives_every_bit_back(content, limit):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_checkpoint(folder, list(content), content.__getitem__, max_shard_bytes=limit)
        checkpoint = open_checkpoint(folder)
        assert sorted(checkpoint.specs.values(), key=lambda s: s.name) == sorted(
            content, key=lambda s: s.name
        )
        digests = read_json(folder / MANIFEST)["tensors"]
        for spec, tensor in content.items():
            read = checkpoint.read(spec.name)
            assert bytes(raw_bytes(read)) == bytes(raw_bytes(tensor))
            assert digests[spec.name]["sha256"] == tensor_sha256(spec, read)
        for file in folder.glob("*.safetensors"):  # and the library accepts each file
            assert load_file(file).keys() <= {spec.name for spec in content}


class Held:
    """Adapter tensors without a file."""

    def __init__(self, **tensors):
        self.read = tensors.__getitem__


SIZES = st.integers(1, 6)
DTYPE_NAMES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}


def changed(weight, change, adapter, *, block=100):
    """Return a weight with one change made, read in blocks of that many rows."""
    spec = TensorSpec("w", DTYPE_NAMES[weight.dtype], tuple(weight.shape))
    blocks = changed_blocks(spec, lambda: weight.clone().split(block), [[Term(change, adapter)]])
    return torch.cat(list(blocks))


@settings(deadline=None, max_examples=60)
@given(rows=SIZES, columns=SIZES, rank=st.integers(1, 3), seed=st.integers(0, 99), block=SIZES)
def test_low_rank_change_of_zero_keeps_every_bit(rows, columns, rank, seed, block):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, columns, generator=generator).to(torch.bfloat16)
    adapter = Held(a=torch.randn(rank, columns, generator=generator), b=torch.zeros(rows, rank))
    assert torch.equal(changed(weight, LowRank("a", "b", 2.0), adapter, block=block), weight)


@settings(deadline=None, max_examples=60)
@given(data=st.data(), count=st.integers(1, 8), block=SIZES)
def test_rows_change_only_what_they_name(data, count, block):
    indices = data.draw(st.lists(st.integers(0, count - 1), unique=True, max_size=count))
    weight, rows = torch.zeros(count, 3), torch.ones(len(indices), 3)
    merged = changed(weight, Rows("rows", tuple(indices)), Held(rows=rows), block=block)
    found = merged[:, 0].nonzero().flatten().tolist()
    assert found == sorted(indices) and torch.equal(merged.any(1), merged.all(1))


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 99), rows=st.integers(2, 40), scale=st.sampled_from([0.5, 2.0, 1.3]))
def test_lengths_of_dora_are_what_it_learned(seed, rows, scale):
    """Whatever W and the low-rank change are, each row ends up as long as its magnitude says."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, 5, generator=generator)
    adapter = Held(
        a=torch.randn(2, 5, generator=generator),
        b=torch.randn(rows, 2, generator=generator),
        m=torch.rand(rows, generator=generator) + 0.1,
    )
    merged = changed(weight, LowRank("a", "b", scale, "m"), adapter, block=7)
    torch.testing.assert_close(merged.norm(dim=1), adapter.read("m"), rtol=1e-5, atol=1e-5)
