"""How much memory does training a LLaMA take, term by term? From its shape alone, without torch.

The activations were counted tensor by tensor in the graphs that torch 2.13, transformers 5.23 and
peft 0.21 build (tests/unit/models/test_models_memory.py counts them again). Per layer and token,
with hidden size H, feed-forward size F, attention width Q (all heads) and rank r, they keep

    in the type of the matrix products:
        attention   3 Q (queries, keys and values, each for all heads), with LoRA in 16 bits 4 Q
        inputs      6 H in 16 bits: autocast converts the norms' output once for each of q, k, v,
                    gate and up, and o has its own; 3 H in float32
        feed-forward 4 F (gate, its SiLU, up, their product)
        adapters    7 r, one for each layer that has one
    in float32:
        norms       4 H (input and normalized, twice); 2 H where the norms' weights are frozen
        attention   one value for each head (the normalizer of its softmax)

With gradient checkpointing a layer keeps its input alone, and one layer at a time the rest.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Literal

from hanlin.models.info import ModelInfo

Precision = Literal["fp32", "bf16", "fp16"]
ADAM_BYTES = {  # moments of one parameter, by the schedule's optimizer
    "adamw": 8.0,
    "paged-adamw": 8.0,
    "adamw-8bit": 2.0 + 2 * 4 / 256,  # two scales for blocks of 256
    "paged-adamw-8bit": 2.0 + 2 * 4 / 256,
}
NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)  # 4 bits, and scales in 8 bits, themselves scaled
LOGIT_CHUNK_BYTES = 3 * (64 << 20)  # float32 logits, their slope and its copy in 16 bits
PROCESS_BYTES = 600_000_000  # torch and transformers loaded: 0.41 GB measured, plus buffers
ADAPTED_LAYERS = 7  # linear layers of a decoder layer


@dataclass(frozen=True)
class Training:
    """What is trained, and how.

    Attributes:
        method: "full", "lora", "int8" or "qlora".
        rows: in a micro-batch of one process.
        seq_len: tokens of a row.
        trained_parameters: None: all of the model's.
        precision: of the matrix products.
        rank: of the adapter; 0 without.
        is_recomputing: gradient checkpointing.
        optimizer: as in `training.schedule`.
        zero_stage: of DeepSpeed ZeRO; 3 also stands for fully sharded data parallelism.
        processes: that share what the stage shares out.
    """

    method: str = "full"
    rows: int = 1
    seq_len: int = 512
    trained_parameters: int | None = None
    precision: Precision = "fp32"
    rank: int = 0
    is_recomputing: bool = False
    optimizer: str = "adamw"
    zero_stage: int = 0
    processes: int = 1


@dataclass(frozen=True)
class Memory:
    """Bytes at the peak of a step, in one process.

    Attributes:
        weights: of the model and, where there is one, the adapter.
        weight_copies: 16-bit copies of float32 weights that autocast keeps through a step.
        gradients: float32, one for each trained parameter.
        optimizer: Adam's two moments.
        activations: kept for the way back.
        logits: of a chunk of tokens, and the gradients that are made from them.
        process: interpreter, libraries, buffers.
    """

    weights: int
    weight_copies: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    process: int

    @property
    def total(self) -> int:
        """Return the sum of all terms."""
        return sum(getattr(self, field.name) for field in fields(self))

    def as_dict(self) -> dict[str, int]:
        """Return the terms and their sum."""
        return {**asdict(self), "total": self.total}


def training_memory(info: ModelInfo, training: Training) -> Memory:
    """Estimate the peak memory of one process that trains."""
    trained = training.trained_parameters
    trained = info.parameters if trained is None else trained
    is_full = training.method == "full"
    stage, shards = training.zero_stage, training.processes
    weights = base_bytes(info, method=training.method, precision=training.precision)
    weights += 0 if is_full else 4 * trained
    is_copied = is_full and training.precision != "fp32"
    copies = 2 * (info.parameters - _input_embeddings(info)) if is_copied else 0
    tokens = training.rows * training.seq_len
    head = 4 * info.vocab_size * info.hidden_size if is_full else 0
    return Memory(
        weights=_share(weights, shards if stage >= 3 else 1),
        weight_copies=_share(copies, shards if stage >= 3 else 1),
        gradients=_share(4 * trained, shards if stage >= 2 else 1),
        optimizer=_share(ADAM_BYTES[training.optimizer] * trained, shards if stage >= 1 else 1),
        activations=activation_bytes(info, training),
        logits=min(LOGIT_CHUNK_BYTES, 12 * tokens * info.vocab_size)
        + head
        + 4 * tokens * info.hidden_size,
        process=PROCESS_BYTES,
    )


def base_bytes(info: ModelInfo, *, method: str, precision: Precision) -> int:
    """Return the bytes of the model's weights in the form that a method holds them in.

    full: float32. lora: the type of the matrix products. int8: linear layers in one byte and a
    float32 scale for each output. qlora: linear layers in `NF4_BYTES`. Embeddings, lm_head and
    norms are never quantized.
    """
    if method == "full":
        return 4 * info.parameters
    width = 4 if precision == "fp32" else 2
    if method == "lora":
        return width * info.parameters
    linear = info.parameters - info.embedding_parameters - (2 * info.layers + 1) * info.hidden_size
    rest = width * (info.parameters - linear)
    if method == "int8":
        outputs = info.layers * (
            (info.heads + 2 * info.kv_heads) * info.head_size
            + 2 * info.hidden_size
            + 2 * info.intermediate_size
        )
        return linear + 4 * outputs + rest
    return math.ceil(NF4_BYTES * linear) + rest


def activation_bytes(info: ModelInfo, training: Training) -> int:
    """Return the bytes of activations that are kept from the way forward to the way back."""
    is_16_bit, is_full = training.precision != "fp32", training.method == "full"
    width = 2 if is_16_bit else 4
    hidden, attention = info.hidden_size, info.heads * info.head_size
    products = (
        (4 if is_16_bit and not is_full else 3) * attention
        + (6 if is_16_bit else 3) * hidden
        + 4 * info.intermediate_size
        + (0 if is_full else ADAPTED_LAYERS * training.rank)
    )
    each = width * products + 4 * ((4 if is_full else 2) * hidden + info.heads + 2)
    each += width * training.seq_len  # the mask between documents, converted by each layer
    tokens = training.rows * training.seq_len
    if not training.is_recomputing:
        return tokens * info.layers * each
    residual = 2 if is_16_bit and not is_full else 4
    return tokens * (info.layers * residual * hidden + each)


def adapter_parameters(info: ModelInfo, *, rank: int, grown_rows: int = 0) -> int:
    """Return the parameters of an adapter on all linear layers, and of the rows beside it."""
    hidden, wide = info.hidden_size, info.intermediate_size
    query, key_value = info.heads * info.head_size, info.kv_heads * info.head_size
    sides = 2 * (hidden + query) + 2 * (hidden + key_value) + 3 * (hidden + wide)
    rows = grown_rows * hidden * (1 if info.is_tied else 2)
    return rank * sides * info.layers + rows


def _input_embeddings(info: ModelInfo) -> int:
    return 0 if info.is_tied else info.embedding_parameters // 2


def _share(size: float, shards: int) -> int:
    return math.ceil(size / shards)
