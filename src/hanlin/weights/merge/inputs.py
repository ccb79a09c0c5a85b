"""Do a base, its adapters and their tokenizers belong together?

Everything that can be refused is refused here, before anything is written.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hanlin.core.errors import InputError
from hanlin.models.grow_checks import EMBEDDINGS
from hanlin.models.info import read_config
from hanlin.models.load import check_rows, model_folder
from hanlin.models.manifest import FILE_NAME, read_manifest, weights_sha256
from hanlin.models.tensors import FLOATS, open_checkpoint
from hanlin.prompts.format import PromptFormat
from hanlin.prompts.probe import check_probe
from hanlin.tokenization.load import Tokenizer
from hanlin.tokenization.load import load as load_tokenizer
from hanlin.weights.lora import EMBEDDING_B, LORA_B, Adapter, open_adapter
from hanlin.weights.merge.dequantize import (
    Dequantized,
    open_dequantized,
    require_bitsandbytes,
    require_float,
)
from hanlin.weights.merge.plan import PlannedTensor, TensorSource, Weighted, plan_merge

log = logging.getLogger(__name__)

PathChain = Sequence[Sequence[tuple[Path, float]]]


@dataclass(frozen=True)
class MergeInputs:
    """Base and adapters, opened, and found to belong together.

    Attributes:
        base: the base's folder.
        config: of its `config.json`.
        source: its tensors, in float.
        chain: the adapters, sum after sum.
        tokenizer: the merged model's: the last that an adapter brings, else the base's.
        plan: how each tensor of the merged model is made.
        is_untied: the base's embeddings and lm_head are one matrix, the merged model's are two.
        manifest: what the merged model's `hanlin.json` keeps of the inputs'.
        format: the prompt format that the last tuned adapter was trained with.
    """

    base: Path
    config: dict[str, Any]
    source: TensorSource
    chain: tuple[tuple[Weighted, ...], ...]
    tokenizer: Tokenizer
    plan: dict[str, PlannedTensor]
    is_untied: bool
    manifest: dict[str, Any]
    format: PromptFormat | None

    @property
    def adapters(self) -> list[Weighted]:
        """Return all adapters in their order."""
        return [item for together in self.chain for item in together]

    @property
    def is_dequantized(self) -> bool:
        """Tell whether the base's files hold rounded numbers."""
        return isinstance(self.source, Dequantized)


def open_inputs(
    base: str | Path, chain: PathChain, *, any_base: bool, dequantize: bool
) -> MergeInputs:
    """Open everything that a merge reads, and check that it fits together.

    Args:
        base: folder or hub id.
        chain: folders of adapters with their weights, sum after sum.
        any_base: accept other weights than an adapter was trained on.
        dequantize: turn a base that bitsandbytes quantized back into float.

    Raises:
        InputError: something does not fit, or cannot be merged.
    """
    folder = model_folder(base, is_pickle_read=True)
    opened = [[(open_adapter(path), weight) for path, weight in sums] for sums in chain]
    adapters = [adapter for sums in opened for adapter, _ in sums]
    config = read_config(folder)
    source = _open_base(folder, config, adapters[0], dequantize=dequantize)
    of_base = load_tokenizer(folder)
    tokenizer = _tokenizer(of_base, adapters)
    weighted = tuple(
        tuple(Weighted(a, w, brings_tokenizer=_brings_tokenizer(a)) for a, w in sums)
        for sums in opened
    )
    is_tied = bool(config.get("tie_word_embeddings"))
    plan, is_untied = plan_merge(source, weighted, is_tied=is_tied)
    if EMBEDDINGS in plan:
        check_rows(plan[EMBEDDINGS].spec.shape[0], tokenizer=tokenizer, model_path=base)
    for adapter in adapters:
        _check_values(adapter)
    if not any_base:
        _check_weights(folder, opened)
    manifest, prompt_format = _prompt(folder, adapters, tokenizer)
    return MergeInputs(
        base=folder, config=config, source=source, chain=weighted, tokenizer=tokenizer, plan=plan,
        is_untied=is_untied, manifest=manifest, format=prompt_format,
    )  # fmt: skip


def _open_base(
    folder: Path, config: Mapping[str, Any], adapter: Adapter, *, dequantize: bool
) -> TensorSource:
    if not dequantize:
        require_float(folder, adapter.folder, config=config, adapter_config=adapter.config)
        return open_checkpoint(folder)
    require_bitsandbytes(folder, config)
    dtype = config.get("dtype") or config.get("torch_dtype") or "float16"
    return open_dequantized(open_checkpoint(folder), dtype=str(dtype))


def _brings_tokenizer(adapter: Adapter) -> bool:
    names = ("tokenizer.json", "tokenizer.model")
    return any((adapter.folder / name).is_file() for name in names)


