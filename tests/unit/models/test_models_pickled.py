"""PyTorch's own files: every kind of tensor is read, and nothing in them is executed."""

import builtins
import io
import os
import pickle
import re
import zipfile
from collections import OrderedDict

import pytest
import torch

from hanlin.core.errors import InputError
from hanlin.core.files import write_json
from hanlin.models.tensors import open_checkpoint, open_pickled, raw_bytes

BASE = torch.arange(42, dtype=torch.float32).reshape(6, 7)
TENSORS = OrderedDict(
    whole=BASE,
    transposed=BASE.t(),
    rows=BASE[2:5],
    columns=BASE[:, 2:4],
    every_other=BASE[1::2],
    expanded=torch.ones(1, 3).expand(4, 3),
    permuted=torch.arange(24, dtype=torch.int16).reshape(2, 3, 4).permute(2, 0, 1),
    half=torch.tensor([1.5, -2.0, 0.1], dtype=torch.float16),
    bfloat=torch.tensor([[1.5], [-2.0]], dtype=torch.bfloat16),
    empty=torch.empty(0, 3),
    scalar=torch.tensor(3),
    flags=torch.tensor([True, False]),
    bytes=torch.arange(5, dtype=torch.uint8),
    double=torch.tensor([0.1], dtype=torch.float64),
    parameter=torch.nn.Parameter(torch.ones(2, 2)),
)
FORMATS = {
    "zip": {},
    "zip, protocol 5": {"pickle_protocol": 5},
    "legacy": {"_use_new_zipfile_serialization": False},
    "legacy, protocol 4": {"_use_new_zipfile_serialization": False, "pickle_protocol": 4},
}


@pytest.fixture(params=FORMATS)
def save(request, tmp_path):
    def save(content, name="x.pth"):
        torch.save(content, tmp_path / name, **FORMATS[request.param])
        return tmp_path / name

    return save


def assert_holds(checkpoint, tensors):
    assert list(checkpoint.specs) == list(tensors)
    for name, tensor in tensors.items():
        read = checkpoint.read(name)
        assert (read.dtype, read.shape) == (tensor.dtype, tensor.shape), name
        assert bytes(raw_bytes(read)) == bytes(raw_bytes(tensor)), name
        blocks = list(checkpoint.blocks(name, max_bytes=20))
        joined = torch.cat(blocks) if tensor.dim() else blocks[0]
        assert bytes(raw_bytes(joined)) == bytes(raw_bytes(tensor)), name
        assert all(block.is_contiguous() for block in blocks)


def test_every_kind_of_tensor(save):
    assert_holds(open_checkpoint(save(TENSORS)), TENSORS)


def test_float8(tmp_path):
    tensors = {"small": torch.tensor([1.0, -2.0]).to(torch.float8_e4m3fn)}
    torch.save(tensors, tmp_path / "x.pt")
    assert_holds(open_checkpoint(tmp_path / "x.pt"), tensors)


def test_state_dict_of_a_model(save):
    model = torch.nn.Linear(3, 4)
    assert_holds(open_checkpoint(save(model.state_dict())), model.state_dict())


def test_checkpoint_of_a_training_program(save):
    file = save({"state_dict": {"a": BASE}, "epoch": 3, "optimizer": {"state": [torch.ones(9)]}})
    assert_holds(open_checkpoint(file), {"a": BASE})


def test_tied_tensors_share_their_bytes_in_the_file(save):
    file = save({"embed": BASE, "head": BASE})
    checkpoint = open_checkpoint(file)
    assert checkpoint.places["embed"] == checkpoint.places["head"]
    assert torch.equal(checkpoint.read("head"), BASE)


def test_folder_with_one_file_and_with_shards(save, tmp_path):
    save({"a": BASE}, "pytorch_model.bin")
    assert_holds(open_checkpoint(tmp_path), {"a": BASE})
    (tmp_path / "pytorch_model.bin").unlink()
    files = [save({"a": BASE}, "m-1.bin"), save({"b": BASE[2:]}, "m-2.bin")]
    weight_map = {"a": "m-1.bin", "b": "m-2.bin"}
    write_json(tmp_path / "pytorch_model.bin.index.json", {"weight_map": weight_map})
    for checkpoint in (open_checkpoint(tmp_path), open_pickled(files)):
        assert checkpoint.files == weight_map
        assert_holds(checkpoint, {"a": BASE, "b": BASE[2:]})
    files[1].unlink()
    with pytest.raises(InputError, match=r"the shard 'm-2\.bin' is missing"):
        open_checkpoint(tmp_path)


def test_old_adapter_folder(save, tmp_path):
    save({"a": BASE}, "adapter_model.bin")
    assert_holds(open_checkpoint(tmp_path, single="adapter_model.safetensors"), {"a": BASE})


