"""`.pth` files written as a stream: PyTorch and zip programs read them."""

import zipfile

import torch

from hanlin.models.tensors import TensorSpec, raw_bytes
from hanlin.weights.convert.torch_zip import TorchFile

TENSORS = {
    "matrix": (torch.arange(35.0).reshape(5, 7), "F32"),
    "half": (torch.tensor([1.5, float("nan"), -0.0], dtype=torch.bfloat16), "BF16"),
    "cube": (torch.arange(24).reshape(2, 3, 4).half(), "F16"),
    "count": (torch.tensor(3), "I64"),
    "flags": (torch.tensor([True, False]), "BOOL"),
    "empty": (torch.zeros(0, 4), "F32"),
}
SPECS = [TensorSpec(name, dtype, tuple(t.shape)) for name, (t, dtype) in TENSORS.items()]


def write(path, names, **options):
    file = TorchFile(path, SPECS, **options)
    for name in names:
        file.begin(name)
        file.write(raw_bytes(TENSORS[name][0]))
    return file


def check(path):
    for mmap in (True, False):
        loaded = torch.load(path, weights_only=True, mmap=mmap)
        assert list(loaded) == list(TENSORS)
        for name, (tensor, _) in TENSORS.items():
            got = loaded[name]
            assert (got.dtype, got.shape, got.stride()) == (
                tensor.dtype, tensor.shape, tensor.stride(),
            )  # fmt: skip
            assert bytes(raw_bytes(got)) == bytes(raw_bytes(tensor))
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None  # all checksums are right


def test_torch_reads_it_in_the_order_of_the_dictionary(tmp_path):
    file = write(tmp_path / "model.pth", reversed(TENSORS))
    file.finish()
    file.close()
    check(tmp_path / "model.pth")


def test_data_begin_at_multiples_of_64_bytes_as_torch_writes_them(tmp_path):
    file = write(tmp_path / "model.pth", TENSORS)
    file.finish()
    file.close()
    reader = torch._C.PyTorchFileReader(str(tmp_path / "model.pth"))
    places = [reader.get_record_offset(f"data/{i}") for i in range(len(TENSORS))]
    assert all(place % 64 == 0 for place in places)


def test_same_tensors_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        file = write(tmp_path / name / "model.pth", TENSORS)
        file.finish()
        file.close()
    assert (tmp_path / "a/model.pth").read_bytes() == (tmp_path / "b/model.pth").read_bytes()


def test_writing_goes_on_after_an_interruption(tmp_path):
    first = write(tmp_path / "model.pth", ["matrix", "cube"])
    checksums = dict(first.checksums)
    first.close()
    assert not zipfile.is_zipfile(tmp_path / "model.pth")
    rest = [name for name in TENSORS if name not in checksums]
    second = write(tmp_path / "model.pth", rest, checksums=checksums)
    second.finish()
    second.close()
    check(tmp_path / "model.pth")


def test_files_and_tensors_beyond_4_gb(tmp_path):
    """The large tensor is a hole in the file, so that no disk is needed."""
    large, small = TensorSpec("large", "U8", (5_000_000_000,)), TensorSpec("small", "F32", (2,))
    file = TorchFile(tmp_path / "model.pth", [large, small], checksums={"large": 0})
    file.begin("small")
    file.write(raw_bytes(torch.tensor([1.5, 2.5])))
    file.finish()
    file.close()
    loaded = torch.load(tmp_path / "model.pth", weights_only=True, mmap=True)
    assert loaded["large"].shape == (5_000_000_000,) and loaded["large"][-1] == 0
    assert loaded["small"].tolist() == [1.5, 2.5]
    with zipfile.ZipFile(tmp_path / "model.pth") as archive:
        assert archive.read("model/data/1") == bytes(raw_bytes(torch.tensor([1.5, 2.5])))
