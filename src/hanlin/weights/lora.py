"""Which tensors does a LoRA adapter change, and how?

Reads PEFT's folder layout (`adapter_config.json`, `adapter_model.safetensors`) without loading a
model. Names in the file, written by peft 0.21, behind the prefix `base_model.model.`:

    MODULE.lora_A.weight [r, in], MODULE.lora_B.weight [out, r]   W + scale * B @ A
    MODULE.token_adapter.trainable_tokens_delta [n, hidden]       rows of W, not differences
    MODULE.weight                                                 all of W (modules_to_save)
    MODULE.base_layer.weight                                      W itself, saved with the adapter
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hanlin.core.errors import InputError
from hanlin.core.files import read_json
from hanlin.models.tensors import FLOATS, Checkpoint, TensorSpec, open_checkpoint

if TYPE_CHECKING:
    import torch

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
LORA_A, LORA_B, ROWS = ".lora_A.weight", ".lora_B.weight", ".token_adapter.trainable_tokens_delta"
BASE_LAYER = re.compile(r"(\.token_adapter)?\.base_layer\.weight$")

# Fields of adapter_config.json that leave `W + scale * B @ A` as it is. Any other field that is set
# may change the formula (use_dora, lora_bias, ...), so it is refused rather than passed over.
HARMLESS = frozenset({
    "alpha_pattern", "auto_mapping", "base_model_name_or_path", "ensure_weight_tying", "eva_config",
    "exclude_modules", "inference_mode", "layers_pattern", "layers_to_transform", "lora_alpha",
    "lora_dropout", "megatron_core", "modules_to_save", "peft_type", "peft_version",
    "qalora_group_size", "r", "rank_pattern", "revision", "runtime_config", "target_modules",
    "task_type", "trainable_token_indices", "use_rslora", "velora_config",
})  # fmt: skip
PLAIN_INITS = (True, False, None, "gaussian", "orthogonal", "eva")  # others move the base weights


@dataclass(frozen=True)
class LowRank:
    """`W + scale * B @ A`; `a` and `b` are names in the adapter's file."""

    a: str
    b: str
    scale: float
    weight: str | None = None  # the W that the adapter brings along, if it does


@dataclass(frozen=True)
class Rows:
    """New values for some rows; `name` is the tensor with them in the adapter's file."""

    name: str
    indices: tuple[int, ...]
    weight: str | None = None


@dataclass(frozen=True)
class Whole:
    """A new tensor in place of the old one."""

    name: str


Change = LowRank | Rows | Whole


@dataclass(frozen=True)
class Adapter:
    """An adapter folder: its config and its (unread) tensors."""

    folder: Path
    config: dict[str, Any]
    tensors: Checkpoint


def open_adapter(folder: Path) -> Adapter:
    """Open an adapter folder.

    Raises:
        InputError: it is no adapter, or of a kind that cannot be merged.
    """
    if not (folder / CONFIG).is_file():
        raise InputError(
            f"{folder} is not an adapter: it has no {CONFIG}",
            why="an adapter folder in the PEFT layout holds " + f"{CONFIG} and {WEIGHTS}",
            fix="give the folder that finetuning with method lora left",
        )
    config = read_json(folder / CONFIG)
    _refuse_unknown_kinds(folder, config)
    return Adapter(folder, config, open_checkpoint(folder, single=WEIGHTS))


def _refuse_unknown_kinds(folder: Path, config: Mapping[str, Any]) -> None:
    if config.get("peft_type") != "LORA":
        raise _cannot_merge(folder, f"it is of the type {config.get('peft_type')!r}, not LORA")
    if config.get("use_dora"):
        raise _cannot_merge(folder, "it is a DoRA adapter, whose magnitudes rescale the weights")
    if config.get("bias", "none") != "none":
        raise _cannot_merge(folder, f"it trains biases (bias: {config['bias']!r})")
    if config.get("init_lora_weights") not in PLAIN_INITS:
        how = config["init_lora_weights"]
        raise _cannot_merge(folder, f"its start ({how!r}) took a part out of the base weights")
    known = HARMLESS | {"bias", "init_lora_weights"}
    unknown = sorted(key for key, value in config.items() if key not in known and value)
    if unknown:
        raise _cannot_merge(folder, f"it sets {', '.join(unknown)}, which may change the formula")


