"""How much memory does training a LLaMA take, term by term? From its shape alone, without torch.

A step has three moments at which memory can peak, and the estimate is the largest of them:

    loss      everything kept for the way back, and the logits
    backward  with gradient checkpointing: what each layer keeps, and all of one layer
    step      the gradients of all trained weights, and one layer

Gradients of earlier micro-batches are there at all three. What is kept for the way back was
counted tensor by tensor in the graphs that torch 2.13, transformers 5.23 and peft 0.21 build
(tests/unit/models/test_models_memory.py counts them again). Per layer and token, with hidden size
H, feed-forward size F, attention width Q (all heads) and rank r, under autocast:

    in the type of the matrix products:
        attention   3 Q (queries, keys and values, each for all heads), with LoRA in 16 bits 4 Q
        inputs      6 H in 16 bits: autocast converted the norms' output once for each of q, k, v,
                    gate and up, and o has its own; 3 H in float32
        feed-forward 4 F (gate, its SiLU, up, their product)
        adapters    7 r, one for each layer that has one
    in float32:
        norms       4 H (input and normalized, twice); 2 H where the norms' weights are frozen
        attention   one value for each head (the normalizer of its softmax)

Other programs keep other things; `Program` says which, so that their published figures can be
predicted from the same formulas (`models.published`, docs/plan.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Literal

from hanlin.models.info import ModelInfo

Precision = Literal["fp32", "bf16", "fp16"]
ADAM_BYTES = {  # moments of one parameter, by the schedule's optimizer
    "adamw": 8.0,
    "paged-adamw": 8.0,
    "adamw-16bit": 4.0,  # torch's AdamW on 16-bit weights
    "adamw-8bit": 2.0 + 2 * 4 / 256,  # two scales for blocks of 256
    "paged-adamw-8bit": 2.0 + 2 * 4 / 256,
}
NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)  # 4 bits, and scales in 8 bits, themselves scaled
NF4_SINGLE_BYTES = 0.5 + 4 / 64  # 4 bits, and scales in float32
LOGIT_CHUNK_BYTES = 3 * (64 << 20)  # float32 logits, their slope and its copy in 16 bits
LOGIT_BYTES = 12  # of one logit that is not cut in chunks: float32, log-softmax, slope
CHUNKS = 8  # that torchtune cuts the logits in
PROCESS_BYTES = 600_000_000  # torch and transformers loaded: 0.41 GB measured, plus buffers
CUDA_BYTES = 500_000_000  # a process' context on a card, with the workspace of its libraries
ALL_LINEAR = ("q", "k", "v", "o", "gate", "up", "down")
ADAPTED_LAYERS = len(ALL_LINEAR)
QUANTIZED = ("int8", "qlora")


@dataclass(frozen=True)
class Program:
    """How a program keeps what it computes with; the default is Hanlin's own trainer.

    Attributes:
        casting: "autocast" converts float32 weights and inputs for each product; "pure" keeps
            weights, adapters, gradients and moments in the type of the products.
        logits: "chunked": a chunk of tokens at a time; "whole": for all tokens, in float32;
            "chunked-16": all in 16 bits, a chunk of them in float32 (torchtune).
        attention: "fused" (SDPA, flash), or "eager" with a matrix of scores for each head.
        is_compiled: float32 copies inside the norms are computed again, not kept (torch.compile).
        is_double_quantized: the scales of 4-bit weights are quantized too.
        keeps_inputs: of quantized layers (bitsandbytes: of 8-bit ones, up to 0.41 of 4-bit ones).
        steps_in_backward: each gradient is used and freed at once (torchtune).
        is_offloading: inputs of checkpointed layers wait in the host's memory (torchtune).
        has_cuda_context: the figure contains the card's context; torch's own counter does not.
    """

    casting: Literal["autocast", "pure"] = "autocast"
    logits: Literal["chunked", "chunked-16", "whole"] = "chunked"
    attention: Literal["fused", "eager"] = "fused"
    is_compiled: bool = False
    is_double_quantized: bool = True
    keeps_inputs: bool = False
    steps_in_backward: bool = False
    is_offloading: bool = False
    has_cuda_context: bool = True


HANLIN = Program()


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
        accumulates: a step has more than one micro-batch in each process.
        adapted: linear layers of a decoder layer that have an adapter.
        on_host: what ZeRO keeps in the host's memory: the moments and the update ("optimizer"), or
            the weights as well ("all").
        on_gpu: in a card's memory, not the host's.
        has_reference: the model as it was is held beside it (DPO of all weights).
        program: whose.
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
    accumulates: bool = True
    adapted: tuple[str, ...] = ALL_LINEAR
    on_host: Literal["none", "optimizer", "all"] = "none"
    on_gpu: bool = False
    has_reference: bool = False
    program: Program = field(default=HANLIN)

    @property
    def tokens(self) -> int:
        """Return the tokens of a micro-batch of one process."""
        return self.rows * self.seq_len

    @property
    def is_pure(self) -> bool:
        """Tell whether weights have the type of the products, without autocast."""
        return self.program.casting == "pure" and self.precision != "fp32"


@dataclass(frozen=True)
class Memory:
    """Bytes at the peak of a step, in one process.

    Attributes:
        weights: of the model and, where there is one, the adapter.
        weight_copies: 16-bit copies of float32 weights that autocast keeps through a step.
        gradients: those that are there at the peak.
        optimizer: Adam's two moments.
        activations: kept for the way back.
        logits: of a chunk of tokens, and the gradients that are made from them.
        workspace: the largest quantized layer in 16 bits; with ZeRO 3 two whole layers.
        process: interpreter, libraries, buffers; on a card its context.
    """

    weights: int
    weight_copies: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    workspace: int
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
    trained, is_full = trained_parameters(info, training), training.method == "full"
    stage, shards = training.zero_stage, training.processes
    weights = base_bytes(
        info,
        method="lora" if is_full and training.is_pure else training.method,
        precision=training.precision,
        is_double_quantized=training.program.is_double_quantized,
    )
    width = 2 if training.is_pure else 4
    weights += 0 if is_full else width * trained
    weights += 4 * info.parameters if training.has_reference else 0
    is_copied = is_full and training.precision != "fp32" and not training.is_pure
    copies = 2 * (info.parameters - input_embeddings(info)) if is_copied else 0
    fixed = {
        "weights": _share(weights, shards if stage >= 3 else 1),
        "weight_copies": _share(copies, shards if stage >= 3 else 1),
        "optimizer": _share(ADAM_BYTES[training.optimizer] * trained, shards if stage else 1),
        "workspace": _workspace(info, training),
        "process": _process(training),
    }
    if training.on_host != "none":
        fixed["optimizer"] = 0
    if training.on_host == "all":
        fixed |= {"weights": 0, "weight_copies": 0}
    moments = [
        Memory(**fixed, **{name: math.ceil(size) for name, size in moment.items()})
        for moment in _moments(
            info, training, gradients=_share(width * trained, _grad_shards(training))
        )
    ]
    return max(moments, key=lambda moment: moment.total)


def _moments(info: ModelInfo, training: Training, *, gradients: int) -> list[Mapping[str, float]]:
    """Return gradients, activations and logits at the loss, on the way back, and at the step."""
    program, tokens = training.program, training.tokens
    layer = tokens * layer_bytes(info, training)
    inputs = 0 if program.is_offloading else tokens * info.layers * residual_bytes(info, training)
    at_loss = inputs if training.is_recomputing else info.layers * layer
    is_sent = training.on_host != "none" and training.zero_stage >= 2  # at once, to the host
    gradients = 0 if is_sent or program.steps_in_backward else gradients
    earlier = gradients if training.accumulates else 0
    return [
        {"gradients": earlier, "activations": at_loss, "logits": logit_bytes(info, training)},
        {
            "gradients": earlier,
            "activations": inputs + layer if training.is_recomputing else at_loss,
            "logits": _head_gradient(info, training),
        },
        {"gradients": gradients, "activations": layer, "logits": 0},
    ]


def base_bytes(
    info: ModelInfo, *, method: str, precision: Precision, is_double_quantized: bool = True
) -> int:
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
    linear = linear_parameters(info)
    rest = width * (info.parameters - linear)
    if method == "int8":
        outputs = info.layers * (
            (info.heads + 2 * info.kv_heads) * info.head_size
            + 2 * info.hidden_size
            + 2 * info.intermediate_size
        )
        return linear + 4 * outputs + rest
    each = NF4_BYTES if is_double_quantized else NF4_SINGLE_BYTES
    return math.ceil(each * linear) + rest


def linear_parameters(info: ModelInfo) -> int:
    """Return the parameters of the decoder layers' linear layers."""
    return info.parameters - info.embedding_parameters - (2 * info.layers + 1) * info.hidden_size


