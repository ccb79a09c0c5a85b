"""Reading and writing checkpoints one tensor at a time."""

import json
import re
import weakref

import pytest
import torch
from safetensors.torch import load_file, save_file

from hanlin.core.errors import InputError
from hanlin.core.files import read_json, write_json
from hanlin.models import tensor_writer
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


@pytest.mark.parametrize("in_blocks", [False, True])
def test_no_more_is_held_than_may_be_in_flight(tmp_path, monkeypatch, in_blocks):
    block_bytes = 8 * 8 * 4
    monkeypatch.setattr(tensor_writer, "BYTES_IN_FLIGHT", 3 * block_bytes)
    alive = []

    def make():
        assert sum(reference() is not None for reference in alive) <= 4  # 3, and one being given
        tensor = torch.full((8, 8), 1.0)
        alive.append(weakref.ref(tensor))
        return tensor

    def read(spec):
        return (make() for _ in range(4)) if in_blocks else make()

    specs = [TensorSpec(f"t{i}", "F32", (32 if in_blocks else 8, 8)) for i in range(8)]
    write_checkpoint(tmp_path, specs, read)
    assert len(alive) == (32 if in_blocks else 8)
    checkpoint = open_checkpoint(tmp_path)
    assert all(torch.equal(checkpoint.read(s.name), torch.ones(s.shape)) for s in specs)


@pytest.mark.parametrize("max_bytes", [1, 16, 40, 1000])
def test_blocks_are_consecutive_rows(tmp_path, max_bytes):
    write(tmp_path)
    checkpoint = open_checkpoint(tmp_path)
    blocks = list(checkpoint.blocks("embed", max_bytes=max_bytes))
    assert torch.equal(torch.cat(blocks), TENSORS["embed"])
    assert [len(block) for block in blocks] == {1: [1, 1, 1], 16: [1, 1, 1], 40: [2, 1]}.get(
        max_bytes, [3]
    )
    (scalar,) = checkpoint.blocks("scalar", max_bytes=max_bytes)
    assert scalar.shape == () and scalar == 3


def test_blocks_give_what_whole_tensors_give(tmp_path):
    write(tmp_path / "whole")
    checkpoint = open_checkpoint(tmp_path / "whole")
    specs = list(checkpoint.specs.values())
    write_checkpoint(tmp_path / "blocks", specs, lambda s: checkpoint.blocks(s.name, max_bytes=8))
    for file in ("model.safetensors", MANIFEST):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "blocks" / file).read_bytes()


def test_large_blocks_are_whole_and_apart_from_the_file(tmp_path):
    large = torch.arange(3 << 20, dtype=torch.int16).reshape(3 << 10, 1 << 10)
    save_file({"large": large}, tmp_path / "model.safetensors")
    read = open_checkpoint(tmp_path).read("large")
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert torch.equal(read, large)
    read.add_(1)  # memory of its own


@pytest.mark.parametrize("given", [(torch.ones(2),), (torch.ones(3),), (torch.ones(2).half(),)])
def test_data_that_is_not_as_promised_is_our_mistake(tmp_path, given):
    spec = TensorSpec("t", "F32", (3,))
    blocks = given if given[0].dtype == torch.float32 and len(given[0]) < 3 else given * 2
    with pytest.raises(AssertionError):
        write_checkpoint(tmp_path, [spec], lambda _spec: iter(blocks))
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_tensors(tmp_path):
    seen = []
    write(tmp_path, progress=lambda done, total, name: seen.append((done, total, name)))
    assert [done for done, _, _ in seen] == [1, 2, 3, 4]
    assert seen[-1][1] == 4 and seen[-1][2].startswith("bytes, 67 of 67 B")


def test_interrupted_writing_leaves_no_file(tmp_path):
    def read(spec):
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        write_checkpoint(tmp_path, [TensorSpec("t", "F32", (2,))], read)
    assert list(tmp_path.iterdir()) == []


