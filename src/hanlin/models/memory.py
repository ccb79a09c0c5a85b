"""How much memory does training a model take, roughly? For the estimates of stages."""

from __future__ import annotations

from hanlin.models.info import ModelInfo

ADAM_BYTES = 8  # two float32 moments for each trained parameter
GRADIENT_BYTES = 4
LOGIT_BYTES = 12  # float32 logits, their log-softmax and the gradient
PROCESS_BYTES = 600_000_000  # torch and transformers loaded: 0.41 GB measured, plus buffers


def training_bytes(
    info: ModelInfo,
    *,
    tokens: int,
    seq_len: int,
    trained_parameters: int | None = None,
    weight_bytes: int = 4,
) -> int:
    """Estimate the peak memory of one process that trains, in bytes.

    Weights, gradients, Adam's moments, and activations by Korthikanti et al. 2022
    (https://arxiv.org/abs/2205.05198): for each token and layer 34 hidden values and 5 heads x
    seq_len attention scores, counted there in 16-bit bytes and here at `weight_bytes`; without
    recomputation.

    Args:
        info: the model's shape.
        tokens: of one micro batch, padding included.
        seq_len: length of one row.
        trained_parameters: None: all of them.
        weight_bytes: bytes of one weight and of one activation.
    """
    trained = info.parameters if trained_parameters is None else trained_parameters
    states = info.parameters * weight_bytes + trained * (GRADIENT_BYTES + ADAM_BYTES)
    per_layer = (34 * info.hidden_size + 5 * info.heads * seq_len) * weight_bytes // 2
    activations = tokens * info.layers * per_layer
    logits = tokens * info.vocab_size * LOGIT_BYTES
    return PROCESS_BYTES + states + activations + logits
