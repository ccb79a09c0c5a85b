"""How is a model loaded: safely, completely, and together with the tokenizer it was made for?

The only place where models are loaded: local folder or hub id, safetensors only, no remote code.
"""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hanlin.core.errors import InputError, ResourceError
from hanlin.core.extras import require
from hanlin.models import manifest
from hanlin.models.info import read_config
from hanlin.models.runs import last_model
from hanlin.models.save import quiet_transformers
from hanlin.tokenization.hub import TOKENIZER_FILES, local_folder
from hanlin.tokenization.load import Tokenizer
from hanlin.tokenization.load import load as load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MODEL_FILES = ("config.json", "generation_config.json", "*.safetensors", "*.safetensors.index.json")
QUANTIZERS = {  # method in config.json -> module, extra
    "bitsandbytes": ("bitsandbytes", "quantize"),
    "gptq": ("gptqmodel", "gptq"),
    "awq": ("gptqmodel", "gptq"),
}
DTYPES = ("float32", "bfloat16", "float16")


def model_folder(path: str | Path, *, is_pickle_read: bool = False) -> Path:
    """Return the local folder of a model, fetched from the hub where needed.

    Args:
        path: a folder, a run directory (its last model is taken), or a hub id.
        is_pickle_read: the caller reads PyTorch's `.bin` files as well, without running code.

    Raises:
        InputError: it is no model folder; the message says what is missing.
    """
    files = (*MODEL_FILES, *TOKENIZER_FILES)
    folder = last_model(local_folder(path, files=files, purpose="loading a model"))
    if not folder.is_dir():
        raise InputError(
            f"{path} is a file, not a model folder",
            why="a model is a folder in the Hugging Face layout",
            fix="give the folder that holds config.json and the .safetensors files",
        )
    if not (folder / "config.json").is_file():
        raise InputError(
            f"{path} is not a model: it has no config.json",
            why="a model folder in the Hugging Face layout has config.json, *.safetensors and a "
            "tokenizer",
            fix="give such a folder or a hub id, or make a small one: "
            "hanlin model base --config FILE --out DIR",
        )
    has_pickle = is_pickle_read and any(folder.glob("pytorch_model*.bin"))
    if not has_pickle and not any(folder.glob("*.safetensors")):
        raise InputError(
            f"{path} holds no *.safetensors weights",
            why="weights in pickle files (*.bin, *.pt) can run code when they are read",
            fix="convert them to safetensors, or download the model again",
        )
    return folder


def load_model(
    path: str | Path,
    *,
    dtype: str = "float32",
    quantization: Any = None,  # noqa: ANN401 - a transformers.BitsAndBytesConfig
    device: str = "cpu",
) -> PreTrainedModel:
    """Load a causal language model in eval mode; apply nothing else to it.

    Args:
        path: a folder in the Hugging Face layout, or a hub id.
        dtype: "float32", "bfloat16" or "float16".
        quantization: quantize the weights while they are read; None: as they are stored.
        device: where the weights go.

    Raises:
        InputError: it is no model, weights are missing or damaged.
        ResourceError: it does not fit into memory.
        MissingExtraError: it is quantized, and the package that reads it is missing.
    """
    folder = model_folder(path)
    _require_quantizer(folder)
    torch = require("torch", extra="train", purpose="loading a model")
    transformers = require("transformers", extra="train", purpose="loading a model")
    if dtype not in DTYPES:
        raise InputError(f"unknown dtype {dtype!r}", fix=f"use one of {', '.join(DTYPES)}")
    wanted = {"quantization_config": quantization} if quantization is not None else {}
    wanted |= {"device_map": device} if device != "cpu" else {}
    try:
        with quiet_transformers():
            model, info = transformers.AutoModelForCausalLM.from_pretrained(
                str(folder),
                dtype=getattr(torch, dtype),
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                **wanted,
            )
    except MemoryError as error:
        raise ResourceError(f"{path} does not fit into memory as {dtype}") from error
    except Exception as error:  # of transformers, safetensors, json: one class each
        first_line = next(iter(str(error).strip().splitlines()), "")
        raise InputError(
            f"{path} could not be loaded as a language model",
            why=f"{type(error).__name__}: {first_line}",
            fix="check that config.json and the .safetensors files belong together and are "
            "complete",
        ) from error
    _refuse_incomplete(path, info)
    return model.eval()


def best_device() -> str:
    """Return "cuda" where torch finds a GPU, else "cpu"."""
    torch = require("torch", extra="train", purpose="loading a model")
    return "cuda" if torch.cuda.is_available() else "cpu"


def stored_dtype(folder: Path) -> str:
    """Return the type of a folder's weights as its config says it, "float32" where it does not."""
    config = read_config(folder)
    name = str(config.get("dtype") or config.get("torch_dtype") or "float32")
    return name if name in DTYPES else "float32"


def quantization_method(folder: Path) -> str | None:
    """Return how weights are quantized ("bitsandbytes", "gptq", ...), None for floats."""
    stored = read_config(folder).get("quantization_config")
    return str(stored.get("quant_method")) if isinstance(stored, dict) else None


def _require_quantizer(folder: Path) -> None:
    """Ask for the package that a quantized checkpoint needs."""
    method = quantization_method(folder)
    if method in QUANTIZERS:
        module, extra = QUANTIZERS[method]
        if importlib.util.find_spec(module) is None:  # gptqmodel prints when it is imported
            require(module, extra=extra, purpose=f"loading a model quantized by {method}")
    # It warns at every matrix product that the inputs are float32.
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)


def _refuse_incomplete(path: str | Path, info: dict[str, object]) -> None:
    """Refuse what transformers only warns about: tensors filled with random numbers."""
    missing = sorted(str(key) for key in info.get("missing_keys") or ())  # type: ignore[attr-defined]
    if missing:
        raise InputError(
            f"{path} lacks {len(missing)} of its tensors, first {missing[0]!r}",
            why="they would be filled with random numbers",
            fix="copy or download the model again; hanlin model info shows what it should hold",
        )


def load_pair(
    path: str | Path,
    *,
    dtype: str = "float32",
    quantization: Any = None,  # noqa: ANN401 - a transformers.BitsAndBytesConfig
    device: str = "cpu",
) -> tuple[PreTrainedModel, Tokenizer]:
    """Load a model with its tokenizer, after checking that they belong together.

    The arguments are those of `load_model`.

    Raises:
        InputError: fewer rows than tokens, or another tokenizer than `hanlin.json` names.
    """
    folder = model_folder(path)
    tokenizer = load_tokenizer(folder)
    manifest.check_tokenizer(
        folder, tokenizer_sha256=tokenizer.sha256, tokenizer_path=tokenizer.path
    )
    model = load_model(folder, dtype=dtype, quantization=quantization, device=device)
    check_rows(model.get_input_embeddings().weight.shape[0], tokenizer=tokenizer, model_path=path)
    return model, tokenizer


def check_rows(rows: int, *, tokenizer: Tokenizer, model_path: str | Path) -> None:
    """Refuse a model with fewer embedding rows than its tokenizer has entries.

    Raises:
        InputError: some ids would have no row.
    """
    if rows >= tokenizer.vocab_size:
        return
    raise InputError(
        f"the model has {rows} embedding rows but the tokenizer has {tokenizer.vocab_size} entries",
        why=f"{model_path} was saved before the tokenizer in {tokenizer.path} was extended",
        fix=f"hanlin model grow {model_path} --tokenizer {tokenizer.path} --out NEW_DIR",
    )