class Calls:
    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize(
    ("function", "name"), [(os.system, r"posix\.system"), (builtins.eval, r"\w*builtin\w*\.eval")]
)
def test_nothing_is_executed(save, tmp_path, function, name):
    code = f"touch {tmp_path}/owned" if function is os.system else f"open('{tmp_path}/owned', 'w')"
    file = save({"a": BASE, "evil": Calls(function, code)})
    with pytest.raises(InputError) as caught:
        open_checkpoint(file)
    text = str(caught.value)
    assert re.search(f"x.pth holds {name}, which is no part of a dictionary of tensors", text)
    assert "this one was not" in text and "fix: take the model from a source you trust" in text
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    "program",
    [
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}X\x01\x00\x00\x00aK\x01sb.",  # its attributes
        b"\x80\x02(ctorch\nFloatStorage\nK\x01tR.",  # a type that is called
        b"\x80\x02(ccollections\nOrderedDict\nK\x01o.",  # OBJ
        b"\x80\x02r\xff\xff\xff\xff.",  # nothing to remember
        b"\x80\x02K\x01K\x02a.",
        b"\x80\x02R.",
        b"\x80\x02\x82\x01.",  # a registered extension
        b"\x80\x02t.",
        b"\x80\x02X\xff\xff\xff\xff.",
        b"\x80\x02\x96\0\0\0\0\0\0\0\x40.",  # bytes that no machine has room for
        b"\x80\x02\x8d\0\0\0\0\0\0\0\x40.",
        b"\x80\x02}q\x00h\x05s.",
        b"\x80\x02(K\x01K\x02K\x03tQ.",  # refers to no storage
        b"",
        b"K\x01.",
        b"}.",
    ],
)
@pytest.mark.parametrize("is_zip", [True, False])
def test_programs_that_are_no_dictionary_of_tensors(tmp_path, program, is_zip):
    file = tmp_path / "x.pth"
    file.write_bytes(program)
    if is_zip:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("x/data.pkl", program)
    with pytest.raises(InputError, match=r"damaged or is no file of torch\.save with tensors"):
        open_checkpoint(file)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({"a": 3}, "'a' in it is of the type int, no tensor"),
        ([BASE], "it holds no dictionary of tensors"),
        ({}, "it holds an empty dictionary of tensors"),
        (BASE, "it holds no dictionary of tensors"),
        ({3: BASE}, "3 in it is of the type View"),
    ],
)
def test_what_is_no_dictionary_of_tensors(save, content, why):
    file = save(content)
    with pytest.raises(InputError) as caught:
        open_checkpoint(file)
    assert why in str(caught.value)


@pytest.mark.parametrize("content", [torch.nn.Linear(2, 2), {"a": BASE.to_sparse()}])
def test_models_and_sparse_tensors_are_refused(save, content):
    with pytest.raises(InputError, match=r"holds torch\.[\w.]+, which is no part"):
        open_checkpoint(save(content))


def test_cut_file(save):
    file = save(TENSORS)
    whole = file.read_bytes()
    for kept in (0, 1, 20, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:kept])
        with pytest.raises(InputError, match=r"damaged or is no file of torch\.save") as caught:
            open_checkpoint(file)
        assert "fix: download or copy it again" in str(caught.value)


def rewritten(file, change):
    """Write the members of an archive once more, each changed by a function (None: left out)."""
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            new = change(name.partition("/")[2], data)
            if new is not None:
                archive.writestr(name, new)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda name, data: b"big" if name == "byteorder" else data, "a big-endian machine"),
        (lambda name, data: None if name == "data/0" else data, "the data of 'a' is not all there"),
        (lambda name, data: data[:-1] if name == "data/0" else data, "'a' is not all there"),
        (lambda name, data: None if name == "data.pkl" else data, "an archive of something else"),
    ],
)
def test_archives_that_are_not_whole(tmp_path, change, why):
    file = tmp_path / "x.pth"
    torch.save({"a": BASE}, file)
    rewritten(file, change)
    with pytest.raises(InputError) as caught:
        open_checkpoint(file)
    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("offset", "shape", "strides", "why"),
    [
        (2, (3,), (1,), "the data of 'a' is not all there"),
        (0, (1 << 40,), (0,), "'a' repeats 16 bytes in the shape [1099511627776]"),
        (0, (2,), (-1,), "a tensor of the shape (2,) with the strides (-1,)"),
    ],
)
def test_views_that_cannot_be(tmp_path, offset, shape, strides, why):
    class Lying(pickle.Pickler):
        def persistent_id(self, value):
            return ("storage", torch.FloatStorage, "0", "cpu", 4) if value == "here" else None

    stream = io.BytesIO()
    rebuild = torch._utils._rebuild_tensor_v2
    view = Calls(rebuild, "here", offset, shape, strides, False, OrderedDict())
    Lying(stream, protocol=2).dump({"a": view})
    with zipfile.ZipFile(tmp_path / "x.pth", "w") as archive:
        archive.writestr("x/data.pkl", stream.getvalue())
        archive.writestr("x/data/0", bytes(16))
    with pytest.raises(InputError) as caught:
        open_checkpoint(tmp_path / "x.pth")
    assert why in str(caught.value)


def test_compressed_archive_and_torchscript(tmp_path):
    file = tmp_path / "x.pth"
    with zipfile.ZipFile(file, "w", compression=zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", b"}." * 50)
    with pytest.raises(InputError, match="its members are compressed"):
        open_checkpoint(file)
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), file)
    with pytest.raises(InputError, match="such as a TorchScript program"):
        open_checkpoint(file)
