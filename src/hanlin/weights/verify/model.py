"""Do the tensors of a model fit its settings and its tokenizer?"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hanlin.core.errors import HanlinError
from hanlin.models.grow_checks import EMBEDDINGS, LM_HEAD
from hanlin.models.info import LLAMA_LIKE, describe, read_config
from hanlin.models.manifest import check_tokenizer, read_manifest
from hanlin.models.tensors import Checkpoint, TensorSpec
from hanlin.prompts.probe import check_probe
from hanlin.tokenization.load import Tokenizer
from hanlin.tokenization.load import load as load_tokenizer
from hanlin.weights.convert.meta import open_meta
from hanlin.weights.convert.rest import find_tokenizer
from hanlin.weights.llama import NORM
from hanlin.weights.lora import LORA_A
from hanlin.weights.verify.findings import Finding

LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)")
LORA_B, QUANT_STATE = ".lora_B.weight", ".quant_state."
NAMES_SHOWN = 5


def check_model(folder: Path, checkpoint: Checkpoint) -> Iterator[Finding]:
    """Yield what does not fit in a folder in the Hugging Face layout."""
    try:
        settings = read_config(folder)
        if settings.get("model_type") in LLAMA_LIKE:
            describe(settings, name="config.json")
    except HanlinError as error:
        yield _from_error(folder, error)
        return
    specs = checkpoint.specs
    yield from _check_layers(specs, settings)
    yield from _check_head(checkpoint, settings)
    tokenizer = None
    try:
        tokenizer = load_tokenizer(folder)
        check_tokenizer(folder, tokenizer_sha256=tokenizer.sha256, tokenizer_path=tokenizer.path)
        check_probe(read_manifest(folder), tokenizer, where="hanlin.json")
    except HanlinError as error:
        yield _from_error(folder, error)
    for name in (EMBEDDINGS, LM_HEAD):
        if name in specs and specs[name].shape:
            yield from _check_rows(specs[name], settings.get("vocab_size"), tokenizer)


def _from_error(folder: Path, error: HanlinError) -> Finding:
    return Finding("error", folder.name, error.what + (f" ({error.why})" if error.why else ""))


def _check_layers(
    specs: Mapping[str, TensorSpec], settings: Mapping[str, Any]
) -> Iterator[Finding]:
    """Look for layers that are missing, too many, or unlike the others."""
    layers: dict[int, dict[str, TensorSpec]] = {}
    for name, spec in specs.items():
        if match := LAYER.fullmatch(name):
            layers.setdefault(int(match[1]), {})[match[2]] = spec
    count = settings.get("num_hidden_layers")
    if not layers or not isinstance(count, int):
        return
    missing = [number for number in range(count) if number not in layers]
    if missing:
        yield Finding(
            "error", "model.layers", f"{len(missing)} of {count} layers are missing: "
            + _shown([str(number) for number in missing]),
        )  # fmt: skip
    if max(layers) >= count:
        what = f"it is there, but num_hidden_layers in config.json is {count}"
        yield Finding("error", f"model.layers.{max(layers)}", what)
    if settings.get("model_type") in LLAMA_LIKE:
        for name in (EMBEDDINGS, NORM):
            if name not in specs:
                yield Finding("error", name, "it is missing")
        yield from _check_likeness(layers)


def _check_likeness(layers: Mapping[int, Mapping[str, TensorSpec]]) -> Iterator[Finding]:
    """Compare every layer with what more than half of them have."""
    shapes: dict[str, Counter[tuple[int, ...]]] = {}
    for layer in layers.values():
        for part, spec in layer.items():
            if QUANT_STATE in part:  # of bitsandbytes: JSON, longer or shorter by its numbers
                continue
            shapes.setdefault(part, Counter())[spec.shape] += 1
    for part, counts in sorted(shapes.items()):
        usual, number = counts.most_common(1)[0]
        if 2 * number <= len(layers):
            continue
        for index in sorted(layers):
            found, name = layers[index].get(part), f"model.layers.{index}.{part}"
            if found is None:
                yield Finding("error", name, f"it is missing; {number} other layers have it")
            elif found.shape != usual:
                what = f"its shape is {list(found.shape)}; {number} other layers have {list(usual)}"
                yield Finding("error", name, what)


def _shown(names: list[str]) -> str:
    rest = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + rest


def _check_head(checkpoint: Checkpoint, settings: Mapping[str, Any]) -> Iterator[Finding]:
    """Compare lm_head with what the settings say about it."""
    is_like_llama = settings.get("model_type") in LLAMA_LIKE
    is_tied = settings.get("tie_word_embeddings", False if is_like_llama else None)
    kinds = settings.get("architectures") or ["ForCausalLM"]
    has_head = LM_HEAD in checkpoint.specs
    if is_tied and has_head and EMBEDDINGS in checkpoint.specs:
        if not _are_equal(checkpoint, LM_HEAD, EMBEDDINGS):
            yield Finding(
                "error", LM_HEAD, "it differs from the embeddings, but config.json ties the two "
                "(tie_word_embeddings): one of them would be thrown away",
            )  # fmt: skip
    elif is_tied is False and is_like_llama and not has_head and "ForCausalLM" in kinds[0]:
        yield Finding(
            "error", LM_HEAD, "it is missing, and config.json does not tie it to the embeddings "
            "(tie_word_embeddings): it would be filled with random numbers",
        )  # fmt: skip


def _are_equal(checkpoint: Checkpoint, one: str, other: str) -> bool:
    import torch

    left, right = checkpoint.specs[one], checkpoint.specs[other]
    if (left.dtype, left.shape) != (right.dtype, right.shape):
        return False
    blocks = zip(checkpoint.blocks(one), checkpoint.blocks(other), strict=True)
    return all(torch.equal(a.view(torch.uint8), b.view(torch.uint8)) for a, b in blocks)


def _check_rows(
    spec: TensorSpec, configured: object, tokenizer: Tokenizer | None
) -> Iterator[Finding]:
    name, rows = spec.name, spec.shape[0]
    if rows != configured:
        yield Finding("error", name, f"{rows} rows, but vocab_size in config.json is {configured}")
    if tokenizer is None:
        return
    if rows < tokenizer.vocab_size:
        what = f"{rows} rows, but the tokenizer has {tokenizer.vocab_size} entries"
        yield Finding("error", name, what)
    elif rows > tokenizer.vocab_size:
        yield _padding(name, rows - tokenizer.vocab_size)


def _padding(name: str, rows: int) -> Finding:
    what = f"{rows} rows more than the tokenizer has entries (padding)"
    return Finding("warning", name, what)


def check_meta(folder: Path) -> Iterator[Finding]:
    """Yield what does not fit in a folder in Meta's layout: shards, params.json, tokenizer."""
    names = ("tokenizer.json", "tokenizer.model")
    files = [place / name for place in (folder, folder.parent) for name in names]
    file = next((file for file in files if file.is_file()), None)
    try:
        source = open_meta(folder)
        tokenizer = find_tokenizer(source, file) if file else None
    except HanlinError as error:
        yield _from_error(folder, error)
        return
    if tokenizer is None:
        yield Finding("warning", folder.name, "there is no tokenizer in it or in the folder above")
    elif source.specs[EMBEDDINGS].shape[0] > tokenizer.vocab_size:
        yield _padding(EMBEDDINGS, source.specs[EMBEDDINGS].shape[0] - tokenizer.vocab_size)


def check_adapter(checkpoint: Checkpoint) -> Iterator[Finding]:
    """Yield what is odd about an adapter's tensors."""
    for name in checkpoint.specs:
        for half, other in ((LORA_A, LORA_B), (LORA_B, LORA_A)):
            if name.endswith(half) and name.removesuffix(half) + other not in checkpoint.specs:
                yield Finding("error", name, f"its other half, {other[1:]}, is missing")
    halves = [name for name in checkpoint.specs if name.endswith(LORA_B)]
    if halves and not any(bool(checkpoint.read(name).any()) for name in halves):
        what = "it is zero, like every other lora_B: the adapter changes nothing"
        yield Finding("warning", halves[0], what)
