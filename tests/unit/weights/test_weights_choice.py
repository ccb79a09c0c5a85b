"""Which files are taken, and what is said of the others."""

import pytest

from hanlin.core.errors import InputError
from hanlin.weights.download.choice import choose
from hanlin.weights.download.repository import RemoteFile


def files(*names):
    return [RemoteFile(name, 10, None, name) for name in names]


def taken(*names, **patterns):
    wanted, skipped = choose(files(*names), **patterns)
    assert {f.path for f in wanted} | {f.path for f in skipped} == set(names)
    return {file.path for file in wanted}


COMMON = ("config.json", "tokenizer.model", "README.md", "model.safetensors.index.json")
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def test_safetensors_alone_where_there_are_some():
    others = (
        "pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack",
        "onnx/model.onnx", "onnx/model.onnx_data", "original/consolidated.00.pth",
        "rust_model.ot", "model-q4.gguf", "consolidated.safetensors", "modeling_llama.py",
        "training_args.bin", "openvino_model.xml",
    )  # fmt: skip
    assert taken(*COMMON, *SHARDS, *others) == {*COMMON, *SHARDS}
    _, skipped = choose(files(*SHARDS, *COMMON, *others))
    reasons = {file.path: file.reason for file in skipped}
    assert reasons["pytorch_model.bin"] == "the weights come as safetensors"
    assert reasons["modeling_llama.py"] == "code is never run"
    assert "model*.safetensors" in reasons["consolidated.safetensors"]


def test_the_next_best_format_otherwise():
    assert taken("config.json", "pytorch_model.bin", "tf_model.h5", "x.onnx") == {
        "config.json", "pytorch_model.bin"
    }  # fmt: skip
    assert taken("params.json", "consolidated.00.pth", "checklist.chk") == {
        "params.json", "consolidated.00.pth", "checklist.chk"
    }  # fmt: skip
    assert taken("a-q4.gguf", "a-q8.gguf", "README.md") == {"a-q4.gguf", "a-q8.gguf", "README.md"}
    assert taken("README.md", "data.txt") == {"README.md", "data.txt"}


def test_the_top_folder_counts():
    names = ("pytorch_model.bin", "lora/adapter_model.safetensors", "onnx/model.onnx")
    assert taken(*names) == {"pytorch_model.bin", "lora/adapter_model.safetensors"}
    assert taken("a/model.safetensors", "a/model.bin") == {"a/model.safetensors"}


def test_patterns():
    names = ("config.json", "model.safetensors", "model.bin", "sub/x.json", "sub/y.txt")
    assert taken(*names, include=["*.json"]) == {"config.json", "sub/x.json"}
    assert taken(*names, include=["*"], exclude=["sub/"]) == {
        "config.json", "model.safetensors", "model.bin"
    }  # fmt: skip
    assert taken(*names, exclude=["*.json"]) == {"model.safetensors", "sub/y.txt"}


def test_nothing_left():
    with pytest.raises(InputError, match="no file is left to download") as caught:
        choose(files("config.json", "model.safetensors"), include=["config.jsn"])
    assert "config.json, model.safetensors" in caught.value.why
    assert caught.value.fix == "did you mean 'config.json'?"
    with pytest.raises(InputError) as caught:
        choose(files("a", "b", "c", "d", "e", "f", "g"), exclude=["*"])
    assert "a, b, c, d, e and 2 more" in caught.value.why
    assert "--include '*.json'" in caught.value.fix
