"""What is found in a checkpoint that is not whole."""

import hashlib
import re

import pytest
import torch
from safetensors.torch import load_file, save_file

from hanlin.core.errors import InputError
from hanlin.core.files import read_json, write_json
from hanlin.models.manifest import write_manifest
from hanlin.models.tensors import open_checkpoint, write_checkpoint
from hanlin.models.tiny import make_tiny
from hanlin.weights.convert.convert import Options, convert
from hanlin.weights.llama import LAYER_PARTS
from hanlin.weights.verify.verify import verify_checkpoint

NORM, UP = "model.norm.weight", "model.layers.1.mlp.up_proj.weight"


@pytest.fixture
def model(tmp_path):
    """A model folder with a `tensors.json`."""
    folder = make_tiny(tmp_path / "model")
    checkpoint = open_checkpoint(folder)
    tensors = {name: checkpoint.read(name).clone() for name in checkpoint.specs}
    write_checkpoint(folder, list(checkpoint.specs.values()), lambda spec: tensors[spec.name])
    return folder


def change(folder, **tensors):
    """Replace tensors of the file, without `tensors.json` knowing."""
    file = folder / "model.safetensors"
    content = {**load_file(file), **{name.replace("__", "."): t for name, t in tensors.items()}}
    save_file({name: t for name, t in content.items() if t is not None}, file)


def found(folder):
    return [(f.level, f.where, f.what) for f in verify_checkpoint(folder).findings]


def test_whole_model_has_no_findings(model):
    report = verify_checkpoint(model)
    assert report.findings == () and report.has_digests
    assert report.tensors == 21 and report.dtypes == {"F32": 21}
    assert report.to_json()["findings"] == []


def test_changed_bytes(model):
    change(model, **{NORM: torch.full((32,), 2.0)})
    what = "its content changed since tensors.json was written"
    assert found(model) == [("error", NORM, what)]


def test_missing_and_unknown_tensors(model):
    change(model, **{NORM: None, "extra": torch.ones(2)})
    assert found(model) == [
        ("error", "extra", "tensors.json does not know it"),
        ("error", NORM, "tensors.json names it, but it is not there"),
    ]


def test_nan_infinite_and_empty(model):
    (model / "tensors.json").unlink()
    broken = torch.ones(32)
    broken[0], broken[1], broken[2] = float("nan"), float("inf"), float("-inf")
    change(model, **{NORM: broken, UP: torch.empty(0, 32)})
    assert found(model) == [
        ("error", UP, "it is empty (shape [0, 32])"),
        ("error", NORM, "1 NaN and 2 infinite of 32 values"),
    ]
    assert not verify_checkpoint(model).has_digests


def test_mix_of_types(model):
    (model / "tensors.json").unlink()
    change(model, **{NORM: torch.ones(32, dtype=torch.bfloat16)})
    assert found(model) == [("warning", NORM, "tensors have several float types: 1 BF16, 20 F32")]


def test_padding_rows_and_missing_rows(model):
    (model / "tensors.json").unlink()
    rows = read_json(model / "config.json")["vocab_size"]
    embedding, head = "model.embed_tokens.weight", "lm_head.weight"
    change(model, **{embedding: torch.ones(rows + 4, 32), head: torch.ones(9, 32)})
    configured = f"but vocab_size in config.json is {rows}"
    assert found(model) == [
        ("error", embedding, f"{rows + 4} rows, {configured}"),
        ("warning", embedding, "4 rows more than the tokenizer has entries (padding)"),
        ("error", head, f"9 rows, {configured}"),
        ("error", head, f"9 rows, but the tokenizer has {rows} entries"),
    ]


def test_another_tokenizer(model):
    write_manifest(model, tokenizer_sha256="f" * 64)
    ((level, where, what),) = found(model)
    assert (level, where) == ("error", "model")
    assert "is not the one that" in what and "ffffffffffff" in what


def test_another_prompt(model):
    write_manifest(model, prompt={"format": "plain", "probe_ids": [1]})
    ((level, _, what),) = found(model)
    assert level == "error" and "no longer gives the ids it was trained with" in what


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_value_that_is_not_finite_is_counted(tmp_path, dtype):
    limits = torch.finfo(dtype)
    fine = torch.tensor([limits.max, limits.min, limits.tiny, 0.0, -0.0], dtype=dtype)
    nan, inf = float("nan"), float("inf")
    large = torch.zeros(600_000, dtype=dtype)  # scanned in several parts
    large[[0, 299_999, 300_000, 599_999]] = torch.tensor([nan, -nan, inf, -inf], dtype=dtype)
    large[1] = -inf
    save_file({"fine": fine, "large": large}, tmp_path / "x.safetensors")
    report = verify_checkpoint(tmp_path / "x.safetensors")
    assert report.layout == "file"
    assert [f.what for f in report.findings] == ["2 NaN and 3 infinite of 600000 values"]


