"""How does bitsandbytes store a model in 8 or 4 bits, without looking at any text?

int8: LLM.int8(), Dettmers et al. 2022. nf4: NormalFloat of QLoRA, Dettmers et al. 2023, the scales
of its blocks quantized once more. Embeddings, norms and lm_head keep their type.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from hanlin.core.extras import require
from hanlin.models.load import best_device, load_model, stored_dtype
from hanlin.models.save import save_weights

PURPOSE = "quantizing to int8 or nf4"


def require_bitsandbytes() -> None:
    """Ask for bitsandbytes.

    Raises:
        MissingExtraError: it is not installed.
    """
    if importlib.util.find_spec("bitsandbytes") is None:
        require("bitsandbytes", extra="quantize", purpose=PURPOSE)


def quantize_bnb(source: Path, out: Path, *, method: str) -> None:
    """Write config and weights of a quantized model.

    Args:
        source: folder of the float model.
        out: a folder, made if missing.
        method: "int8" or "nf4".

    Raises:
        InputError: it cannot be loaded.
        ResourceError: the disk is full.
    """
    transformers = require("transformers", extra="train", purpose=PURPOSE)
    torch = require("torch", extra="train", purpose=PURPOSE)
    dtype = stored_dtype(source)
    settings: dict[str, Any] = {"load_in_8bit": True}
    if method == "nf4":
        settings = {
            "load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True,
            "bnb_4bit_compute_dtype": getattr(torch, dtype),
        }  # fmt: skip
    config = transformers.BitsAndBytesConfig(**settings)
    model = load_model(source, dtype=dtype, quantization=config, device=best_device())
    save_weights(model, out)
