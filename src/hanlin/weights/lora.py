"""Which tensors does a LoRA adapter change, and how?

Reads PEFT's folder layout (`adapter_config.json`, `adapter_model.safetensors` or the older
`adapter_model.bin`) without loading a model. Names in the file, written by peft 0.21, behind the
prefix `base_model.model.`:

    MODULE.lora_A.weight [r, in], MODULE.lora_B.weight [out, r]   W + scale * B @ A
    MODULE.lora_embedding_A [r, rows], MODULE.lora_embedding_B [hidden, r]  the same, transposed
    MODULE.lora_magnitude_vector [out]                            DoRA: new lengths of W's rows
    MODULE.lora_B.bias [out]                                      bias + scale * this
    MODULE.token_adapter.trainable_tokens_delta [n, hidden]       rows of W, not differences
    MODULE.weight, MODULE.bias, MODULE.base_layer.bias            all of it (modules_to_save, bias)
    MODULE.base_layer.weight                                      W itself, saved with the adapter
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hanlin.core.errors import InputError
from hanlin.models.grow_checks import EMBEDDINGS, LM_HEAD
from hanlin.models.tensors import FLOATS, Checkpoint, TensorSpec, open_checkpoint
from hanlin.weights.lora_config import CONFIG, cannot_merge, read_settings

WEIGHTS, OLD_WEIGHTS = "adapter_model.safetensors", "adapter_model.bin"
PREFIX = "base_model.model."
LORA_A, LORA_B, ROWS = ".lora_A.weight", ".lora_B.weight", ".token_adapter.trainable_tokens_delta"
EMBEDDING_A, EMBEDDING_B = ".lora_embedding_A", ".lora_embedding_B"
MAGNITUDE, ADDED_BIAS = ".lora_magnitude_vector", ".lora_B.bias"
BASE_LAYER = re.compile(r"(\.token_adapter)?\.base_layer\.weight$")


@dataclass(frozen=True)
class LowRank:
    """`W + scale * B @ A`, in DoRA with every row brought to a new length.

    Attributes:
        a: name of A in the adapter's file.
        b: name of B.
        scale: alpha / r, or what rsLoRA makes of it.
        magnitude: name of DoRA's lengths (Liu et al. 2024, https://arxiv.org/abs/2402.09353).
        is_transposed: W is [in, out], as of embeddings: `W + scale * (B @ A).T`, and the lengths
            are those of its columns.
        weight: name of the W that the adapter brings along, if it does.
    """

    a: str
    b: str
    scale: float
    magnitude: str | None = None
    is_transposed: bool = False
    weight: str | None = None


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


@dataclass(frozen=True)
class Added:
    """`bias + scale * added`; `name` is the tensor to add in the adapter's file."""

    name: str
    scale: float


Change = LowRank | Rows | Whole | Added


@dataclass(frozen=True)
class Adapter:
    """An adapter folder: its config and its (unread) tensors, with the file that they are in."""

    folder: Path
    config: dict[str, Any]
    file: Path
    tensors: Checkpoint


def open_adapter(folder: Path) -> Adapter:
    """Open an adapter folder.

    Raises:
        InputError: it is no adapter, or of a kind that cannot be merged.
    """
    if not folder.exists():
        raise InputError(f"the adapter {folder} does not exist", fix="check the path")
    if not (folder / CONFIG).is_file():
        raise InputError(
            f"{folder} is not an adapter: it has no {CONFIG}",
            why="an adapter folder in the PEFT layout holds " + f"{CONFIG} and {WEIGHTS}",
            fix="give the folder that finetuning with method lora left",
        )
    files = [folder / name for name in (WEIGHTS, OLD_WEIGHTS) if (folder / name).is_file()]
    if not files:
        raise InputError(
            f"{folder} holds an adapter's {CONFIG}, but not its weights",
            why=f"there is neither {WEIGHTS} nor {OLD_WEIGHTS}",
            fix="copy or download the missing file",
        )
    config = read_settings(folder)
    return Adapter(folder, config, files[0], open_checkpoint(files[0]))


