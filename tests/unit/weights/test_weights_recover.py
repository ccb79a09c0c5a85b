"""Recovering from a bit-exact diff: the right base in any form, and nothing else."""

import re
import shutil

import pytest
import torch
from diff_cases import digests, killed, model, refusal, tuned, write
from safetensors.torch import load_file

from hanlin.core.errors import ConfigError, InputError, MissingExtraError
from hanlin.core.files import read_json, sha256, write_json
from hanlin.weights.diff import recover as recover_module
from hanlin.weights.diff.additive import Options
from hanlin.weights.diff.diff import make_diff
from hanlin.weights.diff.recover import recover

BIG = "model.embed_tokens.weight"


@pytest.fixture
def base(tmp_path):
    return write(tmp_path / "base", model())


@pytest.fixture
def diff(tmp_path, base):
    result = write(tmp_path / "tuned", tuned(model()))
    (result / "config.json").write_text('{"model_type": "llama"}')
    make_diff(base, result, tmp_path / "diff")
    return tmp_path / "diff"


def changed(folder, name, change):
    """Write another base."""
    tensors = model()
    tensors[name] = change(tensors[name])
    return write(folder, tensors)


def manifest_with(diff, change):
    content = read_json(diff / "diff.json")
    change(content)
    write_json(diff / "diff.json", content)


def nothing_is_left(tmp_path):
    return not (tmp_path / "out").exists() and not list(tmp_path.glob(".*"))


def test_shards_of_the_base_do_not_matter(tmp_path, diff):
    many = write(tmp_path / "many", model(), max_shard_bytes=1)
    torch.save(model(), tmp_path / "pytorch_model.bin")
    for number, other in enumerate((many, tmp_path / "pytorch_model.bin")):
        done = recover(other, diff, tmp_path / f"out{number}")
        assert (done.tuned, done.tensors, done.files) == ("tuned", 6, ("config.json",))
        assert digests(tmp_path / f"out{number}") == digests(tmp_path / "tuned")
        assert (tmp_path / f"out{number}" / "config.json").read_text() == '{"model_type": "llama"}'


