"""What is a LLaMA called by Meta and by transformers: settings, tensor names, order of rows?

Sources: Meta's `llama-models` (model.py, args.py), transformers' LlamaConfig. Letters of shapes:
R rows, C columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hanlin.core.errors import InputError
from hanlin.models.grow_checks import EMBEDDINGS, LM_HEAD
from hanlin.models.info import describe
from hanlin.models.tensors import TensorSpec

if TYPE_CHECKING:
    import torch

NORM = "model.norm.weight"
# Part of a layer, by transformers -> by Meta, in the order of transformers' files.
LAYER_PARTS = {
    "input_layernorm": "attention_norm",
    "self_attn.q_proj": "attention.wq",
    "self_attn.k_proj": "attention.wk",
    "self_attn.v_proj": "attention.wv",
    "self_attn.o_proj": "attention.wo",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "feed_forward.w1",
    "mlp.down_proj": "feed_forward.w2",
    "mlp.up_proj": "feed_forward.w3",
}
ROTATED = ("self_attn.q_proj", "self_attn.k_proj")  # rows in another order with Meta
MOST = 2**31  # what a file has room for, and more than any model has
ROPE_NUMBERS = {"rope_theta", "factor", "low_freq_factor", "high_freq_factor"}
MULTIPLES = (256, 1024, 4096, 512, 128, 64, 32, 16, 8, 4, 2, 1)  # Meta's own first
MULTIPLIERS = (None, 1.3, 1.5, 1.0)  # LLaMA-2 70B and LLaMA-3 have 1.3, LLaMA-3.2 1B has 1.5
# The scaling of LLaMA-3.1, whose numbers are written into Meta's code.
LOW, HIGH, ORIGINAL_LENGTH, FACTOR, FACTOR_OF_SMALL = 1.0, 4.0, 8192, 8.0, 32.0


@dataclass(frozen=True)
class Llama:
    """The settings of a LLaMA, as both layouts need them.

    Attributes:
        hidden_size: width of the residual stream.
        layers: decoder layers.
        heads: attention heads.
        kv_heads: key and value heads.
        intermediate_size: width of the feed-forward layer.
        vocab_size: rows of the embeddings.
        epsilon: of the norms.
        theta: base of the rotary positions.
        scale: factor of the rotary scaling of LLaMA-3.1, None where there is none.
        max_length: longest sequence, in tokens.
        is_tied: embeddings and lm_head are one matrix.
    """

    hidden_size: int
    layers: int
    heads: int
    kv_heads: int
    intermediate_size: int
    vocab_size: int
    epsilon: float
    theta: float
    scale: float | None
    max_length: int
    is_tied: bool

    @property
    def head_size(self) -> int:
        """Return the width of one head."""
        return self.hidden_size // self.heads

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every tensor by its transformers name, in the order of the files."""
        wide, hidden = self.intermediate_size, self.hidden_size
        keys = self.kv_heads * self.head_size
        parts = {
            "self_attn.q_proj": (hidden, hidden), "self_attn.k_proj": (keys, hidden),
            "self_attn.v_proj": (keys, hidden), "self_attn.o_proj": (hidden, hidden),
            "mlp.gate_proj": (wide, hidden), "mlp.down_proj": (hidden, wide),
            "mlp.up_proj": (wide, hidden),
        }  # fmt: skip
        shapes: dict[str, tuple[int, ...]] = {EMBEDDINGS: (self.vocab_size, hidden)}
        for layer in range(self.layers):
            for part in LAYER_PARTS:
                shapes[f"model.layers.{layer}.{part}.weight"] = parts.get(part, (hidden,))
        shapes[NORM] = (hidden,)
        if not self.is_tied:
            shapes[LM_HEAD] = (self.vocab_size, hidden)
        return shapes


def meta_name(name: str) -> str:
    """Return what Meta calls a tensor of transformers' LLaMA."""
    whole = {EMBEDDINGS: "tok_embeddings.weight", NORM: "norm.weight", LM_HEAD: "output.weight"}
    if name in whole:
        return whole[name]
    _, _, layer, part = name.removesuffix(".weight").split(".", 3)
    return f"layers.{layer}.{LAYER_PARTS[part]}.weight"


def is_rotated(name: str) -> bool:
    """Tell whether the rows of a tensor (by its transformers name) differ in order."""
    return name.removesuffix(".weight").endswith(ROTATED)