def _cannot_merge(folder: Path, why: str) -> InputError:
    return InputError(
        f"the adapter {folder} cannot be merged",
        why=why,
        fix="merge it with peft (PeftModel.merge_and_unload), or train a plain LoRA adapter",
    )


def plan_changes(
    adapter: Adapter, base: Mapping[str, TensorSpec], *, is_tied: bool
) -> dict[str, Change]:
    """Return, for each base tensor that the adapter changes, how.

    Args:
        adapter: the opened adapter.
        base: the base model's tensors.
        is_tied: embeddings and lm_head are one matrix.

    Raises:
        InputError: a tensor is unknown, has another shape than the base, or is changed twice.
    """
    changes: dict[str, Change] = {}
    for name in sorted(adapter.tensors.specs):
        if name.endswith(LORA_A) or BASE_LAYER.search(name):
            continue  # the change that they are a part of brings them in
        target, change = _change_of(adapter, name)
        if target in changes:
            raise _cannot_merge(adapter.folder, f"{target!r} is changed in two ways")
        if target not in base:
            raise _no_match(
                adapter, f"the adapter changes {target!r}, which the base model does not have"
            )
        _check_shape(adapter, change, base[target])
        changes[target] = change
    _check_pairs(adapter, changes)
    if is_tied:
        _check_tied(adapter, changes)
    return changes


def _change_of(adapter: Adapter, name: str) -> tuple[str, Change]:
    """Return the base tensor that an adapter tensor belongs to, and the change."""
    if not name.startswith(PREFIX):
        raise _cannot_merge(adapter.folder, f"its tensor {name!r} has an unknown name")
    module = name.removeprefix(PREFIX)
    if module.endswith(LORA_B):
        module = module.removesuffix(LORA_B)
        a = f"{PREFIX}{module}{LORA_A}"
        if a not in adapter.tensors.specs:
            raise _cannot_merge(adapter.folder, f"{name!r} has no lora_A beside it")
        rank = adapter.tensors.specs[a].shape[0]
        scale = _scale(adapter.config, module, rank)
        return f"{module}.weight", LowRank(a, name, scale, _own(adapter, f"{module}.base_layer"))
    if module.endswith(ROWS):
        module = module.removesuffix(ROWS)
        own = _own(adapter, f"{module}.token_adapter.base_layer")
        return f"{module}.weight", Rows(name, _indices(adapter, module), own)
    module = module.replace(".modules_to_save.", ".")  # peft before 0.6 kept this word
    if "lora_" in module or module.rpartition(".")[2] not in ("weight", "bias"):
        raise _cannot_merge(adapter.folder, f"its tensor {name!r} is of an unknown kind")
    return module, Whole(name)


def _own(adapter: Adapter, layer: str) -> str | None:
    """Return the name of the W that the adapter brings along, as peft does for embeddings."""
    name = f"{PREFIX}{layer}.weight"
    return name if name in adapter.tensors.specs else None


def _scale(config: Mapping[str, Any], module: str, rank: int) -> float:
    """Return alpha / r, or alpha / sqrt(r) for rsLoRA (Kalajdzievski 2023, arXiv:2312.03732)."""
    patterns: Mapping[str, float] = config.get("alpha_pattern") or {}
    matching = (p for p in patterns if re.match(rf"(.*\.)?({p})$", module))  # as peft matches
    alpha = patterns.get(next(matching, ""), config["lora_alpha"])
    return float(alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank)


