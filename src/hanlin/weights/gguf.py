"""How is a LLaMA checkpoint written as a GGUF file that llama.cpp runs?

hanlin weights gguf MODEL OUT.gguf --type q8_0

Tensor by tensor, so that memory holds one of them. Letters of shapes: R rows, C columns, H heads.
"""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hanlin.core.errors import ConfigError, InputError
from hanlin.core.extras import require
from hanlin.core.files import os_error, read_json
from hanlin.core.registry import did_you_mean
from hanlin.models.load import check_rows, model_folder
from hanlin.models.manifest import check_tokenizer
from hanlin.models.tensors import FLOATS, Checkpoint, TensorSpec, open_checkpoint
from hanlin.tokenization.load import load as load_tokenizer
from hanlin.weights.gguf_vocab import add_vocabulary
from hanlin.weights.lora import EMBEDDING, HEAD

if TYPE_CHECKING:
    import numpy as np

    from hanlin.tokenization.load import Tokenizer


@dataclass(frozen=True)
class Kind:
    """A way to store matrices: two names of the gguf package, and bits for each weight."""

    quantization: str
    file_type: str
    bits: float


TYPES = {
    "f32": Kind("F32", "ALL_F32", 32),
    "f16": Kind("F16", "MOSTLY_F16", 16),
    "bf16": Kind("BF16", "MOSTLY_BF16", 16),
    "q8_0": Kind("Q8_0", "MOSTLY_Q8_0", 8.5),
    "q5_1": Kind("Q5_1", "MOSTLY_Q5_1", 6),
    "q5_0": Kind("Q5_0", "MOSTLY_Q5_0", 5.5),
    "q4_1": Kind("Q4_1", "MOSTLY_Q4_1", 5),
    "q4_0": Kind("Q4_0", "MOSTLY_Q4_0", 4.5),
}
LARGEST_F16 = 65504.0
MAX_PADDING_ROWS = 1024  # vocabularies are padded to multiples of 8 to 512; more is another model's


@dataclass(frozen=True)
class GgufFile:
    """A written file.

    Attributes:
        path: where it is.
        type: "f16", "q8_0", ...
        kept_f16: tensors that stayed f16, because their rows cannot be cut into blocks of 32.
        trimmed_rows: padding rows of embeddings and lm_head that were left out.
    """

    path: Path
    type: str
    kept_f16: tuple[str, ...]
    trimmed_rows: int


@dataclass(frozen=True)
class _Target:
    """One tensor of the file: where it comes from and how it is stored."""

    source: TensorSpec
    name: str
    shape: tuple[int, ...]
    quantization: Any  # a gguf.GGMLQuantizationType
    heads: int | None  # rows of this many heads are reordered


def write_gguf(
    model: str | Path,
    out: Path,
    *,
    type: str,
    progress: Callable[[int, int, str], None] = lambda _done, _total, _text: None,
) -> GgufFile:
    """Write a model folder as one GGUF file; the file appears when it is complete.

    Vectors (norms, biases) are always float32. Quantized types need rows divisible by 32: tensors
    whose rows are not are kept in f16 and named in the result.

    Args:
        model: folder or hub id of a LLaMA with a SentencePiece tokenizer.
        out: the file.
        type: one of `TYPES`.
        progress: called with (tensors done, tensors in all, name).

    Raises:
        ConfigError: the type is unknown.
        InputError: it is no such model, or its parts do not belong together.
        ResourceError: the disk is full or the folder cannot be written.
        MissingExtraError: the gguf package is missing.
    """
    check_type(type)
    gguf = require("gguf", extra="cpu", purpose="writing GGUF files")
    folder = model_folder(model)
    tokenizer, weights = load_tokenizer(folder), open_checkpoint(folder)
    check_tokenizer(folder, tokenizer_sha256=tokenizer.sha256, tokenizer_path=tokenizer.path)
    config = read_json(folder / "config.json")
    _check_architecture(folder, config)
    trimmed = _padding_rows(weights, tokenizer, folder)
    targets = _plan(weights, config, type=type, vocab_size=tokenizer.vocab_size)
    with _new_gguf(gguf, out) as writer:
        writer.add_name(folder.resolve().name)
        writer.add_file_type(gguf.LlamaFileType[TYPES[type].file_type])
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        _add_architecture(writer, config, vocab_size=tokenizer.vocab_size)
        add_vocabulary(writer, folder, tokenizer)
        _add_tensors(writer, weights, targets, progress)
    wanted = gguf.GGMLQuantizationType[TYPES[type].quantization]
    kept = [t.name for t in targets if len(t.shape) > 1 and t.quantization != wanted]
    return GgufFile(out, type, tuple(kept), trimmed)


