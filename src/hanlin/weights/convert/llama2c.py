"""How are the `.bin` files of llama2.c read: the model, and the tokenizer that belongs to it?

Two formats of https://github.com/karpathy/llama2.c (export.py, tokenizer.py): the old one, seven
numbers and float32 weights; and version 1, the same behind a header of 256 bytes in another order.
Rows have Meta's order.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hanlin.core.errors import InputError
from hanlin.core.files import os_error
from hanlin.models.grow_checks import EMBEDDINGS, LM_HEAD
from hanlin.models.tensor_blocks import BLOCK_BYTES, Place, read_blocks
from hanlin.models.tensors import TensorSpec
from hanlin.tokenization import sentencepiece
from hanlin.tokenization.sentencepiece import BYTE, CONTROL, NORMAL, SPACE, UNKNOWN
from hanlin.weights.convert.source import Source
from hanlin.weights.llama import NORM, Llama, config_of_llama, is_rotated, to_halves

if TYPE_CHECKING:
    import torch

MAGIC, HEADER_BYTES = 0x616B3432, 256
FLOAT_BYTES = 4
LARGEST = 2_000_000  # a number beyond it is no width, count or length: the file is something else
EPSILON, THETA = 1e-5, 10_000.0  # not in the files: constants of llama2.c's code
# A part of all layers comes before the next part; the old format has tables of rotary values, too.
OLD_ORDER = (
    EMBEDDINGS, "input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
    "self_attn.o_proj", "post_attention_layernorm", "mlp.gate_proj", "mlp.down_proj", "mlp.up_proj",
    NORM, "tables", LM_HEAD,
)  # fmt: skip
NEW_ORDER = (
    "input_layernorm", "post_attention_layernorm", NORM, EMBEDDINGS, "self_attn.q_proj",
    "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.down_proj",
    "mlp.up_proj", LM_HEAD,
)  # fmt: skip


@dataclass(frozen=True)
class _Header:
    """The settings in a file, and where and in which order its weights are."""

    model: Llama
    order: tuple[str, ...]
    start: int

    def places(self) -> dict[str, int]:
        """Return where each tensor begins; "end" is the size that the file must have."""
        shapes, places, at = self.model.shapes(), dict[str, int](), self.start
        for part in self.order:
            if part == "tables":
                at += FLOAT_BYTES * self.model.max_length * self.model.head_size
                continue
            layers = [f"model.layers.{i}.{part}.weight" for i in range(self.model.layers)]
            for name in [part] if part in (EMBEDDINGS, NORM, LM_HEAD) else layers:
                if name in shapes:
                    places[name] = at
                    at += FLOAT_BYTES * math.prod(shapes[name])
        return places | {"end": at}


def open_llama2c(path: Path) -> Source | None:
    """Open a model of llama2.c; return None if its header is that of something else.

    Raises:
        InputError: it is cut off, or quantized.
    """
    header = _read_header(path)
    if header is None:
        return None
    model, places = header.model, header.places()
    specs = {name: TensorSpec(name, "F32", shape) for name, shape in model.shapes().items()}

    def blocks(name: str) -> Iterator[torch.Tensor]:
        rows = read_blocks(specs[name], Place(path, places[name]), max_bytes=BLOCK_BYTES)
        return to_halves(rows, model.head_size) if is_rotated(name) else rows

    config = config_of_llama(model, dtype="float32")
    return Source("llama2c", path, (path,), specs, blocks, config)


def _read_header(path: Path) -> _Header | None:
    try:
        with path.open("rb") as stream:
            data = stream.read(HEADER_BYTES)
        size = path.stat().st_size
    except OSError as error:
        raise os_error(error, path) from error
    if len(data) < 28:
        return None
    magic, version = struct.unpack_from("<Ii", data)
    if magic != MAGIC:
        return _checked(path, size, _header(struct.unpack_from("<7i", data), OLD_ORDER, 28))
    if version != 1:
        raise InputError(
            f"{path} is a llama2.c file of version {version}",
            why="version 2 holds 8-bit integers; only the old format and version 1 hold floats",
            fix="export the model in float: python export.py OUT.bin --version 1 --checkpoint FILE",
        )
    sign = 1 if data[36:37] == b"\1" else -1
    *others, vocabulary, length = struct.unpack_from("<7i", data, 8)
    numbers = (*others, sign * vocabulary, length)
    return _checked(path, size, _header(numbers, NEW_ORDER, HEADER_BYTES))


def _checked(path: Path, size: int, header: _Header | None) -> _Header | None:
    """Refuse a file that is shorter or longer than its header says."""
    if header is not None and header.places()["end"] != size:
        raise InputError(
            f"{path} is cut off or damaged: it has {size:,} bytes",
            why=f"by its header it has {header.places()['end']:,}",
            fix="copy or download the file again",
        )
    return header


def _header(numbers: tuple[int, ...], order: tuple[str, ...], start: int) -> _Header | None:
    """Return what the seven numbers say, None if they are no model's.

    A negative vocabulary means that the head is no copy of the embeddings.
    """
    hidden, wide, layers, heads, kv_heads, vocabulary, length = numbers
    sizes = (hidden, wide, layers, heads, kv_heads, abs(vocabulary), length)
    if min(sizes) < 1 or max(sizes) > LARGEST or hidden % heads or heads % kv_heads:
        return None
    model = Llama(
        hidden_size=hidden, layers=layers, heads=heads, kv_heads=kv_heads, intermediate_size=wide,
        vocab_size=abs(vocabulary), epsilon=EPSILON, theta=THETA, scale=None, max_length=length,
        is_tied=vocabulary > 0,
    )  # fmt: skip
    return _Header(model, order, start)


def tokenizer_model(path: Path, *, vocab_size: int) -> Any:  # noqa: ANN401 - a ModelProto
    """Return the SentencePiece model that a tokenizer file of llama2.c was made from.

    The file has the pieces with their scores; what each is follows from LLaMA's order: unknown,
    begin, end, 256 bytes, and the others.

    Args:
        path: for example `tokenizer.bin` or `tok512.bin`.
        vocab_size: the entries that it must have.

    Raises:
        InputError: it is no such file.
    """
    pieces = _read_pieces(path, vocab_size)
    names = {0: "<unk>", 1: "<s>", 2: "</s>"} | {i + 3: f"<0x{i:02X}>" for i in range(256)}
    if any(pieces[i][0].strip() != name for i, name in names.items()):
        raise _no_tokenizer(path, "its first entries are not <unk>, <s>, </s> and the bytes")
    model = sentencepiece.empty_model()
    for index, (text, score) in enumerate(pieces):
        piece = model.pieces.add()
        piece.piece = names.get(index, text.replace(" ", SPACE))
        piece.score = score
        kind = UNKNOWN if index == 0 else CONTROL if index < 3 else BYTE
        piece.type = kind if index in names else NORMAL
    trainer, normalizer = model.trainer_spec, model.normalizer_spec
    trainer.model_type, trainer.vocab_size = sentencepiece.BPE, vocab_size
    trainer.byte_fallback = trainer.split_digits = True
    trainer.unk_id, trainer.bos_id, trainer.eos_id, trainer.pad_id = 0, 1, 2, -1
    normalizer.name, normalizer.add_dummy_prefix = "identity", True
    normalizer.remove_extra_whitespaces, normalizer.escape_whitespaces = False, True
    return model


def _read_pieces(path: Path, vocab_size: int) -> list[tuple[str, float]]:
    """Return the texts and scores: the longest text's length, then score, length and text each."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise os_error(error, path) from error
    pieces: list[tuple[str, float]] = []
    at = 4
    try:
        while at < len(data):
            score, length = struct.unpack_from("<fi", data, at)
            text = data[at + 8 : at + 8 + length]
            if length < 0 or len(text) != length:
                raise _no_tokenizer(path, f"it ends within entry {len(pieces)}")
            pieces.append((text.decode(), score))
            at += 8 + length
    except (struct.error, UnicodeDecodeError) as error:
        raise _no_tokenizer(path, f"entry {len(pieces)}: {error}") from error
    if len(pieces) != vocab_size or vocab_size < 259:
        raise _no_tokenizer(path, f"it has {len(pieces)} entries, the model {vocab_size}")
    return pieces


def _no_tokenizer(path: Path, why: str) -> InputError:
    return InputError(
        f"{path} is not the tokenizer of this llama2.c model",
        why=why,
        fix="give the tokenizer.bin that the model was exported with, or its tokenizer.model: "
        "--tokenizer FILE",
    )


def beside(path: Path, *, vocab_size: int) -> Path | None:
    """Return the tokenizer that lies beside a model, by llama2.c's usual names."""
    names = (f"tok{vocab_size}.bin", f"tok{vocab_size}.model", "tokenizer.bin", "tokenizer.model")
    return next((path.parent / name for name in names if (path.parent / name).is_file()), None)
