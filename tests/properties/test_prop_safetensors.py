"""Properties of reading safetensors files: accepted is what the library accepts, and read alike."""

import json
import tempfile
from pathlib import Path

import safetensors
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hanlin.core.errors import InputError
from hanlin.models.tensors import open_checkpoint, raw_bytes

WIDTHS = {"F32": 4, "F16": 2, "BF16": 2, "I64": 8, "U8": 1}
NUMBERS = st.integers(0, 40)


@st.composite
def files(draw):
    """A file as it should be, or with changes in the header or the data that may not matter."""
    header, at = {}, 0
    for name in draw(st.lists(st.sampled_from("abcdef"), max_size=4, unique=True)):
        dtype = draw(st.sampled_from(sorted(WIDTHS)))
        shape = draw(st.lists(st.integers(0, 3), max_size=3))
        end = at + WIDTHS[dtype] * torch.Size(shape).numel()
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, end]}
        at = end
    for name in draw(
        st.lists(st.sampled_from(sorted(header)), max_size=2) if header else st.just([])
    ):
        field = draw(st.sampled_from(["shape", "data_offsets"]))
        header[name][field] = draw(st.lists(NUMBERS, min_size=2, max_size=2))
    if draw(st.booleans()):
        header["__metadata__"] = {"format": "pt"}
    text = json.dumps(header).encode()
    text += b" " * draw(st.integers(0, 9))
    size = max(0, at + draw(st.sampled_from([0, 0, 0, -1, 1, 8])))
    content = len(text).to_bytes(8, "little") + text + bytes(range(256))[:size].ljust(size, b"\7")
    return content[: draw(st.sampled_from([None, None, None, 5, 30, -1]))]


@settings(deadline=None, max_examples=150)
@given(content=files())
def test_the_library_and_hanlin_accept_the_same_files(content):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "x.safetensors"
        file.write_bytes(content)
        try:
            with safetensors.safe_open(file, framework="pt") as opened:
                expected = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        except safetensors.SafetensorError:
            expected = None
        try:
            checkpoint = open_checkpoint(file)
        except InputError as error:
            assert expected is None, str(error)
            return
        assert expected is not None
        assert checkpoint.specs.keys() == expected.keys()
        for name, tensor in expected.items():
            read = checkpoint.read(name)
            assert (read.dtype, read.shape) == (tensor.dtype, tensor.shape)
            assert bytes(raw_bytes(read)) == bytes(raw_bytes(tensor))


@settings(deadline=None, max_examples=100)
@given(changes=st.lists(st.tuples(NUMBERS, st.binary(max_size=2)), min_size=1, max_size=4))
def test_damage_is_refused_or_harmless(changes):
    entry = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
    text = json.dumps(entry).encode()
    content = bytearray(len(text).to_bytes(8, "little") + text + bytes(8))
    for at, data in changes:
        content[at : at + len(data)] = data
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "x.safetensors"
        file.write_bytes(content)
        try:
            checkpoint = open_checkpoint(file)
        except InputError as error:
            assert str(file) in str(error)
        else:
            for name, spec in checkpoint.specs.items():
                assert checkpoint.read(name).shape == spec.shape