def test_base_tuned_and_diff_can_be_hub_ids(tmp_path, diff, monkeypatch):
    """What the hub's own client has fetched before is found without a connection."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))

    def fetched(folder, name):
        repo = tmp_path / "cache" / f"models--someone--{name}"
        shutil.copytree(folder, repo / "snapshots" / ("1" * 40))
        (repo / "refs").mkdir()
        (repo / "refs" / "main").write_text("1" * 40)

    for name in ("base", "tuned"):
        fetched(tmp_path / name, name)
    make_diff("someone/base", "someone/tuned", tmp_path / "mine")
    manifest = read_json(tmp_path / "mine" / "diff.json")
    assert (manifest["base"], manifest["tuned"]) == ("someone/base", "someone/tuned")
    assert list(manifest["files"]) == ["config.json"]
    fetched(tmp_path / "mine", "diff")
    recover("someone/base", "someone/diff", tmp_path / "out")
    assert digests(tmp_path / "out") == digests(tmp_path / "tuned")
    text = refusal(InputError, recover, "someone/none", "someone/diff", tmp_path / "out2")
    assert "someone/none is no local folder, and the hub did not give it" in text


def test_the_size_of_files_can_be_chosen(tmp_path, base, diff):
    options = Options(max_shard_bytes=2000)
    recover(base, diff, tmp_path / "out", options=options)
    assert len(list((tmp_path / "out").glob("model-*.safetensors"))) == 4


@pytest.mark.parametrize("early_bytes", [64 << 20, 0])
def test_another_base_is_refused_by_name(tmp_path, diff, monkeypatch, early_bytes):
    monkeypatch.setattr(recover_module, "EARLY_BYTES", early_bytes)
    other = changed(tmp_path / "llama-b", BIG, lambda t: t + 0.01)
    expected = read_json(diff / "diff.json")["tensors"][BIG]["base"]["sha256"][:16]
    text = refusal(InputError, recover, other, diff, tmp_path / "out")
    assert f"llama-b is not the base that diff was made from: the tensor {BIG!r} differs" in text
    found = digests(other)[BIG][:16]
    assert f"its sha256 is {found}...; in the base it was F16 [50, 16]" in text
    assert f"with sha256 {expected}..." in text and "was called 'base'" in text
    assert nothing_is_left(tmp_path)


def test_one_wrong_bit_in_the_base_is_enough(tmp_path, diff):
    def flip(tensor):
        tensor.view(torch.int16)[-1, -1] ^= 1
        return tensor

    other = changed(tmp_path / "other", BIG, flip)
    assert f"the tensor {BIG!r} differs" in refusal(
        InputError, recover, other, diff, tmp_path / "out"
    )


def test_a_base_of_another_type_or_shape_is_refused_at_once(tmp_path, diff):
    wide = changed(tmp_path / "wide", "model.norm.weight", lambda t: t.float())
    text = refusal(InputError, recover, wide, diff, tmp_path / "out")
    assert "it is F32 [16]; in the base it was F16 [16]" in text and "in the same type" in text
    grown = changed(tmp_path / "grown", BIG, lambda t: t.repeat(2, 1))
    assert "it is F16 [100, 16]" in refusal(InputError, recover, grown, diff, tmp_path / "out")
    fewer = model()
    del fewer["lm_head.weight"]
    text = refusal(InputError, recover, write(tmp_path / "few", fewer), diff, tmp_path / "out")
    assert "'lm_head.weight' differs" in text and "it is not there" in text
    assert nothing_is_left(tmp_path)


def test_damaged_bytes_are_told_from_a_wrong_base(tmp_path, base, diff):
    stored = diff / "diff-00001.safetensors"
    good = stored.read_bytes()
    for place in (-1, -300, -900):
        bad = bytearray(good)
        bad[place] ^= 0x10
        stored.write_bytes(bad)
        text = refusal(InputError, recover, base, diff, tmp_path / "out")
        assert f"{diff} is damaged" in text and "download or copy the diff again" in text
        assert nothing_is_left(tmp_path)


@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_too_few_and_too_many_stored_bytes(tmp_path, base, diff, compression):
    make_diff(base, tmp_path / "tuned", diff, compression=compression, force=True)
    name = "model.layers.0.mlp.up_proj.weight"
    stored = load_file(diff / "diff-00001.safetensors")
    cases = {
        "bytes are missing": stored[name][:-3],
        "more bytes than the tensor has": torch.cat([stored[name], stored[name]]),
    }
    if compression == "zstd":
        huge = stored[name].clone()
        huge[6] = 200
        cases["has 562949"] = huge  # what the length says is not even allocated
    for what, content in cases.items():
        write(tmp_path / "bad", stored | {name: content})
        shutil.move(tmp_path / "bad" / "model.safetensors", diff / "diff-00001.safetensors")
        shutil.rmtree(tmp_path / "bad")
        text = refusal(InputError, recover, base, diff, tmp_path / "out")
        assert f"{diff} is damaged" in text and what in text and name in text


def test_missing_and_cut_files_of_the_diff(tmp_path, base, diff):
    stored = diff / "diff-00001.safetensors"
    stored.write_bytes(stored.read_bytes()[:-1])
    assert "it was cut" in refusal(InputError, recover, base, diff, tmp_path / "out")
    write(tmp_path / "other", {"a": torch.zeros(3, dtype=torch.uint8)})
    shutil.copy(tmp_path / "other" / "model.safetensors", stored)
    text = refusal(InputError, recover, base, diff, tmp_path / "out")
    assert "lacks the tensor 'lm_head.weight'" in text
    stored.unlink()
    assert "does not exist" in refusal(InputError, recover, base, diff, tmp_path / "out")


def test_a_changed_config_in_the_diff_is_refused(tmp_path, base, diff):
    (diff / "files" / "config.json").write_text("{}")
    text = refusal(InputError, recover, base, diff, tmp_path / "out")
    assert "files/config.json has another sha256 than diff.json says" in text


def test_manifests_that_are_not_ours(tmp_path, base, diff):
    good = (diff / "diff.json").read_text()
    digest = "0" * 64

    def version(content):
        content["version"] = 2

    def extra(content):
        content["extra"] = 1

    def escape(content):
        content["files"]["../../evil"] = digest

    def hide(content):
        content["files"]["model.safetensors"] = sha256(diff / "files" / "config.json")

    def mode(content):
        content["tensors"][BIG]["mode"] = "whole"

    def dtype(content):
        content["tensors"][BIG]["dtype"] = "F4"

    cases = {
        version: "has version 2, this Hanlin reads up to 1",
        extra: "is damaged: extra",
        escape: "'../../evil' leads out of the folder",
        hide: "model.safetensors is no file that goes beside weights",
        mode: "the mode 'whole' does not go with its base and file",
        dtype: "unknown type 'F4'",
    }
    for change, what in cases.items():
        (diff / "diff.json").write_text(good)
        manifest_with(diff, change)
        assert what in refusal(InputError, recover, base, diff, tmp_path / "out")
    assert nothing_is_left(tmp_path)


def test_killed_anywhere_it_goes_on(tmp_path, base, diff):
    options = Options(max_shard_bytes=1000)
    recover(base, diff, tmp_path / "whole", options=options)
    for at_call in (1, 3, 6):
        out = tmp_path / f"out{at_call}"

        def run(progress, out=out):
            recover(base, diff, out, options=options, progress=progress)

        assert killed(run, at_call=at_call) and not out.exists()
        run(lambda *_: None)
        assert sha256(out) == sha256(tmp_path / "whole")
    assert not list(tmp_path.glob(".*"))


def test_options_that_do_not_go_with_it(tmp_path, base, diff, monkeypatch):
    for options, name in (
        (Options(expect_sum=1.0), "--expect-sum"), (Options(new_rows="mean"), "--new-rows"),
    ):  # fmt: skip
        text = refusal(ConfigError, recover, base, diff, tmp_path / "out", options=options)
        assert re.search(f"{name} does not go with .*diff", text) and f"leave {name} out" in text
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    text = refusal(MissingExtraError, recover, base, diff, tmp_path / "out")
    assert "zstandard" in text
