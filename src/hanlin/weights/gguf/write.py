"""How is a checkpoint of the LLaMA family written as a GGUF file that llama.cpp runs?

hanlin weights gguf MODEL OUT.gguf --type q8_0

Block of rows by block of rows, so that memory does not grow with the model.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hanlin.core.errors import InputError
from hanlin.core.extras import require
from hanlin.core.files import atomic_file
from hanlin.core.meter import Meter, Progress
from hanlin.models.grow_checks import EMBEDDINGS, LM_HEAD
from hanlin.models.load import check_rows, model_folder, quantization_method
from hanlin.models.manifest import check_tokenizer
from hanlin.models.tensors import Checkpoint, TensorSpec, open_checkpoint
from hanlin.tokenization.load import load as load_tokenizer
from hanlin.weights.gguf.arch import (
    ROPE_FREQS,
    Architecture,
    add_settings,
    check_tensors,
    gguf_name,
    read_architecture,
    rope_divisors,
)
from hanlin.weights.gguf.blocks import Layout, stored_blocks
from hanlin.weights.gguf.kquants import quantize_file, require_quantizer
from hanlin.weights.gguf.types import MIXED_TYPES, TYPES, check_type, tensor_quantization
from hanlin.weights.gguf.vocab import add_vocabulary

if TYPE_CHECKING:
    from hanlin.tokenization.load import Tokenizer

log = logging.getLogger(__name__)

MAX_PADDING_ROWS = 1024  # vocabularies are padded to multiples of 8 to 512; more is another model's


@dataclass(frozen=True)
class GgufFile:
    """A written file.

    Attributes:
        path: where it is.
        type: "f16", "q8_0", ...
        tensor_types: how many tensors are stored in which way, for example {"Q8_0": 15, "F32": 5}.
        kept_f16: tensors that stayed f16, because their rows cannot be cut into blocks of 32.
        trimmed_rows: padding rows of embeddings and lm_head that were left out.
        context_length: tokens that llama.cpp may be given.
    """

    path: Path
    type: str
    tensor_types: dict[str, int]
    kept_f16: tuple[str, ...]
    trimmed_rows: int
    context_length: int


@dataclass(frozen=True)
class _Target:
    """One tensor of the file: where it comes from and how it is stored."""

    source: TensorSpec
    name: str
    layout: Layout


@dataclass(frozen=True)
class _Model:
    """What a file is made of."""

    folder: Path
    architecture: Architecture
    tokenizer: Tokenizer
    weights: Checkpoint
    padding_rows: int


def write_gguf(
    model: str | Path,
    out: Path,
    *,
    type: str,
    progress: Progress = lambda _done, _total, _text: None,
) -> GgufFile:
    """Write a model folder as one GGUF file; the file appears when it is complete.

    Vectors (norms, biases) are always float32, the matrix of the logits has at least 8 bits.
    Quantized types need rows divisible by 32: tensors whose rows are not are kept in f16. Mixed
    types ("q4_k_m", ...) are made by llama.cpp from a temporary file of 16 bits beside `out`.

    Args:
        model: folder or hub id of a LLaMA, Mistral, Qwen2 or Qwen3.
        out: the file.
        type: one of `TYPES`.
        progress: called with (done, total, text).

    Raises:
        ConfigError: the type is unknown.
        InputError: it is no such model, its parts do not belong together, or it holds NaN.
        ResourceError: the disk is full or the folder cannot be written.
        MissingExtraError: the gguf package is missing, or llama-cpp-python for a mixed type.
    """
    check_type(type)
    gguf = require("gguf", extra="cpu", purpose="writing GGUF files")
    if type in MIXED_TYPES:
        require_quantizer()  # before any work is done
    source = _open(model_folder(model))
    if type not in MIXED_TYPES:
        return _write(gguf, source, out, type=type, progress=progress)
    draft = out.with_name(f".{out.name}.16bit")
    try:
        file = _write(gguf, source, draft, type=_lossless(source.weights), progress=progress)
        with atomic_file(out) as temporary:
            file_type = TYPES[type].file_type
            quantize_file(draft, temporary, file_type=file_type, progress=progress)
    finally:
        draft.unlink(missing_ok=True)
    kinds = _counted(tensor.tensor_type for tensor in gguf.GGUFReader(out).tensors)
    return replace(file, path=out, type=type, tensor_types=kinds, kept_f16=())


def _lossless(weights: Checkpoint) -> str:
    """Return the type of 16 bits that loses least."""
    return "bf16" if weights.specs[EMBEDDINGS].dtype == "BF16" else "f16"


def _open(folder: Path) -> _Model:
    architecture = read_architecture(folder)
    quantized = quantization_method(folder)
    if quantized is not None:
        raise InputError(
            f"{folder} is quantized (by {quantized})",
            why="GGUF has other blocks; rounding twice adds both errors",
            fix="give the float model that it was made from",
        )
    if architecture.context_length < architecture.info.max_length:
        log.warning(
            "llama.cpp computes no sliding window for this model: the file's context ends at %d "
            "tokens, within which nothing differs", architecture.context_length,
        )  # fmt: skip
    tokenizer, weights = load_tokenizer(folder), open_checkpoint(folder)
    check_tokenizer(folder, tokenizer_sha256=tokenizer.sha256, tokenizer_path=tokenizer.path)
    check_tensors(architecture, weights.specs)
    padding = _padding_rows(weights, tokenizer, folder)
    return _Model(folder, architecture, tokenizer, weights, padding)


def _padding_rows(weights: Checkpoint, tokenizer: Tokenizer, folder: Path) -> int:
    """Return how many rows the embeddings have beyond the vocabulary."""
    rows = weights.specs[EMBEDDINGS].shape[0]
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


def _write(gguf: Any, model: _Model, out: Path, *, type: str, progress: Progress) -> GgufFile:  # noqa: ANN401
    targets = _plan(gguf, model, type=type)
    with atomic_file(out) as temporary:
        writer = gguf.GGUFWriter(temporary, model.architecture.name)
        try:
            writer.add_name(model.folder.resolve().name)
            writer.add_file_type(gguf.LlamaFileType[TYPES[type].file_type])
            writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
            vocab_size = model.tokenizer.vocab_size
            add_settings(writer, model.architecture, vocab_size=vocab_size)
            add_vocabulary(writer, model.folder, model.tokenizer)
            _add_tensors(writer, model, targets, progress)
            writer.flush()
        finally:
            writer.close()
    kinds = _counted(target.layout.quantization for target in targets)
    matrices = [target for target in targets if len(target.layout.shape) > 1]
    kept = [t.name for t in matrices if type != "f16" and t.layout.quantization.name == "F16"]
    context_length = model.architecture.context_length
    return GgufFile(out, type, kinds, tuple(kept), model.padding_rows, context_length)


def _counted(kinds: Iterable[Any]) -> dict[str, int]:
    return dict(sorted(Counter(kind.name for kind in kinds).items()))


def _plan(gguf: Any, model: _Model, *, type: str) -> list[_Target]:  # noqa: ANN401
    """Return the tensors to write, in the order of the file."""
    architecture = model.architecture
    kind = gguf.MODEL_ARCH[architecture.name.upper()]
    names = gguf.get_tensor_name_map(kind, architecture.info.layers)
    is_tied, vocab_size = architecture.info.is_tied, model.tokenizer.vocab_size
    targets = []
    for spec in model.weights.specs.values():
        if spec.name.endswith("rotary_emb.inv_freq"):
            continue  # old checkpoints store it; it follows from the settings
        if spec.name == LM_HEAD and is_tied:
            continue  # llama.cpp takes the embeddings where there is no output matrix
        rows = vocab_size if spec.name in (EMBEDDINGS, LM_HEAD) else spec.shape[0]
        shape = (rows, *spec.shape[1:])
        is_output = spec.name == (EMBEDDINGS if is_tied else LM_HEAD)
        stored = tensor_quantization(gguf, type, shape=shape, is_output=is_output)
        layout = Layout(shape, stored, architecture.rotated_rows(spec.name))
        targets.append(_Target(spec, gguf_name(architecture, names, spec), layout))
    return targets


def _add_tensors(
    writer: Any,  # noqa: ANN401 - a GGUFWriter
    model: _Model,
    targets: Sequence[_Target],
    progress: Progress,
) -> None:
    import numpy as np

    divisors = rope_divisors(model.architecture)
    if divisors is not None:
        shape = (len(divisors),)
        writer.add_tensor_info(ROPE_FREQS, shape, np.dtype(np.float32), 4 * len(divisors))
    for target in targets:
        layout, size = target.layout, target.layout.size_bytes
        writer.add_tensor_info(
            target.name, layout.shape, np.dtype(np.float32), size, raw_dtype=layout.quantization
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    stream = writer.fout[0]
    writer.write_padding(stream, stream.tell())
    if divisors is not None:
        stream.write(np.array(divisors, np.float32).tobytes())
        writer.write_padding(stream, 4 * len(divisors))
    meter = Meter(sum(target.layout.size_bytes for target in targets), progress)
    for target in targets:
        for data in stored_blocks(model.weights, target.source, target.layout):
            stream.write(data)
            meter.add(len(data))
            meter.show()
        writer.write_padding(stream, target.layout.size_bytes)
