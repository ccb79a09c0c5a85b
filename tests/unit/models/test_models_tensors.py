"""Reading and writing checkpoints one tensor at a time."""

import json
import weakref

import pytest
import torch
from safetensors.torch import load_file, save_file

from hanlin.core.errors import InputError
from hanlin.core.files import read_json, write_json
from hanlin.models.tensors import INDEX, MANIFEST, TensorSpec, open_checkpoint, write_checkpoint

TENSORS = {
    "embed": torch.arange(12.0).reshape(3, 4),
    "half": torch.tensor([[1.5, -2.0], [0.25, 7.0]], dtype=torch.bfloat16),
    "bytes": torch.tensor([1, 2, 3], dtype=torch.uint8),
    "scalar": torch.tensor(3, dtype=torch.int64),
}
DTYPES = {"embed": "F32", "half": "BF16", "bytes": "U8", "scalar": "I64"}


def specs_of(tensors, dtypes):
    return [TensorSpec(name, dtypes[name], tuple(t.shape)) for name, t in tensors.items()]


def write(folder, tensors=TENSORS, dtypes=DTYPES, **options):
    write_checkpoint(folder, specs_of(tensors, dtypes), lambda s: tensors[s.name], **options)


def test_one_file_is_what_the_safetensors_library_reads(tmp_path):
    write(tmp_path)
    loaded = load_file(tmp_path / "model.safetensors")
    assert loaded.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert loaded[name].dtype == tensor.dtype and torch.equal(loaded[name], tensor)
    assert not (tmp_path / INDEX).exists()


def test_what_the_safetensors_library_wrote_is_read(tmp_path):
    save_file(TENSORS, tmp_path / "model.safetensors")
    checkpoint = open_checkpoint(tmp_path)
    assert {s.name: (s.dtype, s.shape) for s in checkpoint.specs.values()} == {
        name: (DTYPES[name], tuple(tensor.shape)) for name, tensor in TENSORS.items()
    }
    assert all(torch.equal(checkpoint.read(name), TENSORS[name]) for name in TENSORS)
    assert checkpoint.size_bytes == 48 + 8 + 3 + 8


def test_shards_have_an_index_and_stay_below_the_limit(tmp_path):
    write(tmp_path, max_shard_bytes=56)
    index = read_json(tmp_path / INDEX)
    assert index["metadata"] == {"total_size": 67}
    assert index["weight_map"] == {
        "embed": "model-00001-of-00002.safetensors",
        "half": "model-00001-of-00002.safetensors",
        "bytes": "model-00002-of-00002.safetensors",
        "scalar": "model-00002-of-00002.safetensors",
    }
    checkpoint = open_checkpoint(tmp_path)
    assert all(torch.equal(checkpoint.read(name), TENSORS[name]) for name in TENSORS)


def test_manifest_has_a_digest_over_type_shape_and_bytes(tmp_path):
    write(tmp_path)
    write(tmp_path / "again", max_shard_bytes=1)
    ones, again = (read_json(f / MANIFEST)["tensors"] for f in (tmp_path, tmp_path / "again"))
    assert {n: e["sha256"] for n, e in ones.items()} == {n: e["sha256"] for n, e in again.items()}
    turned = {"embed": TENSORS["embed"].reshape(4, 3)}
    write(tmp_path / "turned", turned, {"embed": "F32"})
    other = read_json(tmp_path / "turned" / MANIFEST)["tensors"]["embed"]
    assert other["shape"] == [4, 3] and other["sha256"] != ones["embed"]["sha256"]


def test_same_tensors_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / name)
    a, b = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("a", "b"))
    assert a == b


def test_no_tensor_is_held_while_the_next_is_read(tmp_path):
    alive = []

    def read(spec):
        assert all(reference() is None for reference in alive)
        tensor = torch.full(spec.shape, 1.0)
        alive.append(weakref.ref(tensor))
        return tensor

    write_checkpoint(tmp_path, [TensorSpec(f"t{i}", "F32", (8, 8)) for i in range(5)], read)
    assert len(alive) == 5


def test_progress_counts_tensors(tmp_path):
    seen = []
    write(tmp_path, progress=lambda done, total, name: seen.append((done, total, name)))
    assert seen[-1] == (4, 4, "bytes")


def test_interrupted_writing_leaves_no_file(tmp_path):
    def read(spec):
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        write_checkpoint(tmp_path, [TensorSpec("t", "F32", (2,))], read)
    assert list(tmp_path.iterdir()) == []


def test_folder_without_weights(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(InputError) as caught:
        open_checkpoint(tmp_path)
    text = str(caught.value)
    assert "holds no safetensors checkpoint" in text
    assert "pytorch_model.bin is a pickle, which could run code" in text


def test_missing_shard(tmp_path):
    write(tmp_path, max_shard_bytes=56)
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(InputError, match=r"the shard 'model-00002-of-.*' is missing"):
        open_checkpoint(tmp_path)


def test_index_may_not_point_elsewhere(tmp_path):
    write(tmp_path / "other")
    write_json(tmp_path / INDEX, {"weight_map": {"embed": "other/model.safetensors"}})
    with pytest.raises(InputError, match=r"the shard 'other/.*' is missing"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("content", [{}, [], {"weight_map": {}}])
def test_index_without_a_map(tmp_path, content):
    write_json(tmp_path / INDEX, content)
    with pytest.raises(InputError, match="has no weight_map"):
        open_checkpoint(tmp_path)


def test_index_that_lies(tmp_path):
    write(tmp_path, max_shard_bytes=56)
    index = read_json(tmp_path / INDEX)
    index["weight_map"]["bytes"] = "model-00001-of-00002.safetensors"
    write_json(tmp_path / INDEX, index)
    with pytest.raises(InputError, match="index and shards do not agree about 'bytes'"):
        open_checkpoint(tmp_path)


def test_cut_file(tmp_path):
    write(tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(InputError, match="is damaged or is no safetensors file"):
        open_checkpoint(tmp_path)


def test_unknown_type(tmp_path):
    entry = {"x": {"dtype": "C64", "shape": [1], "data_offsets": [0, 8]}}
    header = json.dumps(entry).encode()
    header += b" " * (-len(header) % 8)
    file = tmp_path / "model.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    with pytest.raises(InputError, match="tensor 'x' has the type C64"):
        open_checkpoint(tmp_path)


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="Not a directory"):
        write(tmp_path / "file" / "model")