def plan_changes(
    adapter: Adapter, base: Mapping[str, TensorSpec], *, may_grow: bool = False
) -> dict[str, Change]:
    """Return, for each base tensor that the adapter changes, how.

    Args:
        adapter: the opened adapter.
        base: the base model's tensors; the lm_head of a tied model too.
        may_grow: whole embeddings and lm_head may have more rows than the base's: the adapter
            brings the tokenizer that they belong to.

    Raises:
        InputError: a tensor is unknown, has another shape than the base, or is changed twice.
    """
    changes: dict[str, Change] = {}
    for name in sorted(adapter.tensors.specs):
        if _is_part(name):
            continue  # the change that they are a part of brings them in
        target, change = _change_of(adapter, name)
        if target in changes:
            raise cannot_merge(adapter.folder, f"{target!r} is changed in two ways")
        if target not in base:
            raise _no_match(
                adapter, f"the adapter changes {target!r}, which the base model does not have"
            )
        _check_shape(adapter, change, base[target], may_grow=may_grow)
        changes[target] = change
    _check_parts(adapter, changes)
    return changes


def is_apart(adapter: Adapter, changes: Mapping[str, Change]) -> bool:
    """Tell whether an adapter of a tied model changes embeddings and lm_head in different ways.

    PEFT trains one matrix for both with `trainable_token_indices` and `ensure_weight_tying`, and
    may save it twice; all else gives one of the two, or each of them, a change of its own.
    """
    embedding, head = changes.get(EMBEDDINGS), changes.get(LM_HEAD)
    if isinstance(embedding, Whole) and isinstance(head, Whole):
        pairs = zip(*(adapter.tensors.blocks(item.name) for item in (embedding, head)), strict=True)
        return any(not one.equal(other) for one, other in pairs)
    if head is not None:
        return True
    is_shared = isinstance(embedding, Rows) or adapter.config.get("ensure_weight_tying")
    return embedding is not None and not is_shared


def _is_part(name: str) -> bool:
    is_magnitude = name.removesuffix(".weight").endswith(MAGNITUDE)
    return is_magnitude or name.endswith((LORA_A, EMBEDDING_A)) or bool(BASE_LAYER.search(name))


def _change_of(adapter: Adapter, name: str) -> tuple[str, Change]:
    """Return the base tensor that an adapter tensor belongs to, and the change."""
    if not name.startswith(PREFIX):
        raise cannot_merge(adapter.folder, f"its tensor {name!r} has an unknown name")
    module = name.removeprefix(PREFIX)
    for end, a_end in ((LORA_B, LORA_A), (EMBEDDING_B, EMBEDDING_A)):
        if module.endswith(end):
            return _low_rank(adapter, module.removesuffix(end), b=name, a_end=a_end)
    if module.endswith(ADDED_BIAS):
        module = module.removesuffix(ADDED_BIAS)
        rank = adapter.tensors.specs[f"{PREFIX}{module}{LORA_B}"].shape[1]
        return f"{module}.bias", Added(name, _scale(adapter.config, module, rank))
    if module.endswith(ROWS):
        module = module.removesuffix(ROWS)
        own = _present(adapter, f"{module}.token_adapter.base_layer.weight")
        return f"{module}.weight", Rows(name, _indices(adapter, module), own)
    module = module.replace(".modules_to_save.", ".")  # peft before 0.6 kept this word
    module = re.sub(r"\.base_layer\.bias$", ".bias", module)
    if "lora_" in module or module.rpartition(".")[2] not in ("weight", "bias"):
        raise cannot_merge(adapter.folder, f"its tensor {name!r} is of an unknown kind")
    return module, Whole(name)


