"""What does llama.cpp want to know of a LLaMA, Mistral or Qwen: settings, tensors, positions?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hanlin.core.errors import InputError
from hanlin.models.grow_checks import EMBEDDINGS, LM_HEAD
from hanlin.models.info import ModelInfo, describe, read_config
from hanlin.models.tensors import FLOATS, TensorSpec
from hanlin.weights.llama import LAYER_PARTS, NORM, ROTATED, number, rope_settings

# Model type of transformers -> architecture of llama.cpp. A Mistral is a LLaMA for it.
ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
DEFAULT_EPSILON = 1e-6  # of transformers
DEFAULT_WINDOW = {"mistral": 4096}  # of transformers, where config.json does not name one
OTHER_PROGRAM = "use convert_hf_to_gguf.py of llama.cpp"
# Matrices that may have a bias for llama.cpp; of a LLaMA all may.
BIASES = {"qwen2": ("q_proj", "k_proj", "v_proj"), "qwen3": ()}
ROPE_FREQS = "rope_freqs.weight"
ROPE_KEYS = {  # types of rotary positions, and the numbers that each needs
    "default": (),
    "linear": ("factor",),
    "yarn": ("factor",),
    "llama3": (
        "factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Architecture:
    """The shape of a model in llama.cpp's terms.

    Attributes:
        folder: of the model, for messages.
        name: llama.cpp's name of it.
        info: numbers of layers, heads, ...
        config: the content of `config.json`.
        window: attention sees this many tokens; None for all.
    """

    folder: Path
    name: str
    info: ModelInfo
    config: dict[str, Any]
    window: int | None

    @property
    def context_length(self) -> int:
        """Return the longest context in which llama.cpp computes what transformers computes.

        For these architectures it knows no sliding window: a longer context would attend to more.
        """
        longest = int(self.info.max_length)
        return min(longest, self.window) if self.window else longest

    @property
    def rope(self) -> dict[str, Any]:
        """Return the rotary settings."""
        return rope_settings(self.config, name=str(self.folder / "config.json"))

    def rotated_rows(self, tensor: str) -> int | None:
        """Return the rows of a head, where llama.cpp wants them in Meta's order; else None.

        For LLaMA it rotates neighbors, as Meta does. For Qwen it rotates the first half of a head
        against the second, as transformers does.
        """
        part = tensor.rpartition(".")[0]
        is_rotated = self.name == "llama" and part.endswith(ROTATED)
        return self.info.head_size if is_rotated else None


def read_architecture(folder: Path) -> Architecture:
    """Return the architecture of a model folder.

    Raises:
        InputError: llama.cpp would not compute what it computes, or a number is missing.
    """
    config = read_config(folder)
    kind, name = str(config.get("model_type")), str(folder / "config.json")
    if kind not in ARCHITECTURES:
        raise InputError(
            f"{folder} is of the type {kind!r}",
            why=f"the GGUF export knows the names and shapes of {', '.join(ARCHITECTURES)}",
            fix=f"{OTHER_PROGRAM} for other models",
        )
    info = describe(config, name=name)
    number(config, "max_position_embeddings", name=name)
    number({"rms_norm_eps": DEFAULT_EPSILON} | config, "rms_norm_eps", name=name)
    found = Architecture(
        folder, ARCHITECTURES[kind], info, config, _window(config, kind, name=name)
    )
    _check_rope(found)
    return found


def _check_rope(architecture: Architecture) -> None:
    folder, kind = architecture.folder, architecture.rope["rope_type"]
    if kind not in ROPE_KEYS:
        raise InputError(
            f"{folder} has rotary positions of the type {kind!r}",
            why=f"the GGUF export writes these types: {', '.join(ROPE_KEYS)}",
            fix=OTHER_PROGRAM,
        )
    for key in ROPE_KEYS[kind]:
        if key not in architecture.rope:
            raise InputError(
                f"{folder}/config.json has rotary positions of the type {kind!r} without {key!r}",
                why="they cannot be computed without it",
                fix="copy or download config.json again",
            )


def _window(config: dict[str, Any], kind: str, *, name: str) -> int | None:
    if kind.startswith("qwen") and not config.get("use_sliding_window"):
        return None
    window = config.get("sliding_window", DEFAULT_WINDOW.get(kind))
    return int(number({"sliding_window": window}, "sliding_window", name=name)) if window else None


def check_tensors(architecture: Architecture, specs: dict[str, TensorSpec]) -> None:
    """Refuse a checkpoint that lacks a tensor, or has one of a shape that its config denies.

    Raises:
        InputError: as said.
    """
    missing = sorted(set(_required(architecture)) - specs.keys())
    if missing:
        raise InputError(
            f"{architecture.folder} lacks {len(missing)} of its tensors, first {missing[0]!r}",
            why="config.json says that the model has them",
            fix="copy or download the model again",
        )
    info = architecture.info
    sizes = (info.heads * info.head_size, info.kv_heads * info.head_size)
    rows = dict(zip(ROTATED, sizes, strict=True))
    for spec in specs.values():
        wanted = rows.get(".".join(spec.name.split(".")[-3:-1]))
        if wanted is not None and spec.shape[0] != wanted:
            raise InputError(
                f"{spec.name!r} has {spec.shape[0]} rows, config.json says {wanted}",
                why="heads times the size of a head must be the rows",
                fix="copy config.json and the weights from the same model",
            )


def _required(architecture: Architecture) -> Iterator[str]:
    yield from (EMBEDDINGS, NORM)
    if not architecture.info.is_tied:
        yield LM_HEAD
    for layer in range(architecture.info.layers):
        yield from (f"model.layers.{layer}.{part}.weight" for part in LAYER_PARTS)


def gguf_name(architecture: Architecture, names: Any, spec: TensorSpec) -> str:  # noqa: ANN401
    """Return llama.cpp's name of a tensor; `names` is a `gguf.TensorNameMap`.

    Raises:
        InputError: it has none, or the tensor is no float.
    """
    name = names.get_name(spec.name, try_suffixes=(".weight", ".bias"))
    if name is None or spec.dtype not in FLOATS or not _is_added(architecture, spec.name):
        raise InputError(
            f"cannot write the tensor {spec.name!r} ({spec.dtype}) as GGUF",
            why=f"llama.cpp knows no such float tensor of a {architecture.name}",
            fix="give the plain float model: merge adapters first, undo quantization",
        )
    return str(name)


def _is_added(architecture: Architecture, name: str) -> bool:
    """Tell whether llama.cpp adds a bias; True for what is none."""
    biases = BIASES.get(architecture.name)
    return biases is None or not name.endswith(".bias") or name.split(".")[-2] in biases


def add_settings(writer: Any, architecture: Architecture, *, vocab_size: int) -> None:  # noqa: ANN401
    """Write the shape of a model into a `gguf.GGUFWriter`."""
    info = architecture.info
    writer.add_vocab_size(vocab_size)
    writer.add_context_length(architecture.context_length)
    writer.add_embedding_length(info.hidden_size)
    writer.add_block_count(info.layers)
    writer.add_feed_forward_length(info.intermediate_size)
    writer.add_head_count(info.heads)
    writer.add_head_count_kv(info.kv_heads)
    writer.add_key_length(info.head_size)
    writer.add_value_length(info.head_size)
    writer.add_layer_norm_rms_eps(architecture.config.get("rms_norm_eps", DEFAULT_EPSILON))
    if architecture.window:
        writer.add_sliding_window(architecture.window)
    _add_rope(writer, architecture)


def _add_rope(writer: Any, architecture: Architecture) -> None:  # noqa: ANN401
    from gguf import RopeScalingType

    rope = architecture.rope
    writer.add_rope_dimension_count(architecture.info.head_size)
    writer.add_rope_freq_base(float(rope["rope_theta"]))
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(float(rope["factor"]))
    if rope["rope_type"] == "yarn":
        _add_yarn(writer, rope, longest=architecture.info.max_length)


def _add_yarn(writer: Any, rope: dict[str, Any], *, longest: int) -> None:  # noqa: ANN401
    """Write the settings of YaRN (Peng et al. 2023, https://arxiv.org/abs/2309.00071)."""
    from gguf import RopeScalingType

    factor = float(rope["factor"])
    writer.add_rope_scaling_type(RopeScalingType.YARN)
    writer.add_rope_scaling_factor(factor)
    original = rope.get("original_max_position_embeddings") or longest
    writer.add_rope_scaling_orig_ctx_len(int(original))
    writer.add_rope_scaling_yarn_beta_fast(float(rope.get("beta_fast") or 32))
    writer.add_rope_scaling_yarn_beta_slow(float(rope.get("beta_slow") or 1))
    if rope.get("attention_factor"):
        # llama.cpp multiplies by what the paper says; transformers takes the number as it is.
        usual = 0.1 * math.log(factor) + 1.0
        writer.add_rope_scaling_attn_factors(float(rope["attention_factor"]) / usual)


def rope_divisors(architecture: Architecture) -> list[float] | None:
    """Return what LLaMA 3.1 divides each rotary frequency by; None for other models.

    Low frequencies are divided by `factor`, high ones are left alone, in between it is blended
    (Meta, https://github.com/meta-llama/llama-models, `apply_scaling`, 2024).
    """
    rope = architecture.rope
    if rope["rope_type"] != "llama3":
        return None
    size, theta = architecture.info.head_size, float(rope["rope_theta"])
    factor, old_length = float(rope["factor"]), rope["original_max_position_embeddings"]
    low, high = float(rope["low_freq_factor"]), float(rope["high_freq_factor"])
    divisors = []
    for index in range(0, size, 2):
        turns = old_length / (2 * math.pi * theta ** (index / size))  # within the old context
        share = min(max((turns - low) / (high - low), 0.0), 1.0)
        divisors.append(1.0 / ((1.0 - share) / factor + share))
    return divisors