def _indices(adapter: Adapter, module: str) -> tuple[int, ...]:
    """Return the row numbers: one list means the embeddings, a mapping names each module."""
    given = adapter.config.get("trainable_token_indices")
    named: Mapping[str, Any] = given if isinstance(given, dict) else {"embed_tokens": given}
    for key, rows in named.items():
        if (module == key or module.endswith(f".{key}")) and rows:
            return tuple(rows)
    raise _cannot_merge(adapter.folder, f"{CONFIG} does not say which rows of {module!r} it holds")


def _check_shape(adapter: Adapter, change: Change, spec: TensorSpec) -> None:
    shapes = {name: item.shape for name, item in adapter.tensors.specs.items()}
    if spec.dtype not in FLOATS:
        raise InputError(
            f"the base model's {spec.name!r} is quantized ({spec.dtype})",
            why="adding a small change to rounded weights loses most of it",
            fix="give the float model that the quantized one was made from",
        )
    if isinstance(change, LowRank):
        a, b = shapes[change.a], shapes[change.b]
        fits = len(a) == len(b) == 2 and (b[0], a[1]) == spec.shape and b[1] == a[0]
        found = (b[0], a[1]) if len(a) == len(b) == 2 else (*b, *a)
    elif isinstance(change, Rows):
        found, count = shapes[change.name], len(change.indices)
        fits = found == (count, spec.shape[1]) and len(set(change.indices)) == count
        fits = fits and all(0 <= row < spec.shape[0] for row in change.indices)
    else:
        found = shapes[change.name]
        fits = found == spec.shape
    own = None if isinstance(change, Whole) else change.weight
    if fits and own is not None:
        found, fits = shapes[own], shapes[own] == spec.shape
    if not fits:
        raise _no_match(
            adapter,
            f"the adapter's change of {spec.name!r} is for the shape {list(found)}, "
            f"but the base model has {list(spec.shape)}",
        )


def _check_pairs(adapter: Adapter, changes: Mapping[str, Change]) -> None:
    used: set[str | None] = set()
    for change in changes.values():
        used |= {change.a, change.b} if isinstance(change, LowRank) else {change.name}
        used |= set() if isinstance(change, Whole) else {change.weight}
    alone = sorted(adapter.tensors.specs.keys() - used)
    if alone:
        raise _cannot_merge(adapter.folder, f"{alone[0]!r} has no partner")
    if not changes:
        raise _cannot_merge(adapter.folder, f"{WEIGHTS} holds no tensors")


def _check_tied(adapter: Adapter, changes: Mapping[str, Change]) -> None:
    """Refuse what would take apart one matrix that serves as embeddings and as lm_head."""
    is_apart = HEAD in changes or (
        isinstance(changes.get(EMBEDDING), LowRank | Whole)
        and not adapter.config.get("ensure_weight_tying")
    )
    if is_apart:
        raise InputError(
            f"the adapter {adapter.folder} changes embeddings and lm_head apart from each other",
            why="in the base model they are one matrix (tie_word_embeddings)",
            fix="train with trainable_token_indices, or with ensure_weight_tying set",
        )


def _no_match(adapter: Adapter, what: str) -> InputError:
    trained_on = adapter.config.get("base_model_name_or_path") or "another model"
    return InputError(
        what,
        why=f"the adapter was trained on {trained_on}",
        fix="give that model as BASE; after a vocabulary was grown, the grown one",
    )


def apply(change: Change, weight: torch.Tensor, adapter: Checkpoint) -> torch.Tensor:
    """Return a changed weight: added up in float32, cast back to the weight's dtype.

    The order of operations is peft's, so that float32 results are the same bits.
    """
    if isinstance(change, LowRank | Rows) and change.weight is not None:
        weight = adapter.read(change.weight).to(weight.dtype)
    if isinstance(change, LowRank):
        a, b = adapter.read(change.a).float(), adapter.read(change.b).float()
        return (weight.float() + (b @ a) * change.scale).to(weight.dtype)
    if isinstance(change, Whole):
        return adapter.read(change.name).to(weight.dtype)
    merged = weight.clone()
    merged[list(change.indices)] = adapter.read(change.name).to(weight.dtype)
    return merged
