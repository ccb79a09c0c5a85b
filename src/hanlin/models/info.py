"""What is in a model folder: shape, parameters, bytes? Read from `config.json`, without torch.

hanlin model info MODEL
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hanlin.core.errors import InputError
from hanlin.core.files import read_json
from hanlin.models.manifest import read_manifest

# Model types of transformers whose layers are LLaMA's: RMSNorm, rotary positions, gated
# feed-forward, names as in LlamaForCausalLM. Biases are read from the config.
LLAMA_LIKE = ("llama", "mistral", "qwen2", "qwen3")
NAMES = {  # of ours in config.json
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
}
MAX_LAYERS, MAX_SIZE = 10_000, 10**9  # far more than any model has
BYTES_OF = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class ModelInfo:
    """Shape and size of a LLaMA-like model.

    Attributes:
        model_type: as transformers names it.
        layers: decoder layers.
        hidden_size: width of the residual stream.
        intermediate_size: width of the feed-forward layer.
        heads: attention heads.
        kv_heads: key and value heads.
        head_size: width of one head.
        vocab_size: rows of the embeddings.
        max_length: longest sequence, in tokens.
        is_tied: embeddings and lm_head are one matrix.
        dtype: type of the stored weights, as the config says.
        parameters: all of them.
        embedding_parameters: those in embeddings and lm_head.
        weight_bytes: of the *.safetensors files; 0 where there are none.
        tokenizer_sha256: of the tokenizer it was made with, where `hanlin.json` says it.
    """

    model_type: str
    layers: int
    hidden_size: int
    intermediate_size: int
    heads: int
    kv_heads: int
    head_size: int
    vocab_size: int
    max_length: int
    is_tied: bool
    dtype: str
    parameters: int
    embedding_parameters: int
    weight_bytes: int = 0
    tokenizer_sha256: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        return asdict(self)


def read_info(folder: str | Path) -> ModelInfo:
    """Read a model folder's `config.json`.

    Raises:
        InputError: there is none, or it is not of the LLaMA family.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise InputError(
            f"{folder} is not a model: it has no config.json",
            why="a model folder in the Hugging Face layout has config.json, *.safetensors and a "
            "tokenizer",
            fix="give such a folder",
        )
    return describe(
        read_config(folder),
        name=str(folder / "config.json"),
        weight_bytes=sum(file.stat().st_size for file in folder.glob("*.safetensors")),
        tokenizer_sha256=read_manifest(folder).get("tokenizer_sha256"),
    )


def read_config(folder: Path) -> dict[str, Any]:
    """Return the content of a model folder's `config.json`.

    Raises:
        InputError: it is missing, damaged, or holds no settings.
    """
    config = read_json(folder / "config.json")
    if isinstance(config, dict):
        return config
    raise InputError(
        f"{folder / 'config.json'} holds no settings",
        why=f"it is a {type(config).__name__}, not a table of names and values",
        fix="copy or download config.json again",
    )


def describe(
    config: Any,  # noqa: ANN401 - whatever was in the file
    *,
    name: str,
    weight_bytes: int = 0,
    tokenizer_sha256: str | None = None,
) -> ModelInfo:
    """Return what the content of a `config.json` says; `name` is for the messages.

    Raises:
        InputError: it is not of the LLaMA family, or lacks a number.
    """
    model_type = config.get("model_type") if isinstance(config, dict) else None
    if model_type not in LLAMA_LIKE:
        raise InputError(
            f"{name}: model_type {model_type!r} is not of the LLaMA family",
            why=f"known types: {', '.join(LLAMA_LIKE)}",
            fix="take a base model with one of these architectures",
        )
    try:
        info = _describe(config, model_type, weight_bytes, tokenizer_sha256)
    except (KeyError, TypeError, ZeroDivisionError) as error:
        raise _unknown_shape(name, f"the key {error} is missing or is no number") from error
    for key in ("layers", "hidden_size", "intermediate_size", "heads", "kv_heads", "vocab_size"):
        value = getattr(info, key)
        is_number = isinstance(value, int) and not isinstance(value, bool)
        if not is_number or not 1 <= value <= (MAX_LAYERS if key == "layers" else MAX_SIZE):
            raise _unknown_shape(name, f"{NAMES.get(key, key)} is {value!r}")
    return info


def _unknown_shape(name: str, what: str) -> InputError:
    return InputError(
        f"{name}: {what}",
        why="the shape of the model cannot be told without it",
        fix="copy or download config.json again",
    )


def _describe(
    config: dict[str, Any], model_type: str, weight_bytes: int, tokenizer_sha256: str | None
) -> ModelInfo:
    heads, hidden = config["num_attention_heads"], config["hidden_size"]
    shape = {
        "layers": config["num_hidden_layers"],
        "hidden_size": hidden,
        "intermediate_size": config["intermediate_size"],
        "heads": heads,
        "kv_heads": config.get("num_key_value_heads") or heads,
        "head_size": config.get("head_dim") or hidden // heads,
        "vocab_size": config["vocab_size"],
    }
    is_tied = bool(config.get("tie_word_embeddings", False))
    embeddings = shape["vocab_size"] * hidden * (1 if is_tied else 2)
    attention_bias = bool(config.get("attention_bias", model_type == "qwen2"))
    per_layer = _layer_parameters(
        shape,
        qkv_bias=attention_bias,
        output_bias=attention_bias and model_type != "qwen2",
        mlp_bias=bool(config.get("mlp_bias", False)),
    )
    if model_type == "qwen3":  # queries and keys have a norm of their own
        per_layer += 2 * shape["head_size"]
    return ModelInfo(
        model_type=model_type,
        max_length=config.get("max_position_embeddings", 0),
        is_tied=is_tied,
        dtype=str(config.get("dtype") or config.get("torch_dtype") or "float32"),
        parameters=embeddings + shape["layers"] * per_layer + hidden,
        embedding_parameters=embeddings,
        weight_bytes=weight_bytes,
        tokenizer_sha256=tokenizer_sha256,
        **shape,
    )


def _layer_parameters(
    shape: dict[str, int], *, qkv_bias: bool, output_bias: bool, mlp_bias: bool
) -> int:
    """Return the parameters of one decoder layer: attention, gated feed-forward, two norms."""
    hidden, wide = shape["hidden_size"], shape["intermediate_size"]
    query = shape["heads"] * shape["head_size"]
    key_value = 2 * shape["kv_heads"] * shape["head_size"]
    attention = hidden * (query + key_value) + query * hidden
    biases = (query + key_value) * qkv_bias + hidden * output_bias
    feed_forward = 3 * hidden * wide + (2 * wide + hidden) * mlp_bias
    return attention + biases + feed_forward + 2 * hidden
