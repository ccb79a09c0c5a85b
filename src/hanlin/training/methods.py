"""In which form does a method hold the model that it tunes?

full: float32. lora: frozen, in the type of the matrix products. int8: frozen in 8 bits, LLM.int8()
(Dettmers et al. 2022). qlora: frozen in 4 bits, NormalFloat with double quantization (Dettmers et
al. 2023). Embeddings and lm_head are never quantized.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal

from hanlin.core.errors import ConfigError
from hanlin.core.extras import require

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from hanlin.tokenization.load import Tokenizer

Method = Literal["lora", "int8", "qlora", "full"]
TORCH_NAMES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


def load_for(method: Method, path: str, *, precision: str) -> tuple[PreTrainedModel, Tokenizer]:
    """Load a model and its tokenizer for a method.

    Args:
        method: how it will be tuned.
        path: folder or hub id.
        precision: "fp32", "bf16" or "fp16".

    Raises:
        InputError: it cannot be loaded.
        ConfigError: it is quantized in another way already.
        MissingExtraError: bitsandbytes is not installed.
    """
    from hanlin.models.load import load_pair, model_folder, quantization_method

    stored = quantization_method(model_folder(path))
    if stored is not None and (method == "full" or stored != "bitsandbytes"):
        raise ConfigError(
            f"{path} is quantized by {stored}, which method {method} cannot train",
            why="full needs float weights; an adapter needs a base whose gradients pass through it",
            fix="give the float model: int8 and qlora quantize it while they read it",
        )
    if method == "full":
        return load_pair(path)
    dtype = TORCH_NAMES[precision]
    if method == "lora" or stored is not None:
        return load_pair(path, dtype=dtype)
    return load_pair(path, dtype=dtype, quantization=_settings(method, dtype), device=device())


def device() -> str:
    """Return this process's device: its own GPU, or the processor."""
    import torch

    local = os.environ.get("LOCAL_RANK", "0")
    return f"cuda:{local}" if torch.cuda.is_available() else "cpu"


def _settings(method: Method, dtype: str) -> Any:  # noqa: ANN401 - a transformers.BitsAndBytesConfig
    import torch
    import transformers

    require("bitsandbytes", extra="quantize", purpose=f"method {method}")
    if method == "int8":
        return transformers.BitsAndBytesConfig(load_in_8bit=True)
    return transformers.BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, dtype),
    )