def test_missing_layer_missing_part_and_other_shape(tmp_path):
    folder = make_tiny(tmp_path / "model", layers=5)
    part = "mlp.up_proj.weight"
    gone = {f"model.layers.3.{name}.weight": None for name in LAYER_PARTS}
    change(folder, **gone, **{f"model.layers.1.{part}": None}, **{
        "model.layers.2.input_layernorm.weight": torch.ones(16), "model.norm.weight": None,
    })  # fmt: skip
    assert found(folder) == [
        ("error", "model.layers", "1 of 5 layers are missing: 3"),
        ("error", "model.norm.weight", "it is missing"),
        (
            "error", "model.layers.2.input_layernorm.weight",
            "its shape is [16]; 3 other layers have [32]",
        ),
        ("error", f"model.layers.1.{part}", "it is missing; 3 other layers have it"),
    ]  # fmt: skip


def test_more_layers_than_configured(model):
    settings = read_json(model / "config.json")
    write_json(model / "config.json", settings | {"num_hidden_layers": 1})
    what = "it is there, but num_hidden_layers in config.json is 1"
    assert found(model) == [("error", "model.layers.1", what)]


def test_head_that_is_missing(model):
    (model / "tensors.json").unlink()
    change(model, lm_head__weight=None)
    ((level, where, what),) = found(model)
    assert (level, where) == ("error", "lm_head.weight")
    assert "it is missing" in what and "it would be filled with random numbers" in what


@pytest.mark.parametrize("is_same", [True, False])
def test_head_beside_tied_embeddings(tmp_path, is_same):
    folder = make_tiny(tmp_path / "model", tie=True)
    embedding = load_file(folder / "model.safetensors")["model.embed_tokens.weight"]
    change(folder, lm_head__weight=embedding.clone() if is_same else embedding + 1)
    findings = found(folder)
    assert len(findings) == (not is_same)
    assert is_same or "it differs from the embeddings, but config.json ties" in findings[0][2]


def test_pytorch_shards(model):
    tensors = load_file(model / "model.safetensors")
    halves = [dict(list(tensors.items())[:9]), dict(list(tensors.items())[9:])]
    weight_map = {}
    for number, half in enumerate(halves, start=1):
        torch.save(half, model / f"pytorch_model-{number}.bin")
        weight_map |= dict.fromkeys(half, f"pytorch_model-{number}.bin")
    write_json(model / "pytorch_model.bin.index.json", {"weight_map": weight_map})
    (model / "model.safetensors").unlink()
    report = verify_checkpoint(model)
    assert report.findings == () and report.tensors == 21 and report.has_digests


@pytest.fixture
def meta(tmp_path):
    folder = tmp_path / "llama" / "tiny"
    options = Options(to="meta", shards=2)
    convert(make_tiny(tmp_path / "model"), folder, options)
    (folder / "tokenizer.model").rename(folder.parent / "tokenizer.model")
    (folder / "tokenizer.json").unlink()
    return folder


def md5_list(file, names, form="{digest}  {name}"):
    lines = [
        form.format(digest=hashlib.md5((file.parent / name).read_bytes()).hexdigest(), name=name)
        for name in names
    ]
    file.write_text("\n".join(lines) + "\n")


SHARDS = ["consolidated.00.pth", "consolidated.01.pth", "params.json"]


def test_meta_folder_with_its_checklists(meta):
    md5_list(meta / "checklist.chk", SHARDS)
    md5_list(meta.parent / "tokenizer_checklist.chk", ["tokenizer.model"])
    report = verify_checkpoint(meta)
    assert report.findings == () and report.layout == "meta" and report.files_checked == 4

    shard = bytearray((meta / SHARDS[1]).read_bytes())
    shard[len(shard) // 2] ^= 1
    (meta / SHARDS[1]).write_bytes(shard)
    (level, where, what), *_ = found(meta)
    assert (level, where) == ("error", SHARDS[1])
    assert re.fullmatch(r"its md5 is [0-9a-f]{32}, checklist\.chk says [0-9a-f]{32}", what)

    (meta / SHARDS[1]).unlink()
    what = "checklist.chk names it, but it is not there"
    assert ("error", SHARDS[1], what) in found(meta)


def test_meta_folder_that_lacks_its_last_shard_or_the_tokenizer(meta):
    (meta.parent / "tokenizer.model").unlink()
    what = "there is no tokenizer in it or in the folder above"
    assert found(meta) == [("warning", "tiny", what)]
    (meta / SHARDS[1]).unlink()
    ((level, _, what),) = found(meta)
    assert level == "error" and "has 1 of 2 shards" in what


def test_not_finite_in_one_of_metas_shards(meta):
    shard = torch.load(meta / SHARDS[1], weights_only=True)
    shard["layers.0.attention.wq.weight"][0, 0] = float("nan")
    torch.save(shard, meta / SHARDS[1])
    ((level, where, what),) = found(meta)
    assert (level, where) == ("error", f"{SHARDS[1]}: layers.0.attention.wq.weight")
    assert what.startswith("1 NaN and 0 infinite")


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("md5sum.txt", "{digest}  {name}"),
        ("MODEL.MD5", "{digest} *{name}"),
        ("sums.chk", "MD5 ({name}) = {digest}"),
        ("model.safetensors.md5", "{digest}"),
    ],
)
def test_lists_of_digests_of_every_form(model, name, form):
    md5_list(model / name, ["model.safetensors"], form)
    assert verify_checkpoint(model).files_checked == 1 and found(model) == []
    (model / "tensors.json").unlink()
    change(model, **{NORM: torch.full((32,), 2.0)})
    ((level, where, what),) = found(model)
    assert (level, where) == ("error", "model.safetensors") and f"{name} says" in what


