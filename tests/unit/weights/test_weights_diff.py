"""What a diff holds, and what it refuses."""

import json
import sys

import pytest
import torch
from diff_cases import digests, killed, model, refusal, tuned, write
from safetensors.torch import load_file, save_file

from hanlin.core.errors import ConfigError, InputError, MissingExtraError, ResourceError
from hanlin.core.files import read_json, sha256
from hanlin.models.tensors import open_checkpoint, tensor_sha256
from hanlin.weights.diff import tensors as diff_tensors
from hanlin.weights.diff.diff import make_diff
from hanlin.weights.diff.recover import recover


@pytest.fixture
def base(tmp_path):
    return write(tmp_path / "base", model())


def entries(folder):
    return read_json(folder / "diff.json")["tensors"]


def test_modes(tmp_path, base):
    content = tuned(model(rows=57))  # the vocabulary grew
    content["model.norm.weight"] = model()["model.norm.weight"]
    content["model.layers.1.mlp.up_proj.weight"] = torch.ones(24, 16)  # another type
    content["new.weight"] = torch.ones(3, dtype=torch.bfloat16)
    del content["model.layers.2.mlp.up_proj.weight"]
    report = make_diff(base, write(tmp_path / "tuned", content), tmp_path / "diff")
    assert report.modes == {"difference": 3, "same": 1, "whole": 2}
    assert report.removed == tuple(f"model.layers.{n}.mlp.up_proj.weight" for n in (1, 2))
    found = entries(tmp_path / "diff")
    assert {name: entry["mode"] for name, entry in found.items()} == {
        "model.embed_tokens.weight": "difference",
        "lm_head.weight": "difference",
        "model.layers.0.mlp.up_proj.weight": "difference",
        "model.norm.weight": "same",
        "model.layers.1.mlp.up_proj.weight": "whole",
        "new.weight": "whole",
    }
    spec = open_checkpoint(base).specs["lm_head.weight"]
    assert found["lm_head.weight"]["shape"] == [57, 16]
    assert found["lm_head.weight"]["base"] == {
        "name": "lm_head.weight", "dtype": "F16", "shape": [50, 16],
        "sha256": tensor_sha256(spec, model()["lm_head.weight"]),
    }  # fmt: skip
    recover(base, tmp_path / "diff", tmp_path / "out")
    assert digests(tmp_path / "out") == digests(tmp_path / "tuned")


@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_vocabulary_of_a_real_size_grows(tmp_path, compression):
    """Rows from 32,000 to 49,953, in several chunks."""
    generator = torch.Generator().manual_seed(0)
    old = torch.randn(32_000, 192, generator=generator).half()
    new = torch.cat([old + 0.001, torch.randn(17_953, 192, generator=generator).half()])
    new[40_000] = torch.tensor(-0.0)
    base = write(tmp_path / "base", {"model.embed_tokens.weight": old})
    write(tmp_path / "tuned", {"model.embed_tokens.weight": new})
    report = make_diff(base, tmp_path / "tuned", tmp_path / "diff", compression=compression)
    assert report.modes == {"difference": 1}
    assert (report.stored_bytes < 0.8 * report.tuned_bytes) == (compression == "zstd")
    recover(base, tmp_path / "diff", tmp_path / "out")
    assert digests(tmp_path / "out") == digests(tmp_path / "tuned")


def test_untied_head_is_stored_as_a_difference_to_the_embeddings(tmp_path):
    tied = model()
    del tied["lm_head.weight"]
    untied = tied | {"lm_head.weight": tied["model.embed_tokens.weight"].clone()}
    base, result = write(tmp_path / "base", tied), write(tmp_path / "tuned", untied)
    assert make_diff(base, result, tmp_path / "diff").modes == {"same": 6}
    origin = entries(tmp_path / "diff")["lm_head.weight"]["base"]
    assert origin["name"] == "model.embed_tokens.weight"
    recover(base, tmp_path / "diff", tmp_path / "out")
    assert digests(tmp_path / "out") == digests(result)
    assert make_diff(result, base, tmp_path / "back").removed == ("lm_head.weight",)


def test_renamed_tensors_are_found(tmp_path, base):
    content = {name.removeprefix("model."): t for name, t in tuned(model()).items()}
    result = write(tmp_path / "tuned", content)
    report = make_diff(base, result, tmp_path / "diff")
    assert report.modes == {"difference": 6} and report.removed == ()
    recover(base, tmp_path / "diff", tmp_path / "out")
    assert digests(tmp_path / "out") == digests(result)


def test_small_changes_compress(tmp_path, base):
    wide = {"w": torch.randn(500, 400, generator=torch.Generator().manual_seed(5)) * 0.02}
    for dtype, limit in ((torch.bfloat16, 0.25), (torch.float16, 0.4), (torch.float32, 0.7)):
        old = {"w": wide["w"].to(dtype)}
        write(tmp_path / f"base-{dtype}", old)
        write(tmp_path / f"tuned-{dtype}", tuned(old))
        report = make_diff(
            tmp_path / f"base-{dtype}", tmp_path / f"tuned-{dtype}", tmp_path / f"diff-{dtype}"
        )
        assert report.stored_bytes < limit * report.tuned_bytes