def to_halves(blocks: Iterable[torch.Tensor], head_size: int) -> Iterator[torch.Tensor]:
    """Turn rows from Meta's order into transformers', block by block.

    Meta rotates neighbors (rows 2i and 2i+1 of a head), transformers the first half of a head
    against the second.
    """
    for block_RC in _whole_heads(blocks, head_size):
        split = block_RC.view(-1, head_size // 2, 2, block_RC.shape[1])
        yield split.transpose(1, 2).reshape(block_RC.shape)


def to_neighbors(blocks: Iterable[torch.Tensor], head_size: int) -> Iterator[torch.Tensor]:
    """Turn rows from transformers' order into Meta's, block by block; undoes `to_halves`."""
    for block_RC in _whole_heads(blocks, head_size):
        split = block_RC.view(-1, 2, head_size // 2, block_RC.shape[1])
        yield split.transpose(1, 2).reshape(block_RC.shape)


def _whole_heads(blocks: Iterable[torch.Tensor], head_size: int) -> Iterator[torch.Tensor]:
    """Cut blocks of rows anew, so that none ends within a head."""
    import torch

    left: torch.Tensor | None = None
    for block in blocks:
        joined = block if left is None else torch.cat([left, block])
        whole = len(joined) // head_size * head_size
        if whole:
            yield joined[:whole]
        left = joined[whole:] if whole < len(joined) else None
    assert left is None, "the rows are no whole heads"


def llama_of_config(config: dict[str, Any], *, name: str) -> Llama:
    """Read transformers' settings of a model that Meta's layout can hold.

    Args:
        config: the content of `config.json`.
        name: the file, for the messages.

    Raises:
        InputError: the model is something else than a plain LLaMA.
    """
    if config.get("model_type") != "llama":
        raise InputError(
            f"{name}: a model of the type {config.get('model_type')!r} has no Meta layout",
            why="consolidated.NN.pth and params.json are the layout of LLaMA models",
            fix="give a LLaMA; --to hf works for every type of model",
        )
    info, rope = describe(config, name=name), rope_settings(config, name=name)
    model = Llama(
        hidden_size=info.hidden_size,
        layers=info.layers,
        heads=info.heads,
        kv_heads=info.kv_heads,
        intermediate_size=info.intermediate_size,
        vocab_size=info.vocab_size,
        epsilon=number(config, "rms_norm_eps", name=name),
        theta=float(rope["rope_theta"]),
        scale=_scale(rope, name=name),
        max_length=int(number(config, "max_position_embeddings", name=name)),
        is_tied=info.is_tied,
    )
    _refuse_variants(config, model, name=name)
    return model


def rope_settings(config: dict[str, Any], *, name: str) -> dict[str, Any]:
    """Return the rotary settings of a `config.json`, of transformers 5 or of the older two keys.

    Raises:
        InputError: they are of another type than transformers writes.
    """
    parts = [config.get(key) or {} for key in ("rope_scaling", "rope_parameters")]
    for key, part in zip(("rope_scaling", "rope_parameters"), parts, strict=True):
        if not isinstance(part, dict):
            raise _damaged(f"{name}: {key} is {part!r}", "it must be a table of names and values")
    old, new = parts
    kind = old.get("rope_type", old.get("type", "default"))
    base = {"rope_theta": config.get("rope_theta", 10_000.0), **old, "rope_type": kind}
    rope = {**base, **new}
    for key in ROPE_NUMBERS & rope.keys():
        number(rope, key, name=name)
    return rope


def number(settings: Mapping[str, Any], key: str, *, name: str) -> float:
    """Return a number above 0 of a `config.json`; `name` is for the message.

    Raises:
        InputError: it is missing or something else.
    """
    value = settings.get(key)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < MOST:
        return value
    raise _damaged(
        f"{name}: {key} is {value!r}", "it must be a number above 0, and not of billions"
    )


def _damaged(what: str, why: str) -> InputError:
    return InputError(what, why=why, fix="copy or download config.json again")


def _scale(rope: dict[str, Any], *, name: str) -> float | None:
    if rope["rope_type"] == "default":
        return None
    written = {
        "rope_type": "llama3", "low_freq_factor": LOW, "high_freq_factor": HIGH,
        "original_max_position_embeddings": ORIGINAL_LENGTH,
    }  # fmt: skip
    for key, value in written.items():
        if rope.get(key) != value:
            raise InputError(
                f"{name}: rotary positions with {key} {rope.get(key)!r} have no Meta layout",
                why=f"Meta's code knows the scaling of LLaMA-3.1 only: {key} {value!r}",
                fix="keep this model in the Hugging Face layout",
            )
    return float(rope["factor"])


def _refuse_variants(config: dict[str, Any], model: Llama, *, name: str) -> None:
    """Refuse what `params.json` has no words for."""
    activation = config.get("hidden_act", "silu")
    head_size = config.get("head_dim") or model.head_size
    variants = {
        f"hidden_act {activation!r}": activation != "silu",
        "attention_bias": config.get("attention_bias"),
        "mlp_bias": config.get("mlp_bias"),
        f"head_dim {head_size}": head_size * model.heads != model.hidden_size,
    }
    for variant, is_there in variants.items():
        if is_there:
            raise InputError(
                f"{name}: a model with {variant} has no Meta layout",
                why="Meta's code has silu, no biases, and heads of hidden_size / heads",
                fix="keep this model in the Hugging Face layout",
            )


def config_of_llama(model: Llama, *, dtype: str) -> dict[str, Any]:
    """Return the content of a `config.json`, without the ids of special tokens.

    Args:
        model: the settings.
        dtype: torch's name, for example "float16".
    """
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": model.theta}
    if model.scale is not None:
        rope |= {
            "rope_type": "llama3", "factor": model.scale, "low_freq_factor": LOW,
            "high_freq_factor": HIGH, "original_max_position_embeddings": ORIGINAL_LENGTH,
        }  # fmt: skip
    scaling = {key: value for key, value in rope.items() if key != "rope_theta"}
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "dtype": dtype,
        "head_dim": model.head_size,
        "hidden_act": "silu",
        "hidden_size": model.hidden_size,
        "initializer_range": 0.02,
        "intermediate_size": model.intermediate_size,
        "max_position_embeddings": model.max_length,
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": model.heads,
        "num_hidden_layers": model.layers,
        "num_key_value_heads": model.kv_heads,
        "pretraining_tp": 1,
        "rms_norm_eps": model.epsilon,
        "rope_parameters": rope,
        # The names before transformers 5, which other programs read.
        "rope_scaling": scaling if model.scale is not None else None,
        "rope_theta": model.theta,
        "tie_word_embeddings": model.is_tied,
        "torch_dtype": dtype,
        "use_cache": True,
        "vocab_size": model.vocab_size,
    }


def params_of_llama(model: Llama) -> dict[str, Any]:
    """Return the content of a `params.json`."""
    multiple_of, multiplier = _feed_forward(model)
    params: dict[str, Any] = {
        "dim": model.hidden_size,
        "n_layers": model.layers,
        "n_heads": model.heads,
        "n_kv_heads": model.kv_heads,
        "vocab_size": model.vocab_size,
        "multiple_of": multiple_of,
        "ffn_dim_multiplier": multiplier,
        "norm_eps": model.epsilon,
        "rope_theta": model.theta,
        "use_scaled_rope": True if model.scale is not None else None,
        # Not in Meta's own files; its code passes over names that it does not know.
        "rope_scaling_factor": model.scale,
    }
    usual = {"n_kv_heads": model.heads, "rope_theta": 10_000.0, "rope_scaling_factor": FACTOR}
    # The code of LLaMA-1 and 2 knows only some of the names: what is as usual is left out.
    return {k: v for k, v in params.items() if v is not None and v != usual.get(k)}


def _feed_forward(model: Llama) -> tuple[int, float | None]:
    """Return `multiple_of` and `ffn_dim_multiplier` that make Meta's code come to the same width.

    There are many for each width; of those, the ones that Meta uses come first.
    """
    wanted, hidden = model.intermediate_size, model.hidden_size
    exact = (wanted + 0.5) / int(8 * hidden / 3)  # in the middle, where rounding cannot move it
    for multiplier in (*MULTIPLIERS, exact):
        for multiple_of in MULTIPLES:
            if feed_forward_size(hidden, multiple_of, multiplier) == wanted:
                return multiple_of, multiplier
    raise AssertionError(f"no params.json makes {wanted} of {hidden}")


def feed_forward_size(hidden_size: int, multiple_of: int, multiplier: float | None) -> int:
    """Return the width that Meta's code computes."""
    size = int(2 * (4 * hidden_size) / 3)
    if multiplier is not None:
        size = int(multiplier * size)
    return -(-size // multiple_of) * multiple_of


def check_shapes(specs: dict[str, TensorSpec], model: Llama, *, where: str) -> None:
    """Refuse tensors that do not belong to the settings.

    Raises:
        InputError: one is missing, unknown, or of another shape.
    """
    expected = model.shapes()
    for name in sorted(expected.keys() ^ specs.keys()):
        is_missing = name in expected
        raise InputError(
            f"{where}: the tensor {name!r} " + ("is missing" if is_missing else "is unknown"),
            why=f"a LLaMA of {model.layers} layers has {len(expected)} tensors, "
            f"{'tied' if model.is_tied else 'untied'}; here are {len(specs)}",
            fix="give a complete, plain LLaMA: merge adapters first, undo quantization",
        )
    for name, shape in expected.items():
        if specs[name].shape != shape:
            raise InputError(
                f"{where}: the tensor {name!r} has the shape {list(specs[name].shape)}, "
                f"not {list(shape)}",
                why="weights and settings do not belong together",
                fix="copy or download both from the same model",
            )