def test_list_that_lies_elsewhere(model, tmp_path):
    given = tmp_path / "from the README.txt"
    names = ["model.safetensors", "config.json"]
    sums = [hashlib.sha256((model / name).read_bytes()).hexdigest() for name in names]
    lines = [f"{value}  ./{name}" for name, value in zip(names, sums, strict=True)]
    given.write_text("```shell\n" + "\n".join(lines) + "\n```\n")
    report = verify_checkpoint(model, lists=[given])
    assert report.findings == () and report.files_checked == 2
    write_json(model / "config.json", read_json(model / "config.json") | {"x": 1})
    assert [f.where for f in verify_checkpoint(model, lists=[given]).findings] == ["config.json"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("no digests here", "is no list of digests"),
        ("", "is no list of digests"),
        (f"{'a' * 32}  x.bin\n{'b' * 32}  x.bin", "has the digest of a file twice"),
    ],
)
def test_list_that_is_none(model, tmp_path, text, what):
    (tmp_path / "list").write_text(text)
    with pytest.raises(InputError, match=what) as caught:
        verify_checkpoint(model, lists=[tmp_path / "list"])
    assert "fix: copy the lines of one model" in str(caught.value)


def test_adapter_folder(tmp_path):
    write_json(tmp_path / "adapter_config.json", {})
    save_file({"a": torch.tensor([float("nan")])}, tmp_path / "adapter_model.safetensors")
    assert found(tmp_path) == [("error", "a", "1 NaN and 0 infinite of 1 values")]
    assert verify_checkpoint(tmp_path).layout == "adapter"


def test_adapter_that_changes_nothing_or_lacks_a_half(tmp_path):
    write_json(tmp_path / "adapter_config.json", {})
    halves = {"x.lora_A.weight": torch.ones(2, 4), "x.lora_B.weight": torch.zeros(4, 2)}
    torch.save(halves, tmp_path / "adapter_model.bin")
    what = "it is zero, like every other lora_B: the adapter changes nothing"
    assert found(tmp_path) == [("warning", "x.lora_B.weight", what)]
    del halves["x.lora_B.weight"]
    torch.save(halves, tmp_path / "adapter_model.bin")
    what = "its other half, lora_B.weight, is missing"
    assert found(tmp_path) == [("error", "x.lora_A.weight", what)]
    torch.save({}, tmp_path / "adapter_model.bin")
    with pytest.raises(InputError, match="it holds an empty dictionary of tensors"):
        verify_checkpoint(tmp_path)


def test_diff_is_no_checkpoint(tmp_path):
    write_json(tmp_path / "diff.json", {})
    with pytest.raises(InputError, match="is a diff, not a checkpoint") as caught:
        verify_checkpoint(tmp_path)
    assert "hanlin weights recover BASE" in str(caught.value)


def test_manifest_that_is_none(model):
    write_json(model / "tensors.json", {"tensors": [1]})
    with pytest.raises(InputError, match=r"tensors\.json is not what it should be"):
        verify_checkpoint(model)


def test_damaged_file(model):
    (model / "model.safetensors").write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match="is damaged or is no safetensors file"):
        verify_checkpoint(model)


def test_progress_counts_files_and_tensors(model):
    md5_list(model / "md5sum.txt", ["model.safetensors"])
    seen = []
    verify_checkpoint(model, progress=lambda done, total, text: seen.append((done, total, text)))
    assert seen[0] == (1, 1, "model.safetensors")
    assert [done for done, total, _ in seen[1:] if total == 21] == list(range(1, 22))