def test_other_files_go_along(tmp_path, base):
    result = write(tmp_path / "tuned", tuned(model()), max_shard_bytes=2000)
    for name in ("config.json", "中文 notes.md", "sub/template.jinja"):
        (result / name).parent.mkdir(exist_ok=True)
        (result / name).write_text(f"content of {name}", encoding="utf-8")
    for name in ("training_args.bin", "sub/model.gguf", ".cache/junk"):
        (result / name).parent.mkdir(exist_ok=True)
        (result / name).write_text("weights")
    report = make_diff(base, result, tmp_path / "diff")
    assert report.left_out == ("sub/model.gguf", "training_args.bin")
    listed = read_json(tmp_path / "diff" / "diff.json")["files"]
    assert listed == {
        name: sha256(result / name)
        for name in ("config.json", "sub/template.jinja", "中文 notes.md")
    }
    recover(base, tmp_path / "diff", tmp_path / "out")
    for name in listed:
        assert (tmp_path / "out" / name).read_bytes() == (result / name).read_bytes()
    found = {f.relative_to(tmp_path / "out").as_posix() for f in (tmp_path / "out").rglob("*.*")}
    assert found == {*listed, "model.safetensors", "tensors.json"}


def test_single_files_have_no_other_files(tmp_path):
    for name, content in (("base", model()), ("tuned", tuned(model()))):
        save_file(content, tmp_path / f"{name}.safetensors")
    (tmp_path / "config.json").write_text("{}")
    pair = tmp_path / "base.safetensors", tmp_path / "tuned.safetensors"
    make_diff(*pair, tmp_path / "out" / "diff")
    manifest = read_json(tmp_path / "out" / "diff" / "diff.json")
    assert manifest["base"] == "base.safetensors" and manifest["files"] == {}


def test_a_diff_is_readable_safetensors_without_paths_of_the_machine(tmp_path, base):
    result = write(tmp_path / "tuned", tuned(model()))
    make_diff(base, result, tmp_path / "diff")
    stored = load_file(tmp_path / "diff" / "diff-00001.safetensors")
    assert {t.dtype for t in stored.values()} == {torch.uint8} and stored.keys() == model().keys()
    text = (tmp_path / "diff" / "diff.json").read_text(encoding="utf-8")
    assert str(tmp_path) not in text
    assert (json.loads(text)["base"], json.loads(text)["tuned"]) == ("base", "tuned")


@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_same_input_gives_the_same_bytes(tmp_path, base, compression):
    result = write(tmp_path / "tuned", tuned(model()))
    for name in ("one", "two"):
        make_diff(base, result, tmp_path / name, compression=compression)
    assert sha256(tmp_path / "one") == sha256(tmp_path / "two")


def test_progress_counts_the_bytes_of_the_tuned_model(tmp_path, base):
    result = write(tmp_path / "tuned", tuned(model()))
    seen = []
    make_diff(base, result, tmp_path / "diff", progress=lambda *call: seen.append(call))
    done, total, text = seen[-1]
    assert done == total == open_checkpoint(result).size_bytes and text.startswith("B")


def test_killed_anywhere_it_goes_on(tmp_path, base, monkeypatch):
    monkeypatch.setattr(diff_tensors, "SHARD_BYTES", 1000)
    result = write(tmp_path / "tuned", tuned(model()))
    make_diff(base, result, tmp_path / "whole")
    for at_call in (1, 3, 6):
        out = tmp_path / f"out{at_call}"
        assert killed(lambda p, out=out: make_diff(base, result, out, progress=p), at_call=at_call)
        assert not out.exists()
        calls = []
        make_diff(base, result, out, progress=lambda *call, calls=calls: calls.append(call))
        assert len(calls) == 7 - at_call  # each shard is one tensor here
        assert sha256(out) == sha256(tmp_path / "whole")
    assert not list(tmp_path.glob(".*"))


def test_what_another_tuned_model_left_is_not_taken(tmp_path, base, monkeypatch):
    monkeypatch.setattr(diff_tensors, "SHARD_BYTES", 1000)
    one = write(tmp_path / "one", tuned(model()))
    two = write(tmp_path / "two", tuned(model(), seed=2))
    out = tmp_path / "out"
    assert killed(lambda p: make_diff(base, one, out, progress=p), at_call=4)
    make_diff(base, two, out)
    recover(base, out, tmp_path / "recovered")
    assert digests(tmp_path / "recovered") == digests(two)


def test_refusals(tmp_path, base, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").write_text("mine")
    text = refusal(InputError, make_diff, base, base, out)
    assert "out exists already" in text and "--force" in text
    assert "none does not exist" in refusal(InputError, make_diff, base, tmp_path / "none", out)
    text = refusal(ConfigError, make_diff, base, base, out, compression="zst")
    assert "unknown compression 'zst'" in text and "did you mean 'zstd'" in text
    monkeypatch.setitem(sys.modules, "zstandard", None)
    text = refusal(MissingExtraError, make_diff, base, base, out)
    assert "a compressed diff needs the package 'zstandard'" in text and "hanlin[train]" in text
    assert (out / "mine").read_text() == "mine"
    assert make_diff(base, base, out, compression="none", force=True).modes == {"same": 6}
    assert not (out / "mine").exists() and not list(out.glob("*.safetensors"))


def test_a_shard_that_is_cut_is_named(tmp_path, base):
    result = write(tmp_path / "tuned", tuned(model()), max_shard_bytes=2000)
    last = sorted(result.glob("*.safetensors"))[-1]
    last.write_bytes(last.read_bytes()[:-8])
    text = refusal(InputError, make_diff, base, result, tmp_path / "diff")
    assert f"{last} is damaged" in text and "it was cut" in text
    assert not (tmp_path / "diff").exists() and not list(tmp_path.glob(".*"))


def test_a_disk_that_is_too_small_is_found_out_before_the_work(tmp_path, base, monkeypatch):
    result = write(tmp_path / "tuned", model(seed=9))
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    called = []
    text = refusal(
        ResourceError, make_diff, base, result, tmp_path / "diff",
        progress=lambda *_: called.append(1),
    )  # fmt: skip
    assert "the disk is full" in text and not called
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "tuned"]