def activation_bytes(info: ModelInfo, training: Training) -> int:
    """Return the bytes of activations that are kept from the way forward to the way back.

    With gradient checkpointing: the input of each layer, and one layer at a time the rest.
    """
    each = layer_bytes(info, training)
    if not training.is_recomputing:
        return training.tokens * info.layers * each
    return training.tokens * (info.layers * residual_bytes(info, training) + each)


def residual_bytes(info: ModelInfo, training: Training) -> int:
    """Return the bytes of one token in the residual stream."""
    is_narrow = training.precision != "fp32" and (training.is_pure or training.method != "full")
    return (2 if is_narrow else 4) * info.hidden_size


def layer_bytes(info: ModelInfo, training: Training) -> int:
    """Return the bytes that one decoder layer keeps for one token."""
    scores = 0
    if training.program.attention == "eager":  # the softmax in float32, and its copy in 16 bits
        scores = (4 + (2 if training.precision != "fp32" else 0)) * info.heads * training.seq_len
    return scores + (
        _pure_layer_bytes(info, training)
        if training.is_pure
        else _autocast_layer_bytes(info, training)
    )


def _autocast_layer_bytes(info: ModelInfo, training: Training) -> int:
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
    return each + width * training.seq_len  # the mask between documents, converted by each layer