def _low_rank(adapter: Adapter, module: str, *, b: str, a_end: str) -> tuple[str, LowRank]:
    a = f"{PREFIX}{module}{a_end}"
    if a not in adapter.tensors.specs:
        raise cannot_merge(adapter.folder, f"{b!r} has no {a_end[1:].split('.')[0]} beside it")
    magnitude = _present(adapter, module + MAGNITUDE, module + MAGNITUDE + ".weight")
    if bool(magnitude) != bool(adapter.config.get("use_dora")):
        there = "holds" if magnitude else "lacks"
        says = bool(adapter.config.get("use_dora"))
        raise cannot_merge(
            adapter.folder, f"its file {there} DoRA's {MAGNITUDE[1:]} for {module!r}, but {CONFIG} "
            f"says use_dora: {str(says).lower()}",
        )  # fmt: skip
    change = LowRank(
        a=a,
        b=b,
        scale=_scale(adapter.config, module, adapter.tensors.specs[a].shape[0]),
        magnitude=magnitude,
        is_transposed=a_end == EMBEDDING_A,
        weight=_present(adapter, f"{module}.base_layer.weight"),
    )
    return f"{module}.weight", change


def _present(adapter: Adapter, *names: str) -> str | None:
    """Return the first of these that the file holds, by its full name."""
    full = (PREFIX + name for name in names)
    return next((name for name in full if name in adapter.tensors.specs), None)


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
    raise cannot_merge(adapter.folder, f"{CONFIG} does not say which rows of {module!r} it holds")


def _check_shape(adapter: Adapter, change: Change, spec: TensorSpec, *, may_grow: bool) -> None:
    if spec.dtype not in FLOATS:
        raise InputError(
            f"the base model's {spec.name!r} is quantized ({spec.dtype})",
            why="adding a small change to rounded weights loses most of it",
            fix="give the float model that the quantized one was made from",
        )
    shapes = {name: item.shape for name, item in adapter.tensors.specs.items()}
    found, fits = _fit(change, shapes, spec)
    if isinstance(change, Whole) and may_grow and spec.name in (EMBEDDINGS, LM_HEAD):
        fits = fits or (found[1:] == spec.shape[1:] and found[0] > spec.shape[0])
    own = change.weight if isinstance(change, LowRank | Rows) else None
    if fits and own is not None:
        found, fits = shapes[own], shapes[own] == spec.shape
    if not fits:
        raise _no_match(
            adapter,
            f"the adapter's change of {spec.name!r} is for the shape {list(found)}, "
            f"but the base model has {list(spec.shape)}",
        )


def _fit(
    change: Change, shapes: Mapping[str, tuple[int, ...]], spec: TensorSpec
) -> tuple[tuple[int, ...], bool]:
    """Return the shape that a change is for, and whether the base's tensor has it."""
    if isinstance(change, LowRank):
        a, b = shapes[change.a], shapes[change.b]
        if len(a) != 2 or len(b) != 2:
            return (*b, *a), False
        found: tuple[int, ...] = (a[1], b[0]) if change.is_transposed else (b[0], a[1])
        lengths = change.magnitude is None or math.prod(shapes[change.magnitude]) == b[0]
        return found, found == spec.shape and b[1] == a[0] and lengths
    if isinstance(change, Rows):
        found, count = shapes[change.name], len(change.indices)
        fits = found == (count, *spec.shape[1:]) and len(set(change.indices)) == count
        return found, fits and all(0 <= row < spec.shape[0] for row in change.indices)
    return shapes[change.name], shapes[change.name] == spec.shape


def _check_parts(adapter: Adapter, changes: Mapping[str, Change]) -> None:
    used: set[str | None] = set()
    for change in changes.values():
        if isinstance(change, LowRank):
            used |= {change.a, change.b, change.magnitude, change.weight}
        else:
            used |= {change.name, change.weight if isinstance(change, Rows) else None}
    alone = sorted(adapter.tensors.specs.keys() - used)
    if alone:
        raise cannot_merge(adapter.folder, f"{alone[0]!r} has no partner")
    if not changes:
        raise cannot_merge(adapter.folder, f"{adapter.file.name} holds no tensors")


def _no_match(adapter: Adapter, what: str) -> InputError:
    trained_on = adapter.config.get("base_model_name_or_path") or "another model"
    return InputError(
        what,
        why=f"the adapter was trained on {trained_on}",
        fix="give that model as BASE; after a vocabulary was grown, the grown one",
    )