def check_type(type: str) -> None:
    """Refuse an unknown type.

    Raises:
        ConfigError: it is none of `TYPES`.
    """
    if type not in TYPES:
        raise ConfigError(
            f"unknown GGUF type {type!r}",
            why=f"known types: {', '.join(TYPES)}",
            fix=did_you_mean(type, TYPES) or "K-quants are made by llama.cpp's llama-quantize",
        )


def _check_architecture(folder: Path, config: dict[str, Any]) -> None:
    kind = config.get("model_type")
    if kind != "llama":
        raise InputError(
            f"{folder} is of the type {kind!r}",
            why="the GGUF export knows the names and shapes of LLaMA models",
            fix="use convert_hf_to_gguf.py of llama.cpp for other models",
        )
    rope = _rope(config)
    if rope.get("rope_type", "default") not in ("default", "linear"):
        raise InputError(
            f"{folder} has rotary positions of the type {rope['rope_type']!r}",
            why="the GGUF export writes unscaled and linearly scaled positions only",
            fix="use convert_hf_to_gguf.py of llama.cpp",
        )


def _rope(config: dict[str, Any]) -> dict[str, Any]:
    """Return the rotary settings, of transformers 5 or of the older two keys."""
    old = config.get("rope_scaling") or {}
    kind = old.get("rope_type", old.get("type", "default"))
    base = {"rope_theta": config.get("rope_theta", 10_000.0), **old, "rope_type": kind}
    return {**base, **(config.get("rope_parameters") or {})}


def _padding_rows(weights: Checkpoint, tokenizer: Tokenizer, folder: Path) -> int:
    """Return how many rows the embeddings have beyond the vocabulary."""
    if EMBEDDING not in weights.specs:
        raise InputError(f"{folder} has no tensor {EMBEDDING!r}", why="every LLaMA has one")
    rows = weights.specs[EMBEDDING].shape[0]
    check_rows(rows, tokenizer=tokenizer, model_path=folder)
    surplus = rows - tokenizer.vocab_size
    if surplus >= MAX_PADDING_ROWS:
        raise InputError(
            f"the model has {rows} embedding rows but the tokenizer has only "
            f"{tokenizer.vocab_size} entries",
            why=f"padding never adds {surplus} rows, so this is another model's tokenizer",
            fix="put the tokenizer files in place that the model was trained with",
        )
    return surplus


def _plan(
    weights: Checkpoint, config: dict[str, Any], *, type: str, vocab_size: int
) -> list[_Target]:
    """Return the tensors to write, in the order of the file."""
    gguf = require("gguf", extra="cpu", purpose="writing GGUF files")
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    heads = config["num_attention_heads"]
    reordered = {"q_proj": heads, "k_proj": config.get("num_key_value_heads") or heads}
    targets = []
    for spec in weights.specs.values():
        if spec.name.endswith("rotary_emb.inv_freq"):
            continue  # old checkpoints store it; it follows from the settings
        if spec.name == HEAD and config.get("tie_word_embeddings"):
            continue  # llama.cpp takes the embeddings where there is no output matrix
        name = names.get_name(spec.name, try_suffixes=(".weight", ".bias"))
        if name is None or spec.dtype not in FLOATS:
            raise InputError(
                f"cannot write the tensor {spec.name!r} ({spec.dtype}) as GGUF",
                why="it is no float tensor of a LLaMA",
                fix="give the plain float model: merge adapters first, undo quantization",
            )
        rows = vocab_size if spec.name in (EMBEDDING, HEAD) else spec.shape[0]
        shape = (rows, *spec.shape[1:])
        kind = _quantization(gguf, shape, TYPES[type].quantization)
        targets.append(_Target(spec, name, shape, kind, reordered.get(spec.name.split(".")[-2])))
    return targets


