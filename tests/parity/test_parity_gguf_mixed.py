"""Mixed types (q4_k_m, ...): llama.cpp's own quantizer, where llama-cpp-python is installed."""

import importlib.util

import pytest

from hanlin.core.errors import MissingExtraError, StageFailedError
from hanlin.core.files import sha256
from hanlin.models.save import save_model
from hanlin.models.tiny import Architecture, make_tiny, new_llama
from hanlin.tokenization.load import load
from hanlin.weights.gguf.check import check_gguf, make_reference
from hanlin.weights.gguf.kquants import quantize_file
from hanlin.weights.gguf.types import MIXED_TYPES
from hanlin.weights.gguf.write import write_gguf

IS_INSTALLED = importlib.util.find_spec("llama_cpp") is not None
needs_quantizer = pytest.mark.skipif(
    not IS_INSTALLED, reason='llama-cpp-python is not installed: pip install "hanlin[kquants]"'
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model whose rows are whole blocks of 256."""
    folder = tmp_path_factory.mktemp("mixed")
    tokenizer = load(make_tiny(folder / "tokenizer"))
    shape = Architecture(hidden_size=256, intermediate_size=256, layers=2, heads=4, max_length=256)
    return save_model(new_llama(shape, tokenizer.vocab_size, 5), tokenizer, folder / "model")


@pytest.fixture(scope="module")
def reference(model):
    return make_reference(model)


@pytest.mark.skipif(IS_INSTALLED, reason="llama-cpp-python is installed")
def test_missing_extra(model, tmp_path):
    with pytest.raises(MissingExtraError, match="mixed types needs the package 'llama_cpp'") as e:
        write_gguf(model, tmp_path / "m.gguf", type="q4_k_m")
    assert e.value.fix == 'pip install "hanlin[kquants]"' and e.value.exit_code == 3
    assert list(tmp_path.iterdir()) == []


@needs_quantizer
@pytest.mark.parametrize("type", MIXED_TYPES)
def test_every_mixture_loads_and_says_the_same(model, reference, tmp_path, type):
    file = write_gguf(model, tmp_path / "m.gguf", type=type)
    assert [path.name for path in tmp_path.iterdir()] == ["m.gguf"]
    assert file.type == type and file.tensor_types["F32"] == 5
    assert MIXED_TYPES[type].quantization in file.tensor_types
    check = check_gguf(file, reference)
    assert check.token_ids_equal
    assert abs(check.loss) < (0.03 if type == "q2_k" else 0.01)


@needs_quantizer
def test_rows_that_are_no_blocks_of_256_get_another_type(tmp_path):
    folder = make_tiny(tmp_path / "model")  # rows of 32
    file = write_gguf(folder, tmp_path / "m.gguf", type="q4_k_m")
    assert file.tensor_types.keys() == {"F32", "Q5_0", "Q8_0"}


@needs_quantizer
def test_same_bytes_again_and_progress(model, tmp_path):
    seen = []
    for name in ("a.gguf", "b.gguf"):
        write_gguf(model, tmp_path / name, type="q4_k_m", progress=lambda *step: seen.append(step))
    assert sha256(tmp_path / "a.gguf") == sha256(tmp_path / "b.gguf")
    assert seen[-1][:2] == (21, 21)


@needs_quantizer
def test_quantizer_that_fails(tmp_path):
    (tmp_path / "m.gguf").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(StageFailedError, match="could not quantize to MOSTLY_Q4_K_M") as caught:
        quantize_file(
            tmp_path / "m.gguf", tmp_path / "out.gguf", file_type="MOSTLY_Q4_K_M",
            progress=lambda _done, _total, _text: None,
        )  # fmt: skip
    assert "failed" in caught.value.why and "newer llama-cpp-python" in caught.value.fix
