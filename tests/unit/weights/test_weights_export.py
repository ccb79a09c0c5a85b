"""The export stage: files, checks, and what it says when something is wrong."""

import pytest
from pydantic import ValidationError

from hanlin.core.config import ConfigSource, validate
from hanlin.core.errors import ConfigError, InputError, StageFailedError
from hanlin.core.events import EventLog, read_events
from hanlin.core.files import read_json, sha256
from hanlin.core.stage import StageContext
from hanlin.models.tiny import make_tiny
from hanlin.weights.gguf.check import GgufCheck, require_agreement
from hanlin.weights.gguf.export import STAGE, Config, export_file, export_files


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("model"))


def context_for(folder):
    return StageContext("export", folder / "out", 0, EventLog(folder / "events.jsonl"))


def test_stage_writes_files_and_checks(model, tmp_path):
    context = context_for(tmp_path)
    left = context.out / "gguf" / ".model-f16.gguf.1.part"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    STAGE.run(Config(model=str(model)), context)
    folder = context.out / "gguf"
    names = ["checks.json", "model-f16.gguf", "model-q8_0.gguf"]
    assert sorted(file.name for file in folder.iterdir()) == names
    checks = read_json(folder / "checks.json")
    assert list(checks) == ["f16", "q8_0"]
    for type, check in checks.items():
        assert check["size_bytes"] == (folder / f"model-{type}.gguf").stat().st_size
        assert check["token_ids_equal"] is True and check["chat_ids_equal"] is None
        assert 0 <= check["max_logprob_difference"] < 0.1
    assert checks["f16"]["greedy_agreement"] >= 0.95
    assert checks["q8_0"]["size_bytes"] < checks["f16"]["size_bytes"]
    events = list(read_events(tmp_path / "events.jsonl"))
    assert [(event["event"], event["type"]) for event in events] == [
        ("metric", "f16"), ("metric", "q8_0"),
    ]  # fmt: skip


def test_two_runs_have_the_same_bytes(model, tmp_path):
    for name in ("a", "b"):
        export_files(model, tmp_path / name, types=["q8_0"])
    assert sha256(tmp_path / "a") == sha256(tmp_path / "b")


def test_without_check(model, tmp_path):
    checks = export_files(model, tmp_path, types=["q4_0"], check=False)
    size = (tmp_path / "model-q4_0.gguf").stat().st_size
    types = {"F32": 5, "Q4_0": 15, "Q8_0": 1}
    assert checks == {"q4_0": {"size_bytes": size, "kept_f16": [], "tensor_types": types}}
    assert read_json(tmp_path / "checks.json") == checks


def test_one_file(model, tmp_path):
    out = tmp_path / "new" / "tiny.gguf"
    result = export_file(model, out, type="q8_0")
    assert result["token_ids_equal"] is True
    assert list(out.parent.iterdir()) == [out]
    with pytest.raises(InputError) as caught:
        export_file(model, out, type="q8_0")
    assert "exists already" in str(caught.value) and "--force" in caught.value.fix
    before = out.read_bytes()
    export_file(model, out, type="f16", force=True)
    assert out.read_bytes() != before


def test_out_that_is_a_folder(model, tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        export_file(model, tmp_path, type="f16", force=True)


def test_model_that_is_none(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        export_file(tmp_path / "none", tmp_path / "m.gguf", type="f16")
    with pytest.raises(ConfigError, match="unknown GGUF type 'q9'"):
        export_file(tmp_path / "none", tmp_path / "m.gguf", type="q9")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("types", "what"),
    [
        (["f16", "q8"], "unknown GGUF type 'q8' (did you mean 'q8_0'?)"),
        (["f16", "f16"], "the type 'f16' is listed twice"),
        ([], "at least 1 item"),
    ],
)
def test_config_complains(tmp_path, types, what):
    with pytest.raises(ConfigError) as caught:
        source = ConfigSource("recipe.yaml", tmp_path)
        validate(Config, {"model": "m", "types": types}, source=source)
    assert what in str(caught.value)


def test_config_is_strict():
    with pytest.raises(ValidationError):
        Config(model="m", typs=["f16"])


def test_estimate_counts_the_bits(model):
    parameters = (model / "model.safetensors").stat().st_size / 4
    estimate = STAGE.estimate(Config(model=str(model), types=["f16", "q4_0"]))
    assert estimate.disk_bytes == pytest.approx(parameters * (16 + 4.5) / 8, rel=0.01)
    assert STAGE.estimate(Config(model="owner/name")).disk_bytes is None


@pytest.mark.parametrize(
    ("change", "type", "what"),
    [
        ({"token_ids_equal": False, "greedy_agreement": None}, "q4_0", "splits text into other"),
        ({"chat_ids_equal": False}, "q4_0", "gives llama.cpp another prompt than training did"),
        ({"greedy_agreement": 0.94}, "f16", "94.0% are equal"),
        ({"greedy_agreement": 0.94}, "f32", "picks other tokens than transformers"),
    ],
)
def test_disagreement_fails_the_stage(tmp_path, change, type, what):
    good = {
        "size_bytes": 1, "token_ids_equal": True, "chat_ids_equal": True,
        "greedy_agreement": 1.0, "max_logprob_difference": 0.0,
    }  # fmt: skip
    require_agreement(GgufCheck(**good), file=tmp_path, type=type)
    with pytest.raises(StageFailedError) as caught:
        require_agreement(GgufCheck(**{**good, **change}), file=tmp_path, type=type)
    assert what in str(caught.value) and "use another type" in caught.value.fix


def test_quantized_file_may_disagree(tmp_path):
    check = GgufCheck(1, True, None, greedy_agreement=0.5, max_logprob_difference=1.0)
    require_agreement(check, file=tmp_path, type="q4_0")
