"""GPTQ, AWQ and bitsandbytes on a CUDA device."""

import importlib.util
import json

import pytest
import torch

from hanlin.models.save import save_model
from hanlin.models.tiny import SAMPLE_TEXTS, Architecture, make_tiny, new_llama
from hanlin.tokenization.load import load
from hanlin.weights.quantize.quantize import CALIBRATED, METHODS, Options, quantize_model

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.mark.parametrize("method", METHODS)
def test_every_method(tmp_path, method):
    module = "gptqmodel" if method in CALIBRATED else "bitsandbytes"
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    texts = tmp_path / "texts.jsonl"
    texts.write_text("".join(json.dumps({"text": text}) + "\n" for text in SAMPLE_TEXTS * 4))
    tokenizer = load(make_tiny(tmp_path / "tokenizer"))
    shape = Architecture(hidden_size=256, intermediate_size=512, layers=2, heads=4)
    net = new_llama(shape, tokenizer.vocab_size, 5).bfloat16()
    model = save_model(net, tokenizer, tmp_path / "model")
    found = quantize_model(model, tmp_path / "small", options=Options(method, texts))
    assert abs(found.loss) < 0.05 and found.size_bytes < found.size_bytes_before