def _quantization(gguf: Any, shape: Sequence[int], wanted: str) -> Any:  # noqa: ANN401
    kinds = gguf.GGMLQuantizationType
    if len(shape) == 1:
        return kinds.F32
    block_size, _ = gguf.GGML_QUANT_SIZES[kinds[wanted]]
    return kinds[wanted] if shape[-1] % block_size == 0 else kinds.F16


def _add_architecture(writer: Any, config: dict[str, Any], *, vocab_size: int) -> None:  # noqa: ANN401
    gguf = require("gguf", extra="cpu", purpose="writing GGUF files")
    hidden, heads, rope = config["hidden_size"], config["num_attention_heads"], _rope(config)
    head_size = config.get("head_dim") or hidden // heads
    writer.add_vocab_size(vocab_size)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(hidden)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.get("num_key_value_heads") or heads)
    writer.add_key_length(head_size)
    writer.add_value_length(head_size)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(head_size)
    writer.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])


def _add_tensors(
    writer: Any,  # noqa: ANN401 - a GGUFWriter
    weights: Checkpoint,
    targets: Sequence[_Target],
    progress: Callable[[int, int, str], None],
) -> None:
    import numpy as np
    from gguf import GGML_QUANT_SIZES

    for target in targets:
        block_size, block_bytes = GGML_QUANT_SIZES[target.quantization]
        size = math.prod(target.shape) // block_size * block_bytes
        writer.add_tensor_info(
            target.name, target.shape, np.dtype(np.float32), size, raw_dtype=target.quantization
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for done, target in enumerate(targets, start=1):
        writer.write_tensor_data(_stored(weights, target))
        progress(done, len(targets), target.name)


def _stored(weights: Checkpoint, target: _Target) -> np.ndarray:
    """Return the data of one tensor as it lies in the file."""
    import numpy as np
    from gguf.quants import quantize

    values_RC = weights.read(target.source.name)[: target.shape[0]].float().numpy()
    if target.heads is not None:
        values_RC = _interleave(values_RC, target.heads)
    with np.errstate(over="ignore"):  # told below, with the tensor's name
        stored: np.ndarray = quantize(np.ascontiguousarray(values_RC), target.quantization)
    if stored.dtype == np.float16 and not np.isfinite(stored).all():
        largest = float(np.abs(values_RC).max())
        raise InputError(
            f"the tensor {target.source.name!r} does not fit into f16: it has {largest:.3g}",
            why=f"f16 ends at {LARGEST_F16:.0f}, and NaN or infinity is no weight",
            fix="export bf16 or f32; if it is NaN, see: hanlin weights verify MODEL",
        )
    return stored


def _interleave(values_RC: np.ndarray, heads: int) -> np.ndarray:
    """Return rows in llama.cpp's order for rotary positions.

    transformers rotates the first half of a head against the second, llama.cpp neighbors; Meta's
    files have llama.cpp's order, and the conversion to transformers turned it around.
    """
    rows = values_RC.shape[0]
    split = values_RC.reshape(heads, 2, rows // heads // 2, *values_RC.shape[1:])
    return split.swapaxes(1, 2).reshape(values_RC.shape)


@contextmanager
def _new_gguf(gguf: Any, out: Path) -> Iterator[Any]:  # noqa: ANN401 - the gguf module
    """Yield a writer to a temporary sibling; fsync and rename it when the block ends well."""
    temporary = out.with_name(f".{out.name}.{os.getpid()}.part")
    writer = gguf.GGUFWriter(temporary, "llama")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        yield writer
        writer.flush()
        for stream in writer.fout:
            os.fsync(stream.fileno())
        writer.close()
        temporary.replace(out)
    except OSError as error:
        if error.errno is None:  # numpy's "n requested and m written": the disk took no more
            error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise os_error(error, out) from error
    finally:
        writer.close()
        if temporary.exists():
            temporary.unlink()
