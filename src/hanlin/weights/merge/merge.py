"""How do a base model and LoRA adapters become one standalone checkpoint?

hanlin weights merge BASE ADAPTER OUT
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from hanlin.core.config import InputPath, ModelPath, StrictModel
from hanlin.core.files import (
    resumable_directory,
    sha256,
    size_bytes,
    work_key,
    write_atomic,
    write_json,
)
from hanlin.core.meter import Progress
from hanlin.core.stage import Estimate, Stage, StageConfig, StageContext

if TYPE_CHECKING:
    from hanlin.weights.merge.check import LogitCheck
    from hanlin.weights.merge.inputs import MergeInputs

REPORT = "merge.json"


class WeightedAdapter(StrictModel):
    """An adapter beside the first one."""

    adapter: InputPath
    """Its folder."""
    weight: float = Field(1.0, allow_inf_nan=False)
    """How much of what it learned is taken: 1 all, 0 nothing; below 0 takes it away."""


class Config(StageConfig):
    """Settings of `merge`."""

    base: ModelPath
    """The model that the adapter was trained on, in float."""
    adapter: InputPath
    """The adapter folder that finetuning left."""
    weight: float = Field(1.0, allow_inf_nan=False)
    """How much of what the adapter learned is taken."""
    also: list[WeightedAdapter] = []
    """More adapters that were trained on the same base: what each learned is added up."""
    then: list[WeightedAdapter] = []
    """Adapters that were trained on top of all before them, one after another."""
    max_shard_gb: float = Field(5.0, gt=0, allow_inf_nan=False)
    """Size of a file of weights, in GB; a larger model becomes several."""
    check_logits: bool | Literal["auto"] = "auto"
    """Compare the logits of adapter and merged model afterwards; needs memory for the model in
    float32 once. auto: if that much is free. The merge itself needs memory for blocks of rows."""
    any_base: bool = False
    """Merge into other weights than the adapter was trained on, for example the same in fp16."""
    dequantize: bool = False
    """Merge onto the numbers that a base quantized by bitsandbytes was rounded to."""


@dataclass(frozen=True)
class MergeReport:
    """What was merged.

    Attributes:
        changed: number of tensors that the adapters changed.
        tensors: number of tensors in all.
        check: the comparison of logits, None where there was none.
        unchecked: why there was none.
        adapters: folder name, digest of the weights, weight and number of the sum, for each.
    """

    changed: int
    tensors: int
    check: LogitCheck | None
    unchecked: str | None
    adapters: list[dict[str, object]]

    def to_json(self) -> dict[str, object]:
        """Return plain values."""
        return {
            "version": 1,
            "tensors": self.tensors,
            "changed": self.changed,
            "adapters": self.adapters,
            "logits": self.check.to_json() if self.check else None,
            "logits_skipped": self.unchecked,
        }


def merge(
    config: Config,
    out: Path,
    *,
    force: bool = False,
    progress: Progress = lambda _done, _total, _text: None,
) -> MergeReport:
    """Write base + adapters as a standalone model folder, block by block.

    An interrupted merge goes on where it was when it is called again; `out` appears when it is
    complete.

    Args:
        config: what to merge, and how.
        out: the folder to make.
        force: replace what is at `out`.
        progress: called with (tensors done, tensors in all, name).

    Raises:
        InputError: base and adapters do not belong together, or one of them cannot be merged; or
            `out` exists.
        StageFailedError: the merged model computes something else.
        ResourceError: the disk is full or the folder cannot be written.
    """
    inputs = _open(config)
    folders = _folders(inputs)
    # Not what lies deeper: the result may be made there.
    files = [file for folder in folders for file in sorted(folder.iterdir()) if file.is_file()]
    key = work_key(config.model_dump(mode="json"), files=files)
    with resumable_directory(out, key=key, force=force, inputs=folders) as folder:
        return _merge_into(folder, config, inputs, progress)


def _open(config: Config) -> MergeInputs:
    from hanlin.weights.merge.inputs import open_inputs

    first = [(Path(config.adapter), config.weight)]
    first += [(Path(item.adapter), item.weight) for item in config.also]
    rest = [[(Path(item.adapter), item.weight)] for item in config.then]
    return open_inputs(
        config.base, [first, *rest], any_base=config.any_base, dequantize=config.dequantize
    )


def _folders(inputs: MergeInputs) -> list[Path]:
    return [inputs.base, *(item.adapter.folder for item in inputs.adapters)]


def _merge_into(
    folder: Path, config: Config, inputs: MergeInputs, progress: Progress
) -> MergeReport:
    from hanlin.models.tensors import write_checkpoint
    from hanlin.weights.merge.check import check_merged

    write_checkpoint(
        folder,
        [item.spec for item in inputs.plan.values()],
        lambda spec: inputs.plan[spec.name].blocks(),
        max_shard_bytes=int(config.max_shard_gb * 1e9),
        progress=progress,
    )
    _write_rest(inputs, folder)
    check = check_merged(inputs, folder, mode=config.check_logits)
    report = MergeReport(
        changed=sum(item.is_changed for item in inputs.plan.values()),
        tensors=len(inputs.plan),
        check=None if isinstance(check, str) else check,
        unchecked=check if isinstance(check, str) else None,
        adapters=_adapters(inputs),
    )
    write_json(folder / REPORT, report.to_json())
    return report


def _adapters(inputs: MergeInputs) -> list[dict[str, object]]:
    return [
        {
            "name": item.adapter.folder.resolve().name,
            "sha256": sha256(item.adapter.file),
            "weight": item.weight,
            "sum": number,
        }
        for number, together in enumerate(inputs.chain)
        for item in together
    ]


def _write_rest(inputs: MergeInputs, out: Path) -> None:
    """Write configs, tokenizer with its chat template, and `hanlin.json`."""
    from hanlin.models.grow_checks import EMBEDDINGS
    from hanlin.models.manifest import write_manifest
    from hanlin.models.save import write_stop_ids
    from hanlin.prompts.encode import stop_ids
    from hanlin.prompts.jinja import checked_chat_template

    template = checked_chat_template(inputs.format, inputs.tokenizer) if inputs.format else None
    inputs.tokenizer.save(out, chat_template=template)
    write_manifest(out, **inputs.manifest)
    for name in ("config.json", "generation_config.json"):
        if (inputs.base / name).is_file():
            write_atomic(out / name, (inputs.base / name).read_bytes())
    if inputs.format:
        write_stop_ids(out, stop_ids(inputs.format, inputs.tokenizer))
    config = {k: v for k, v in inputs.config.items() if k != "quantization_config"}
    if EMBEDDINGS in inputs.plan:
        config["vocab_size"] = inputs.plan[EMBEDDINGS].spec.shape[0]
    if inputs.is_untied:
        config["tie_word_embeddings"] = False
    if config != inputs.config:
        write_json(out / "config.json", config)


def run(config: Config, context: StageContext) -> None:
    """Merge into `context.out / "model"`, anew after an interruption."""
    out = context.out / "model"
    shutil.rmtree(out, ignore_errors=True)
    report = _merge_into(out, config, _open(config), context.progress)
    context.events.emit("metric", stage=context.name, **report.to_json())


def estimate(config: Config) -> Estimate:
    """Return the disk of another copy of the base, and memory for the check."""
    folder = Path(config.base)
    if not folder.is_dir():
        return Estimate()
    files = [*folder.glob("*.safetensors")] or [*folder.glob("pytorch_model*.bin")]
    size = sum(size_bytes(file) for file in files)
    # 0.7 GB: Python with torch and peft, and blocks of rows on their way. float32 of a 2-byte
    # checkpoint is twice its size; "auto" checks only where that much is free.
    check = 2 * size if config.check_logits is True else 0
    return Estimate(disk_bytes=size, memory_bytes=700_000_000 + check)


STAGE = Stage(
    summary="Merge an adapter into its base and check the result by its logits.",
    config=Config,
    run=run,
    outputs={"model": ("model", "model")},
    estimate=estimate,
    revision=2,
)
