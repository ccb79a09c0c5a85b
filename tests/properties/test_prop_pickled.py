"""Properties of reading PyTorch's files: all views are right, and no bytes do harm."""

import io
import tempfile
from pathlib import Path

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hanlin.core.errors import InputError
from hanlin.models.tensors import open_checkpoint, raw_bytes

DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool]


@st.composite
def views(draw):
    """Tensors that look at one storage in every way, and some that do not share it."""
    base = torch.arange(60).to(draw(st.sampled_from(DTYPES)))
    found = {"base": base}
    for number in range(draw(st.integers(1, 4))):
        shape = draw(st.sampled_from([(60,), (6, 10), (3, 4, 5), (2, 30), (1, 60), (60, 1)]))
        view = base.reshape(shape)
        for dim in range(view.dim()):
            start = draw(st.integers(0, view.shape[dim] - 1))
            step = draw(st.integers(1, 3))
            view = view[(slice(None),) * dim + (slice(start, None, step),)]
        view = view.permute(draw(st.permutations(range(view.dim()))))
        found[f"view{number}"] = view.clone() if draw(st.booleans()) else view
    return found


@settings(deadline=None, max_examples=40)
@given(tensors=views(), is_zip=st.booleans(), max_bytes=st.integers(1, 300))
def test_every_view_is_read_right(tensors, is_zip, max_bytes):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "x.pth"
        torch.save(tensors, file, _use_new_zipfile_serialization=is_zip)
        checkpoint = open_checkpoint(file)
        for name, tensor in tensors.items():
            joined = torch.cat(list(checkpoint.blocks(name, max_bytes=max_bytes)))
            assert joined.dtype == tensor.dtype and joined.shape == tensor.shape
            assert bytes(raw_bytes(joined)) == bytes(raw_bytes(tensor))


def saved(is_zip):
    stream = io.BytesIO()
    tensors = {"a": torch.arange(4.0), "b": torch.ones(2, 2).t()}
    torch.save(tensors, stream, _use_new_zipfile_serialization=is_zip)
    return stream.getvalue()


WHOLE = {is_zip: saved(is_zip) for is_zip in (True, False)}


@settings(deadline=None, max_examples=300)
@given(
    is_zip=st.booleans(),
    changes=st.lists(st.tuples(st.integers(0, 2000), st.binary(max_size=3)), max_size=4),
    kept=st.integers(0, 3000),
)
def test_damage_is_refused_or_harmless(is_zip, changes, kept):
    content = bytearray(WHOLE[is_zip])
    for at, data in changes:
        content[at % len(content) : at % len(content) + len(data)] = data
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "x.pth"
        file.write_bytes(content[:kept] if kept < 2500 and len(changes) == 0 else content)
        try:
            checkpoint = open_checkpoint(file)
        except InputError as error:
            assert str(file) in str(error)
            return
        for name, spec in checkpoint.specs.items():
            assert checkpoint.read(name).shape == spec.shape
