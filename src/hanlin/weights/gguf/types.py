"""Which ways to store a model does GGUF have, and which one does each tensor get?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hanlin.core.errors import ConfigError
from hanlin.core.registry import did_you_mean


@dataclass(frozen=True)
class Kind:
    """A way to store a model.

    Attributes:
        quantization: the gguf package's name of how most matrices are stored.
        file_type: its name of the whole mixture.
        bits: for each weight of a matrix; of the mixtures that llama.cpp makes, the mean over an
            8B LLaMA 3.1 (llama.cpp, tools/quantize/README.md).
    """

    quantization: str
    file_type: str
    bits: float


# Written by ourselves, tensor by tensor.
SIMPLE_TYPES = {
    "f32": Kind("F32", "ALL_F32", 32),
    "f16": Kind("F16", "MOSTLY_F16", 16),
    "bf16": Kind("BF16", "MOSTLY_BF16", 16),
    "q8_0": Kind("Q8_0", "MOSTLY_Q8_0", 8.5),
    "q5_1": Kind("Q5_1", "MOSTLY_Q5_1", 6),
    "q5_0": Kind("Q5_0", "MOSTLY_Q5_0", 5.5),
    "q4_1": Kind("Q4_1", "MOSTLY_Q4_1", 5),
    "q4_0": Kind("Q4_0", "MOSTLY_Q4_0", 4.5),
}
# Mixtures of several types, made by llama.cpp's own quantizer.
MIXED_TYPES = {
    "q6_k": Kind("Q6_K", "MOSTLY_Q6_K", 6.56),
    "q5_k_m": Kind("Q5_K", "MOSTLY_Q5_K_M", 5.7),
    "q5_k_s": Kind("Q5_K", "MOSTLY_Q5_K_S", 5.57),
    "q4_k_m": Kind("Q4_K", "MOSTLY_Q4_K_M", 4.89),
    "q4_k_s": Kind("Q4_K", "MOSTLY_Q4_K_S", 4.67),
    "iq4_nl": Kind("IQ4_NL", "MOSTLY_IQ4_NL", 4.68),
    "iq4_xs": Kind("IQ4_XS", "MOSTLY_IQ4_XS", 4.46),
    "q3_k_l": Kind("Q3_K", "MOSTLY_Q3_K_L", 4.3),
    "q3_k_m": Kind("Q3_K", "MOSTLY_Q3_K_M", 4),
    "q3_k_s": Kind("Q3_K", "MOSTLY_Q3_K_S", 3.64),
    "q2_k": Kind("Q2_K", "MOSTLY_Q2_K", 3.16),
}
TYPES = SIMPLE_TYPES | MIXED_TYPES
# llama.cpp's own files never have fewer bits here: every probability passes through this matrix.
OUTPUT_QUANTIZATION, OUTPUT_BITS = "Q8_0", 8


def check_type(type: str) -> None:
    """Refuse an unknown type.

    Raises:
        ConfigError: it is none of `TYPES`.
    """
    if type not in TYPES:
        known = f"known types: {', '.join(TYPES)}"
        raise ConfigError(
            f"unknown GGUF type {type!r}",
            why=known,
            fix=did_you_mean(type, TYPES) or "take one of them, for example q8_0 or q4_k_m",
        )


def tensor_quantization(
    gguf: Any,  # noqa: ANN401 - the module
    type: str,
    *,
    shape: Sequence[int],
    is_output: bool,
) -> Any:  # noqa: ANN401 - a gguf.GGMLQuantizationType
    """Return how one tensor is stored in a file of a simple type.

    Vectors are float32. The matrix that gives the logits has at least 8 bits. Rows that cannot be
    cut into blocks of 32 stay f16.

    Args:
        gguf: the gguf package.
        type: one of `SIMPLE_TYPES`.
        shape: of the tensor, rows first.
        is_output: it is lm_head, or the embeddings of a tied model.
    """
    kinds, kind = gguf.GGMLQuantizationType, SIMPLE_TYPES[type]
    if len(shape) == 1:
        return kinds.F32
    name = OUTPUT_QUANTIZATION if is_output and kind.bits < OUTPUT_BITS else kind.quantization
    block_size, _ = gguf.GGML_QUANT_SIZES[kinds[name]]
    return kinds[name] if shape[-1] % block_size == 0 else kinds.F16
