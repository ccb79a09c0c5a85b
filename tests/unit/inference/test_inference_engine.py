"""A model is found by folder, .gguf file or run directory; everything else is explained."""

import json

import pytest

from hanlin.core.errors import ConfigError, InputError
from hanlin.inference.engine import Sampling, find_model, open_engine
from hanlin.models.tiny import make_tiny


def finished_stage(run_dir, stage, *outputs):
    for kind, path in outputs:
        if kind == "model":
            make_tiny(run_dir / stage / path)
    record = {"outputs": [{"kind": kind, "path": path} for kind, path in outputs]}
    (run_dir / stage).mkdir(parents=True, exist_ok=True)
    (run_dir / stage / "stage.json").write_text(json.dumps(record))


def order(run_dir, *stages):
    content = {"stages": [{"id": stage, "stage": stage} for stage in stages]}
    (run_dir / "run.json").write_text(json.dumps(content))


def test_run_directory_means_its_last_model_in_the_order_of_the_recipe(tmp_path):
    finished_stage(tmp_path, "pretrain", ("model", "model"))
    finished_stage(tmp_path, "base", ("model", "model"))
    finished_stage(tmp_path, "finetune", ("adapter", "adapter"))
    order(tmp_path, "base", "pretrain", "finetune", "merge")
    assert find_model(tmp_path) == tmp_path / "pretrain" / "model"
    finished_stage(tmp_path, "merge", ("model", "model"))
    assert find_model(tmp_path) == tmp_path / "merge" / "model"
    assert open_engine(str(tmp_path)).max_length == 512


def test_model_folder_and_gguf_file_mean_themselves(tmp_path):
    model = make_tiny(tmp_path / "model")
    (tmp_path / "a.gguf").write_bytes(b"")
    assert find_model(model) == model
    assert find_model(tmp_path / "a.gguf") == tmp_path / "a.gguf"


def test_missing_path(tmp_path):
    with pytest.raises(InputError) as error:
        open_engine(str(tmp_path / "nothing"))
    assert "does not exist" in str(error.value)
    assert "a run directory" in str(error.value)


def test_folder_without_a_model(tmp_path):
    finished_stage(tmp_path, "world", ("corpus", "corpus"))
    order(tmp_path, "world", "base")
    with pytest.raises(InputError) as error:
        open_engine(str(tmp_path))
    assert "holds no model" in str(error.value)
    assert "hanlin run RECIPE" in str(error.value)


def test_unknown_backend_is_answered_with_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match="transformers"):
        open_engine(str(make_tiny(tmp_path)), backend="transformer")


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("max_new_tokens", 0, "1 or more"),
        ("temperature", -0.1, "0 or more"),
        ("temperature", float("nan"), "0 or more"),
        ("top_k", -1, "0 or more"),
        ("top_p", 0.0, "above 0"),
    ],
)
def test_sampling_out_of_range(name, value, rule):
    with pytest.raises(ConfigError) as error:
        Sampling(**{name: value})
    assert name in str(error.value)
    assert rule in str(error.value)


def test_an_adapter_is_told_from_a_model(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(InputError, match="is an adapter, not a model") as caught:
        open_engine(str(tmp_path))
    assert "hanlin weights merge" in caught.value.fix