def _pure_layer_bytes(info: ModelInfo, training: Training) -> int:
    """Return the same without autocast: an input is kept once, and only where it is needed.

    A frozen linear layer needs none of its inputs; one with an adapter, or one whose weights are
    trained, does. A norm keeps its input in float32 (compiled: in 16 bits), and its output before
    the weight where that is trained.
    """
    program, is_full = training.program, training.method == "full"
    adapted = set(ALL_LINEAR) if is_full or program.keeps_inputs else set(training.adapted)
    hidden, attention = info.hidden_size, info.heads * info.head_size
    norms = 2 * (2 if program.is_compiled else 4) * hidden
    norms += 2 * 2 * hidden if is_full and not program.is_compiled else 0
    inputs = hidden * (bool(adapted & {"q", "k", "v"}) + bool(adapted & {"gate", "up"}))
    feed_forward = (3 + ("down" in adapted)) * info.intermediate_size
    ranks = 0 if is_full else training.rank * len(training.adapted)
    scalars = 4 * (info.heads + 2)  # of the softmax and the norms
    return norms + 2 * (inputs + 4 * attention + feed_forward + ranks) + scalars


def logit_bytes(info: ModelInfo, training: Training) -> int:
    """Return the bytes of logits and of what is made from them at the loss."""
    logits = training.tokens * info.vocab_size
    if training.program.logits == "whole":
        size = LOGIT_BYTES * logits
    elif training.program.logits == "chunked-16":
        size = 2 * logits + 4 * logits // CHUNKS
    else:
        size = min(LOGIT_CHUNK_BYTES, LOGIT_BYTES * logits) + 4 * training.tokens * info.hidden_size
    return size + _head_gradient(info, training)


def _head_gradient(info: ModelInfo, training: Training) -> int:
    """Return the bytes of the first gradient that is made, lm_head's."""
    if training.method != "full":
        return 0
    return (2 if training.is_pure else 4) * info.vocab_size * info.hidden_size


def adapter_parameters(
    info: ModelInfo,
    *,
    rank: int,
    grown_rows: int = 0,
    adapted: tuple[str, ...] = ALL_LINEAR,
) -> int:
    """Return the parameters of an adapter on some linear layers, and of the rows beside it."""
    hidden, wide = info.hidden_size, info.intermediate_size
    query, key_value = info.heads * info.head_size, info.kv_heads * info.head_size
    sides = {
        "q": hidden + query, "k": hidden + key_value, "v": hidden + key_value, "o": query + hidden,
        "gate": hidden + wide, "up": hidden + wide, "down": wide + hidden,
    }  # fmt: skip
    rows = grown_rows * hidden * (1 if info.is_tied else 2)
    return rank * sum(sides[name] for name in adapted) * info.layers + rows


def input_embeddings(info: ModelInfo) -> int:
    """Return the parameters that are looked up, not multiplied with."""
    return 0 if info.is_tied else info.embedding_parameters // 2


def trained_parameters(info: ModelInfo, training: Training) -> int:
    """Return how many parameters get a gradient."""
    if training.trained_parameters is not None:
        return training.trained_parameters
    if training.method == "full":
        return info.parameters
    return adapter_parameters(info, rank=training.rank, adapted=training.adapted)


def _grad_shards(training: Training) -> int:
    return training.processes if training.zero_stage >= 2 else 1


def _workspace(info: ModelInfo, training: Training) -> int:
    if training.zero_stage == 3:  # a layer that was gathered, and the next
        return 2 * 2 * linear_parameters(info) // info.layers
    return 2 * info.hidden_size * info.intermediate_size if training.method in QUANTIZED else 0


def _process(training: Training) -> int:
    if not training.on_gpu:
        return PROCESS_BYTES
    return CUDA_BYTES if training.program.has_cuda_context else 0


def _share(size: float, shards: int) -> int:
    return math.ceil(size / shards)
