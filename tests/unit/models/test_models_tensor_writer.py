"""A checkpoint whose writing is killed, or whose disk fills up, and that is then gone on with."""

import os
import random
import signal
import subprocess
import time

import pytest
import torch

from hanlin.core.errors import InputError, ResourceError
from hanlin.core.files import read_json, resumable_directory
from hanlin.models.tensors import MANIFEST, TensorSpec, open_checkpoint, write_checkpoint

SPECS = [TensorSpec(f"layer{i}", ("F16", "F32")[i % 2], (16, 32)) for i in range(12)]
SHARD_BYTES = 6000  # two or three of them


def blocks(spec):
    whole = torch.arange(16 * 32).reshape(16, 32) + int(spec.name.removeprefix("layer"))
    return iter(whole.to(torch.float16 if spec.dtype == "F16" else torch.float32).split(5))


def write(out, read=blocks, key="k"):
    with resumable_directory(out, key=key) as folder:
        write_checkpoint(folder, SPECS, read, max_shard_bytes=SHARD_BYTES)
        (folder / "config.json").write_text("{}")


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def whole(tmp_path):
    write(tmp_path / "whole")
    return content(tmp_path / "whole")


def test_killed_at_random_moments_it_ends_in_the_same_bytes(tmp_path, whole):
    def slowly(spec):
        for block in blocks(spec):
            time.sleep(0.002)
            yield block

    out, chance = tmp_path / "out", random.Random(7)
    kills = 0
    while not out.exists():
        child = os.fork()
        if child == 0:
            write(out, slowly)
            os._exit(0)
        time.sleep(chance.uniform(0.01, 0.12))
        if kills < 25:  # a run takes longer than most of these waits
            os.kill(child, signal.SIGKILL)
            kills += 1
        _, status = os.waitpid(child, 0)
        assert out.exists() == (status == 0) or status == signal.SIGKILL
        assert not out.exists() or content(out) == whole
    assert kills >= 3
    with pytest.raises(InputError, match="exists already"):
        write(out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "whole"]


def test_finished_shards_are_not_made_again(tmp_path, whole):
    def broken(spec):
        if spec.name == "layer9":
            raise RuntimeError("stopped")
        return blocks(spec)

    with pytest.raises(RuntimeError, match="stopped"):
        write(tmp_path / "out", broken)
    again = []
    write(tmp_path / "out", lambda spec: again.append(spec.name) or blocks(spec))
    assert 2 <= len(again) < len(SPECS) and "layer9" in again
    assert content(tmp_path / "out") == whole


@pytest.mark.parametrize("damage", ["cut", "gone", "other key"])
def test_a_shard_that_is_not_as_it_was_left_is_made_again(tmp_path, whole, damage):
    def broken(spec):
        if spec.name == "layer9":
            raise RuntimeError("stopped")
        return blocks(spec)

    with pytest.raises(RuntimeError, match="stopped"):
        write(tmp_path / "out", broken)
    first = min((tmp_path / ".out.work" / "out").glob("*.safetensors"))
    if damage == "cut":
        first.write_bytes(first.read_bytes()[:-1])
    elif damage == "gone":
        first.unlink()
    again = []
    key = "other" if damage == "other key" else "k"
    write(tmp_path / "out", lambda spec: again.append(spec.name) or blocks(spec), key=key)
    assert "layer0" in again and content(tmp_path / "out") == whole
    assert (len(again) == len(SPECS)) == (damage == "other key")


def test_progress_goes_on_where_it_was(tmp_path):
    def broken(spec):
        if spec.name == "layer9":
            raise RuntimeError("stopped")
        return blocks(spec)

    with pytest.raises(RuntimeError, match="stopped"):
        write(tmp_path / "out", broken)
    seen = []
    with resumable_directory(tmp_path / "out", key="k") as folder:
        write_checkpoint(
            folder, SPECS, blocks, max_shard_bytes=SHARD_BYTES,
            progress=lambda done, total, text: seen.append((done, total, text)),
        )  # fmt: skip
    assert seen[0][0] > 1 and [done for done, _, _ in seen] == list(range(seen[0][0], 13))


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small tmpfs needs root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_disk_that_is_too_small_is_found_out_at_once(small_disk):
    spec = TensorSpec("large", "F32", (64, 1024))
    with pytest.raises(ResourceError, match=r"the disk is full: .* needs 0\.00 GB") as caught:
        write_checkpoint(small_disk / "model", [spec], lambda _spec: pytest.fail("was read"))
    assert "nothing was written" in str(caught.value) and "fix: free some space" in str(
        caught.value
    )


def test_disk_that_fills_up_meanwhile_loses_nothing(small_disk, whole):
    other = small_disk / "other"

    def read(spec):
        if spec.name == "layer9":
            while not (small_disk / ".out.work" / "finished.json").exists():
                time.sleep(0.001)
            with pytest.raises(OSError, match="No space left"), other.open("wb") as stream:
                while True:
                    stream.write(bytes(1024))
                    stream.flush()
        return blocks(spec)

    with pytest.raises(ResourceError, match="the disk is full") as caught:
        write(small_disk / "out", read)
    assert "then repeat the command; it goes on where it can" in str(caught.value)
    assert not (small_disk / "out").exists()
    other.unlink()
    again = []
    write(small_disk / "out", lambda spec: again.append(spec.name) or blocks(spec))
    assert len(again) < len(SPECS) and content(small_disk / "out") == whole
    assert open_checkpoint(small_disk / "out").specs.keys() == {spec.name for spec in SPECS}
    assert MANIFEST in whole


def test_digests_are_told_as_soon_as_they_are_known(tmp_path, whole):
    told = {}
    write_checkpoint(tmp_path / "out", SPECS, blocks, check=told.__setitem__)
    digests = read_json(tmp_path / "out" / MANIFEST)["tensors"]
    assert told == {name: entry["sha256"] for name, entry in digests.items()}

    def refuse(name, _sha256):
        if name == "layer9":
            raise InputError("another tensor")

    with pytest.raises(InputError, match="another tensor"):
        write_checkpoint(tmp_path / "refused", SPECS, blocks, check=refuse)
    assert list((tmp_path / "refused").iterdir()) == []
