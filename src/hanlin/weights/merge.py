"""How do a base model and a LoRA adapter become one standalone checkpoint?

hanlin weights merge BASE ADAPTER OUT
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from hanlin.core.config import InputPath, ModelPath
from hanlin.core.errors import InputError
from hanlin.core.files import read_json, size_bytes, write_atomic, write_json
from hanlin.core.stage import Estimate, Stage, StageConfig, StageContext

if TYPE_CHECKING:
    import torch

    from hanlin.models.tensors import Checkpoint, TensorSpec
    from hanlin.prompts.format import PromptFormat
    from hanlin.tokenization.load import Tokenizer
    from hanlin.weights.lora import Adapter, Change
    from hanlin.weights.merge_check import LogitCheck

REPORT = "merge.json"
Progress = Callable[[int, int, str], None]


class Config(StageConfig):
    """Settings of `merge`."""

    base: ModelPath
    """The model that the adapter was trained on, in float."""
    adapter: InputPath
    """The adapter folder that finetuning left."""
    max_shard_gb: float = Field(5.0, gt=0)
    """Size of a file of weights, in GB; a larger model becomes several."""
    check_logits: bool = True
    """Compare the logits of adapter and merged model afterwards; needs memory for the model in
    float32 once. The merge itself needs memory for one tensor."""
    any_base: bool = False
    """Merge into other weights than the adapter was trained on, for example the same in fp16."""


@dataclass(frozen=True)
class MergeReport:
    """What was merged.

    Attributes:
        changed: number of tensors that the adapter changed.
        tensors: number of tensors in all.
        check: the comparison of logits, None where it was not asked for.
    """

    changed: int
    tensors: int
    check: LogitCheck | None

    def to_json(self) -> dict[str, object]:
        """Return plain values."""
        check = self.check.to_json() if self.check else None
        return {"version": 1, "tensors": self.tensors, "changed": self.changed, "logits": check}


def merge_adapter(  # noqa: PLR0913 - two paths and settings by keyword
    base: str | Path,
    adapter: str | Path,
    out: Path,
    *,
    max_shard_bytes: int = 5_000_000_000,
    check_logits: bool = True,
    any_base: bool = False,
    progress: Progress = lambda _done, _total, _text: None,
) -> MergeReport:
    """Write base + adapter as a standalone model folder, tensor by tensor.

    Args:
        base: folder or hub id of the model that the adapter was trained on.
        adapter: folder in the PEFT layout.
        out: where the model goes; what lies there under the same names is replaced.
        max_shard_bytes: size of a file of weights.
        check_logits: compare adapter and merged model afterwards.
        any_base: accept other weights than the adapter was trained on.
        progress: called with (tensors done, tensors in all, name).

    Raises:
        InputError: base and adapter do not belong together, or one of them cannot be merged.
        StageFailedError: the merged model computes something else.
        ResourceError: the disk is full or the folder cannot be written.
    """
    from hanlin.models.tensors import write_checkpoint
    from hanlin.weights.lora import apply

    parts = _open(base, Path(adapter))
    if not any_base:
        _check_base(parts)

    def merged(spec: TensorSpec) -> torch.Tensor:
        weight, change = parts.weights.read(spec.name), parts.changes.get(spec.name)
        return weight if change is None else apply(change, weight, parts.adapter.tensors)

    specs = list(parts.weights.specs.values())
    write_checkpoint(out, specs, merged, max_shard_bytes=max_shard_bytes, progress=progress)
    _write_rest(parts, out)
    check = _checked(parts, out) if check_logits else None
    report = MergeReport(changed=len(parts.changes), tensors=len(specs), check=check)
    write_json(out / REPORT, report.to_json())
    return report


@dataclass(frozen=True)
class _Parts:
    """Base and adapter, opened, and found to belong together."""

    base: Path
    weights: Checkpoint
    tokenizer: Tokenizer
    adapter: Adapter
    changes: dict[str, Change]
    prompt: dict[str, Any] | None
    format: PromptFormat | None


def _open(base: str | Path, adapter_folder: Path) -> _Parts:
    from hanlin.models.load import check_rows, model_folder
    from hanlin.models.manifest import read_manifest
    from hanlin.models.tensors import open_checkpoint
    from hanlin.prompts.probe import check_probe
    from hanlin.tokenization.load import load as load_tokenizer
    from hanlin.weights.lora import EMBEDDING, open_adapter, plan_changes

    folder, adapter = model_folder(base), open_adapter(adapter_folder)
    tokenizer, weights = load_tokenizer(folder), open_checkpoint(folder)
    manifest = read_manifest(adapter.folder)
    _check_tokenizer(manifest, tokenizer, adapter, folder)
    if EMBEDDING in weights.specs:
        check_rows(weights.specs[EMBEDDING].shape[0], tokenizer=tokenizer, model_path=base)
    is_tied = bool(read_json(folder / "config.json").get("tie_word_embeddings"))
    return _Parts(
        base=folder,
        weights=weights,
        tokenizer=tokenizer,
        adapter=adapter,
        changes=plan_changes(adapter, weights.specs, is_tied=is_tied),
        prompt=manifest.get("prompt"),
        format=check_probe(manifest, tokenizer, where=f"{adapter.folder}/hanlin.json"),
    )


def _check_base(parts: _Parts) -> None:
    """Refuse weights that the adapter was not trained on: the sum would answer nonsense."""
    from hanlin.models.manifest import read_manifest, weights_sha256

    base = read_manifest(parts.adapter.folder).get("base") or {}
    expected = base.get("weights_sha256")
    if expected is None or expected == weights_sha256(parts.base):
        return
    raise InputError(
        f"the adapter {parts.adapter.folder} was trained on other weights than {parts.base} has",
        why=f"its hanlin.json has weights_sha256 {expected[:12]}... of the base",
        fix="give the model that it was trained on; if these are the same weights in another type "
        "or in other shards, add --any-base (any_base: true in a recipe)",
    )


def _check_tokenizer(
    manifest: dict[str, Any], tokenizer: Tokenizer, adapter: Adapter, base: Path
) -> None:
    expected = manifest.get("tokenizer_sha256")
    if expected is None or expected == tokenizer.sha256:
        return
    raise InputError(
        f"the adapter {adapter.folder} was trained with another tokenizer than {base} has",
        why=f"its hanlin.json has tokenizer_sha256 {expected[:12]}..., the base's tokenizer.json "
        f"has {tokenizer.sha256[:12]}...",
        fix="give the base that it was trained on: after a vocabulary was grown, the grown one",
    )


def _write_rest(parts: _Parts, out: Path) -> None:
    """Write configs, tokenizer with its chat template, and `hanlin.json`."""
    from hanlin.models.manifest import read_manifest, write_manifest
    from hanlin.prompts.jinja import checked_chat_template

    template = checked_chat_template(parts.format, parts.tokenizer) if parts.format else None
    parts.tokenizer.save(out, chat_template=template)
    fields = {"tokenizer_sha256": parts.tokenizer.sha256, "prompt": parts.prompt}
    write_manifest(out, **{**read_manifest(parts.base), **fields})
    for name in ("config.json", "generation_config.json"):
        if (parts.base / name).is_file():
            write_atomic(out / name, (parts.base / name).read_bytes())


def _checked(parts: _Parts, out: Path) -> LogitCheck:
    from hanlin.models.tensors import DTYPES
    from hanlin.weights.merge_check import compare_logits, probe_prompts, require_same

    changed = {parts.weights.specs[name].dtype for name in parts.changes}
    narrowest = min(changed, key=lambda name: (DTYPES[name][1], name))
    check = compare_logits(
        parts.base, parts.adapter.folder, out,
        probes=probe_prompts(parts.tokenizer, parts.prompt),
        dtype=DTYPES[narrowest][0],
    )  # fmt: skip
    require_same(check, base=parts.base, adapter=parts.adapter.folder)
    return check


def run(config: Config, context: StageContext) -> None:
    """Merge into `context.out / "model"`, anew after an interruption."""
    shutil.rmtree(context.out / "model", ignore_errors=True)
    report = merge_adapter(
        config.base,
        config.adapter,
        context.out / "model",
        max_shard_bytes=int(config.max_shard_gb * 1e9),
        check_logits=config.check_logits,
        any_base=config.any_base,
        progress=context.progress,
    )
    context.events.emit("metric", stage=context.name, **report.to_json())


def estimate(config: Config) -> Estimate:
    """Return the disk of another copy of the base, and memory for the check."""
    folder = Path(config.base)
    if not folder.is_dir():
        return Estimate()
    size = sum(size_bytes(file) for file in folder.glob("*.safetensors"))
    # float32 of a 2-byte checkpoint is twice its size; 300 MB is Python with torch and peft.
    return Estimate(disk_bytes=size, memory_bytes=300_000_000 + config.check_logits * 2 * size)


STAGE = Stage(
    summary="Merge an adapter into its base and check the result by its logits.",
    config=Config,
    run=run,
    outputs={"model": ("model", "model")},
    estimate=estimate,
)
