"""Mistral, Qwen and LLaMA-3 shapes: does llama.cpp compute what transformers computes?"""

import pytest
import torch
import transformers

from hanlin.core.errors import InputError
from hanlin.models.save import save_model
from hanlin.models.tiny import SAMPLE_TEXTS, make_tiny
from hanlin.tokenization.bpe import train_byte_bpe
from hanlin.tokenization.load import load
from hanlin.weights.gguf.check import check_gguf, make_reference, require_agreement
from hanlin.weights.gguf.write import write_gguf

SHORT = (SAMPLE_TEXTS[0], SAMPLE_TEXTS[5])
SHAPE = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 256,
}  # fmt: skip
YARN = {
    "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64,
    "rope_theta": 10_000.0,
}  # fmt: skip
LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64, "rope_theta": 500_000.0,
}  # fmt: skip
MODELS = {
    "mistral": ("Mistral", {"sliding_window": None, "head_dim": 24}),
    "mistral with a window": ("Mistral", {"sliding_window": 96}),
    "qwen2": ("Qwen2", {}),
    "qwen2 tied": ("Qwen2", {"tie_word_embeddings": True}),
    "qwen2 yarn": ("Qwen2", {"rope_parameters": YARN}),
    "qwen3": ("Qwen3", {"head_dim": 32}),
    "llama with biases": ("Llama", {"attention_bias": True, "mlp_bias": True}),
    "llama3": ("Llama", {"rope_parameters": LLAMA3}),
    "llama linear": (
        "Llama", {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}},
    ),
    "llama yarn": ("Llama", {"rope_parameters": {**YARN, "attention_factor": 0.8}}),
}  # fmt: skip


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizers")
    make_tiny(folder / "llama")
    train_byte_bpe(SAMPLE_TEXTS * 3, vocab_size=400, out=folder / "llama3", style="llama3")
    train_byte_bpe(SAMPLE_TEXTS * 3, vocab_size=400, out=folder / "qwen2", style="qwen2")
    return {name: load(folder / name) for name in ("llama", "llama3", "qwen2")}


def make_model(out, tokenizer, *, kind, **settings):
    """Random weights so large that every tensor matters; biases and norms too."""
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=tokenizer.vocab_size, **(SHAPE | settings)
    )
    torch.manual_seed(3)
    model = getattr(transformers, f"{kind}ForCausalLM")(config).float().eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.data *= 6
        else:
            parameter.data += 0.3 * torch.randn_like(parameter)
    return save_model(model, tokenizer, out)


@pytest.mark.parametrize("name", MODELS)
def test_shapes(tokenizers, tmp_path, caplog, name):
    kind, settings = MODELS[name]
    style = {"Qwen2": "qwen2", "Qwen3": "qwen2"}.get(
        kind, "llama3" if name == "llama3" else "llama"
    )
    folder = make_model(tmp_path / "model", tokenizers[style], kind=kind, **settings)
    file = write_gguf(folder, tmp_path / "m.gguf", type="f32")
    check = check_gguf(file, make_reference(folder, texts=SHORT))
    require_agreement(check, file=file.path, type="f32")
    assert check.greedy_agreement == 1.0
    assert check.max_logprob_difference < 2e-4
    assert abs(check.loss) < 1e-4
    assert file.context_length == (settings.get("sliding_window") or 256)
    assert ("the file's context ends at 96 tokens" in caplog.text) == ("window" in name)


def test_bias_that_llama_cpp_does_not_add(tokenizers, tmp_path):
    folder = make_model(
        tmp_path / "model", tokenizers["qwen2"], kind="Qwen3", head_dim=32, attention_bias=True
    )
    with pytest.raises(InputError, match=r"cannot write the tensor .*\.bias' \(F32\)") as caught:
        write_gguf(folder, tmp_path / "m.gguf", type="f32")
    assert "no such float tensor of a qwen3" in caught.value.why
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