def test_folder_without_weights(tmp_path):
    (tmp_path / "consolidated.00.pth").write_bytes(b"x")
    with pytest.raises(InputError) as caught:
        open_checkpoint(tmp_path)
    text = str(caught.value)
    assert "holds no checkpoint" in text and "none of model.safetensors," in text
    assert "hanlin weights convert IN OUT --to hf" in text
    with pytest.raises(InputError, match="does not exist"):
        open_checkpoint(tmp_path / "none")


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


def test_shards_without_an_index(tmp_path):
    write(tmp_path, max_shard_bytes=56)
    (tmp_path / INDEX).unlink()
    with pytest.raises(
        InputError, match=r"holds model-00001-of-\S+, but no model\.safetensors\.in"
    ):
        open_checkpoint(tmp_path)
    assert set(open_checkpoint(tmp_path / "model-00002-of-00002.safetensors").specs) == {
        "bytes", "scalar",
    }  # fmt: skip


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


@pytest.mark.parametrize("kept", [0, 5, 40, -3])
def test_cut_file(tmp_path, kept):
    write(tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(InputError, match="is damaged or is no safetensors file") as caught:
        open_checkpoint(tmp_path)
    assert "does not fit into" in str(caught.value) or "it was cut" in str(caught.value)
    assert "fix: download or copy it again" in str(caught.value)


def test_file_that_is_cut_after_it_was_opened(tmp_path):
    write(tmp_path)
    checkpoint = open_checkpoint(tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"model\.safetensors ends \d+ bytes too early"):
        list(checkpoint.blocks("embed"))


def write_header(folder, header, data=8):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    file = folder / "model.safetensors"
    file.write_bytes(len(text).to_bytes(8, "little") + text + bytes(data))


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (b"nonsense", "its header is not readable"),
        (b"[1, 2]  ", "its header is not a JSON object"),
        (b'{"x": 1, "x": 2}', "'x' is there twice"),
        (b"[" * 100_000, "its header is not readable"),
        ({"x": 3}, "the header's entry for 'x' lacks dtype, shape or data_offsets"),
        ({"x": entry(shape=(-2,))}, "entry for 'x' lacks"),
        ({"x": entry(shape=(True, 2))}, "entry for 'x' lacks"),
        ({"x": entry(offsets=(0, 4))}, r"which is 8 bytes, but its data_offsets are \[0, 4\]"),
        ({"x": entry(offsets=(0,))}, "but its data_offsets are"),
        ({"x": entry(), "y": entry()}, "the data of 'y' overlaps with the one before it"),
        ({"x": entry(offsets=(4, 12))}, "the data of 'x' leaves a gap"),
        ({"x": entry(shape=(1,), offsets=(0, 4))}, "there is something behind the data"),
        ({"x": entry(shape=(4,), offsets=(0, 16))}, "it was cut"),
    ],
)
def test_header_that_cannot_be(tmp_path, header, why):
    write_header(tmp_path, header)
    with pytest.raises(InputError, match="is damaged or is no safetensors file") as caught:
        open_checkpoint(tmp_path)
    assert re.search(why, str(caught.value))


def test_unknown_type(tmp_path):
    write_header(tmp_path, {"x": entry("C64", (1,))})
    with pytest.raises(InputError, match="tensor 'x' has the type C64"):
        open_checkpoint(tmp_path)


def test_tensor_in_two_shards(tmp_path):
    for number in (1, 2):
        save_file({"x": torch.ones(number)}, tmp_path / f"s{number}.safetensors")
    files = [f"s{number}.safetensors" for number in (1, 2)]
    write_json(tmp_path / INDEX, {"weight_map": dict(zip("xy", files, strict=True))})
    with pytest.raises(InputError, match=r"'x' is in s1\.safetensors and in s2\.safetensors"):
        open_checkpoint(tmp_path)


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="Not a directory"):
        write(tmp_path / "file" / "model")