def _tokenizer(of_base: Tokenizer, adapters: Sequence[Adapter]) -> Tokenizer:
    """Return the last tokenizer that an adapter brings, else the base's.

    Raises:
        InputError: it is not the base's, extended; or not the one that an adapter was trained with.
    """
    chosen = of_base
    for adapter in adapters:
        if _brings_tokenizer(adapter):
            own = load_tokenizer(adapter.folder)
            _check_extends(chosen, own)
            chosen = own
    for adapter in adapters:
        expected = read_manifest(adapter.folder).get("tokenizer_sha256")
        if expected is not None and expected != chosen.sha256:
            raise InputError(
                f"the adapter {adapter.folder} was trained with another tokenizer than "
                f"{chosen.path} has",
                why=f"its {FILE_NAME} has tokenizer_sha256 {expected[:12]}..., the tokenizer.json "
                f"there has {chosen.sha256[:12]}...",
                fix="give the base that it was trained on: after a vocabulary was grown, the grown "
                "one",
            )
    return chosen


def _check_extends(old: Tokenizer, new: Tokenizer) -> None:
    """Refuse a tokenizer that gives an id of the old one to something else."""
    if old.sha256 == new.sha256:
        return
    for index in range(old.vocab_size):
        same = index < new.vocab_size and old.bytes_of(index) == new.bytes_of(index)
        if not same:
            here = repr(new.piece_of(index)) if index < new.vocab_size else "missing"
            raise InputError(
                f"the tokenizer that the adapter {new.path} brings does not fit {old.path}",
                why=f"id {index} is {old.piece_of(index)!r} there and {here} here; rows would "
                "stand for other pieces than they learned",
                fix="give the base that the adapter was trained on",
            )


def _check_values(adapter: Adapter) -> None:
    """Refuse numbers that are none; warn of an adapter that changes nothing.

    Raises:
        InputError: a tensor holds NaN or infinite values.
    """
    does_something = False
    for name, spec in adapter.tensors.specs.items():
        is_low_rank = "lora_" in name
        is_product = name.endswith((LORA_B, EMBEDDING_B))
        for block in adapter.tensors.blocks(name):
            if spec.dtype in FLOATS and not bool(block.isfinite().all()):
                raise InputError(
                    f"the adapter {adapter.folder} holds NaN or infinite values in {name!r}",
                    why="its training diverged, or the file is damaged",
                    fix="take an earlier checkpoint of it, or train again with a lower learning "
                    "rate",
                )
            if not is_low_rank or (is_product and bool(block.any())):
                does_something = True
    if not does_something:
        log.warning(
            "the adapter %s does nothing: every lora_B is zero, so the merged model is the base; "
            "check that its training ended and that it was saved whole",
            adapter.folder,
        )


def _check_weights(folder: Path, chain: Sequence[Sequence[tuple[Adapter, float]]]) -> None:
    """Refuse weights that an adapter was not trained on: the sum would answer nonsense.

    What the second sum of a chain was trained on exists nowhere yet; there it is only checked that
    it was not the base itself.
    """
    found: str | None = None
    for position, adapter in _positions(chain):
        expected = (read_manifest(adapter.folder).get("base") or {}).get("weights_sha256")
        if expected is None:
            continue
        found = found or weights_sha256(folder)
        if position == 0 and expected != found:
            raise InputError(
                f"the adapter {adapter.folder} was trained on other weights than {folder} has",
                why=f"its {FILE_NAME} has weights_sha256 {expected[:12]}... of the base",
                fix="give the model that it was trained on; if these are the same weights in "
                "another type or in other shards, add --any-base (any_base: true in a recipe)",
            )
        if position > 0 and expected == found:
            raise InputError(
                f"the adapter {adapter.folder} was trained on {folder}, not on top of another "
                "adapter",
                why=f"its {FILE_NAME} has the weights_sha256 of that base",
                fix="give it with --also instead of --then, or add --any-base",
            )


def _positions(
    chain: Sequence[Sequence[tuple[Adapter, float]]],
) -> Iterator[tuple[int, Adapter]]:
    for position, sums in enumerate(chain):
        for adapter, _ in sums:
            yield position, adapter


def _prompt(
    folder: Path, adapters: Sequence[Adapter], tokenizer: Tokenizer
) -> tuple[dict[str, Any], PromptFormat | None]:
    """Return the fields of the merged model's `hanlin.json`, and the prompt format in it."""
    manifest = read_manifest(folder)
    formats: dict[str, PromptFormat] = {}
    for adapter in adapters:
        own = read_manifest(adapter.folder)
        where = f"{adapter.folder}/{FILE_NAME}"
        found = check_probe(own, tokenizer, where=where)
        if found is not None:
            formats[found.name] = formats.pop(found.name, found)
            manifest["prompt"] = own["prompt"]
    if len(formats) > 1:
        log.warning(
            "the adapters were trained with several prompt formats (%s); the merged model is "
            "given the template of %s",
            ", ".join(formats),
            list(formats)[-1],
        )
    manifest["tokenizer_sha256"] = tokenizer.sha256
    last = next(reversed(formats.values()), None)
    return manifest, last
