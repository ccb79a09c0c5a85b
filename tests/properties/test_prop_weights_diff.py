"""A base and a diff give back every bit of the tuned model, whatever its numbers are."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hanlin.core.files import read_json
from hanlin.models.tensors import (
    DTYPES,
    MANIFEST,
    TensorSpec,
    raw_bytes,
    torch_dtype,
    write_checkpoint,
)
from hanlin.weights.diff import packing
from hanlin.weights.diff import tensors as diff_tensors
from hanlin.weights.diff.diff import make_diff
from hanlin.weights.diff.recover import recover

NAMES = ("model.embed_tokens.weight", "lm_head.weight", "a.weight", "model.a.weight", "b", "c")
CHANGES = ("same", "near", "other", "grown", "shrunk", "dtype", "new", "gone")
# Of float16, as integers: zeros of both signs, infinities, NaNs with payloads, subnormals.
ODD = (0x0000, 0x8000, 0x7C00, 0xFC00, 0x7C01, 0x7E00, 0xFFFF, 0x0001, 0x83FF)


@st.composite
def arrays(draw, *, dtype, shape):
    """Bit patterns of a tensor: random ones and odd ones."""
    seed = draw(st.integers(0, 2**32 - 1))
    generator = np.random.default_rng(seed)
    size = int(np.prod(shape, dtype=int)) * DTYPES[dtype][1]
    octets = generator.integers(0, 2 if dtype == "BOOL" else 256, size, dtype=np.uint8)
    if size >= 2 and DTYPES[dtype][1] >= 2:
        odd = np.array(draw(st.lists(st.sampled_from(ODD), max_size=6)), "<u2").view(np.uint8)
        octets[-len(odd[:size]) or size :] = odd[:size]
    return octets


@st.composite
def pairs(draw):
    """Two checkpoints: name -> (dtype, shape, octets)."""
    base, tuned = {}, {}
    for name in draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True)):
        dtype = draw(st.sampled_from(sorted(DTYPES)))
        shape = tuple(draw(st.lists(st.integers(0, 7), max_size=3)))
        change = draw(st.sampled_from(CHANGES))
        octets = draw(arrays(dtype=dtype, shape=shape))
        if change != "new":
            base[name] = (dtype, shape, octets)
        if change == "same":
            tuned[name] = base[name]
        elif change == "near":
            flips = draw(arrays(dtype="BOOL", shape=(octets.size,)))
            tuned[name] = (dtype, shape, octets ^ flips if dtype != "BOOL" else octets)
        elif change in ("grown", "shrunk") and shape:
            rows = shape[0] + 3 if change == "grown" else max(0, shape[0] - 2)
            new = (rows, *shape[1:])
            tuned[name] = (dtype, new, draw(arrays(dtype=dtype, shape=new)))
        elif change == "dtype":
            other = draw(st.sampled_from(sorted(DTYPES)))
            tuned[name] = (other, shape, draw(arrays(dtype=other, shape=shape)))
        elif change != "gone":
            tuned[name] = (dtype, shape, draw(arrays(dtype=dtype, shape=shape)))
    return base or {"b": ("F16", (), np.zeros(2, np.uint8))}, tuned or base


def write(folder, tensors, *, max_shard_bytes):
    specs = [TensorSpec(name, dtype, shape) for name, (dtype, shape, _) in tensors.items()]

    def read(spec):
        return as_tensor(spec.dtype, spec.shape, tensors[spec.name][2])

    write_checkpoint(folder, specs, read, max_shard_bytes=max_shard_bytes)
    return folder


def as_tensor(dtype, shape, octets):
    tensor = torch.empty(shape, dtype=torch_dtype(dtype))
    raw_bytes(tensor)[:] = octets.data
    return tensor


def digests(folder):
    return {
        name: entry["sha256"] for name, entry in read_json(folder / MANIFEST)["tensors"].items()
    }


@settings(max_examples=30, deadline=None)
@given(
    pair=pairs(),
    compression=st.sampled_from(packing.COMPRESSIONS),
    chunk_bytes=st.sampled_from((1, 16, 8 << 20)),
    shard_bytes=st.sampled_from((20, 10**6)),
)
def test_recovered_tensors_have_the_digests_of_the_tuned_ones(
    pair, compression, chunk_bytes, shard_bytes
):
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "CHUNK_BYTES", chunk_bytes)
        patch.setattr(diff_tensors, "SHARD_BYTES", shard_bytes)
        root = Path(name)
        base = write(root / "base", pair[0], max_shard_bytes=10**6)
        tuned = write(root / "tuned", pair[1], max_shard_bytes=shard_bytes)
        make_diff(base, tuned, root / "diff", compression=compression)
        other_shards = write(root / "again", pair[0], max_shard_bytes=30)
        recover(other_shards, root / "diff", root / "out")
        assert digests(root / "out") == digests(tuned)
        for tensor in read_json(root / "diff" / "diff.json")["tensors"].values():
            assert tensor["mode"] != "difference" or tensor["base"]["dtype"] == tensor["dtype"]


@settings(max_examples=200, deadline=None)
@given(
    data=st.data(),
    dtype=st.sampled_from(sorted(set(DTYPES) - {"BOOL"})),
    shape=st.lists(st.integers(1, 9), max_size=3).map(tuple),
    base_rows=st.integers(0, 12),
    compression=st.sampled_from(packing.COMPRESSIONS),
)
def test_unpacking_undoes_packing(data, dtype, shape, base_rows, compression):
    spec = TensorSpec("t", dtype, shape)

    def tensor(rows):
        new = (rows, *shape[1:]) if shape else ()
        return as_tensor(dtype, new, data.draw(arrays(dtype=dtype, shape=new)))

    chunk, base = tensor(shape[0] if shape else 1), tensor(base_rows if shape else 1)
    for other in (base, None):
        packed = torch.frombuffer(
            bytearray(packing.pack(chunk, other, compression=compression)), dtype=torch.uint8
        )
        pieces = packing.split_packed(packed.split(3), spec=spec, compression=compression)
        (piece,) = pieces
        again = packing.unpack(piece, other, spec=spec, shape=shape, compression=compression)
        assert bytes(raw_bytes(again)) == bytes(raw_bytes(chunk))
