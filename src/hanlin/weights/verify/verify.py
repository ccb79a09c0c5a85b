"""Is a checkpoint whole: as it was written, all numbers finite, and made for its tokenizer?

hanlin weights verify DIR
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hanlin.core.errors import InputError
from hanlin.core.files import read_json
from hanlin.core.meter import Progress
from hanlin.models.tensor_writer import TensorSteps
from hanlin.models.tensors import (
    DTYPES,
    FLOATS,
    MANIFEST,
    SINGLE,
    Checkpoint,
    TensorSpec,
    begin_sha256,
    open_checkpoint,
    raw_bytes,
)
from hanlin.weights.ahead import map_ahead
from hanlin.weights.convert.meta import shard_files
from hanlin.weights.diff.manifest import is_diff
from hanlin.weights.lora import WEIGHTS as ADAPTER_WEIGHTS
from hanlin.weights.lora_config import CONFIG as ADAPTER_CONFIG
from hanlin.weights.verify.checklists import Checklist, check_files, find_lists
from hanlin.weights.verify.findings import Finding, Verification
from hanlin.weights.verify.model import check_adapter, check_meta, check_model

if TYPE_CHECKING:
    import torch

SCAN_BYTES = 512 << 10  # fits into a core's own cache
FREQUENCIES = (
    "rope.freqs",
    "inv_freq",
)  # constants that old checkpoints hold in a type of their own
# Type -> (integers of its width, the pattern of positive infinity).
PATTERNS = {
    "F16": ("int16", 0x7C00), "BF16": ("int16", 0x7F80),
    "F32": ("int32", 0x7F80_0000), "F64": ("int64", 0x7FF0_0000_0000_0000),
}  # fmt: skip


def verify_checkpoint(
    folder: Path,
    *,
    lists: Sequence[Path] = (),
    progress: Progress = lambda _done, _total, _text: None,
) -> Verification:
    """Read every tensor of a checkpoint and look for what is wrong.

    Args:
        folder: a model in Hugging Face's or Meta's layout, an adapter, or a file with tensors.
        lists: files with MD5 or SHA digests of the files in the folder; those that lie in it are
            found.
        progress: called with (tensors done, tensors in all, text), before that with files.

    Raises:
        InputError: it is no checkpoint, a shard is missing or cannot be read.
    """
    parts = _open(folder)
    place = folder if folder.is_dir() else folder.parent
    found = find_lists(place) if folder.is_dir() else []
    given = [Checklist(file, place) for file in lists if file not in [each.file for each in found]]
    files_checked, findings = check_files([*found, *given], progress=progress)
    expected = _digests(place)
    findings += _check_tensors(parts, expected, progress)
    findings += _check_types(parts)
    if parts.layout == "meta":
        findings += check_meta(folder)
    elif parts.layout == "adapter":
        findings += check_adapter(parts.checkpoints[0])
    elif parts.layout == "hf":
        known = {finding.where for finding in findings} - parts.checkpoints[0].specs.keys()
        rest = check_model(folder, parts.checkpoints[0])
        findings += [finding for finding in rest if finding.where not in known]  # once is enough
    specs = [spec for checkpoint in parts.checkpoints for spec in checkpoint.specs.values()]
    return Verification(
        layout=parts.layout,
        tensors=len(specs),
        size_bytes=sum(spec.size_bytes for spec in specs),
        dtypes=dict(sorted(Counter(spec.dtype for spec in specs).items())),
        has_digests=bool(expected),
        files_checked=files_checked,
        findings=tuple(findings),
    )


@dataclass(frozen=True)
class _Parts:
    """An opened checkpoint: one, or one for each of Meta's shards, which have the same names."""

    layout: str
    checkpoints: tuple[Checkpoint, ...]

    def tensors(self) -> list[tuple[Checkpoint, TensorSpec]]:
        return [(each, spec) for each in self.checkpoints for spec in each.specs.values()]

    def label(self, checkpoint: Checkpoint, spec: TensorSpec) -> str:
        is_alone = len(self.checkpoints) == 1
        return spec.name if is_alone else f"{checkpoint.files[spec.name]}: {spec.name}"


def _open(path: Path) -> _Parts:
    if path.is_dir() and is_diff(path):
        raise InputError(
            f"{path} is a diff, not a checkpoint",
            why="its numbers are differences of bits",
            fix=f"hanlin weights recover BASE {path} OUT, which compares every digest",
        )
    if not path.is_dir():
        return _Parts("file", (open_checkpoint(path),))
    if (path / ADAPTER_CONFIG).is_file():
        return _Parts("adapter", (open_checkpoint(path, single=ADAPTER_WEIGHTS),))
    shards = shard_files(path)
    if shards and not (path / "config.json").is_file():
        return _Parts("meta", tuple(open_checkpoint(file) for file in shards))
    return _Parts("hf", (open_checkpoint(path, single=SINGLE),))


def _digests(folder: Path) -> dict[str, str]:
    if not (folder / MANIFEST).is_file():
        return {}
    content = read_json(folder / MANIFEST)
    try:
        return {name: str(entry["sha256"]) for name, entry in content["tensors"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{folder / MANIFEST} is not what it should be",
            why=f"{type(error).__name__}: {error}",
            fix="copy it again, or remove it to look at the rest",
        ) from error


def _check_tensors(
    parts: _Parts, expected: dict[str, str], progress: Progress
) -> Iterator[Finding]:
    """Read all tensors, several at a time."""
    tensors = parts.tensors()

    def check(item: tuple[Checkpoint, TensorSpec]) -> list[Finding]:
        checkpoint, spec = item
        return list(_check_tensor(checkpoint, spec, parts.label(checkpoint, spec), expected))

    steps = TensorSteps([spec for _, spec in tensors], progress)
    for (_, spec), findings in zip(tensors, map_ahead(check, tensors), strict=True):
        steps.add(spec)
        yield from findings
    for name in sorted(expected.keys() - {spec.name for _, spec in tensors}):
        yield Finding("error", name, f"{MANIFEST} names it, but it is not there")


def _check_tensor(
    checkpoint: Checkpoint, spec: TensorSpec, label: str, expected: dict[str, str]
) -> Iterator[Finding]:
    digest = begin_sha256(spec) if expected else None
    nan = infinite = 0
    for block in checkpoint.blocks(spec.name):
        if digest is not None:
            digest.update(raw_bytes(block))
        if spec.dtype in PATTERNS:
            found = _count_not_finite(block, spec.dtype)
            nan, infinite = nan + found[0], infinite + found[1]
    if 0 in spec.shape:
        yield Finding("error", label, f"it is empty (shape {list(spec.shape)})")
    if nan or infinite:
        count = spec.size_bytes // DTYPES[spec.dtype][1]
        yield Finding("error", label, f"{nan} NaN and {infinite} infinite of {count} values")
    if digest is not None and spec.name not in expected:
        yield Finding("error", label, f"{MANIFEST} does not know it")
    elif digest is not None and digest.hexdigest() != expected[spec.name]:
        yield Finding("error", label, f"its content changed since {MANIFEST} was written")


def _count_not_finite(block: torch.Tensor, dtype: str) -> tuple[int, int]:
    """Return how many values are NaN and how many infinite.

    By their bits: seen as whole numbers, positive infinity and NaN are larger than every other
    signed pattern, negative ones larger than every other unsigned one. In float16 on a processor
    without float16 that is 40 times as fast as `isnan` and `isinf`.
    """
    import numpy as np

    kind, infinity = PATTERNS[dtype]
    signed = np.frombuffer(raw_bytes(block), dtype=kind)
    unsigned, sign = signed.view(f"u{kind}"), 1 << (8 * signed.itemsize - 1)
    step = SCAN_BYTES // signed.itemsize
    nan = infinite = 0
    for start in range(0, len(signed), step):
        part = slice(start, start + step)
        if signed[part].max() >= infinity or unsigned[part].max() >= infinity + sign:
            magnitudes = signed[part] & (sign - 1)
            nan += int((magnitudes > infinity).sum())
            infinite += int((magnitudes == infinity).sum())
    return nan, infinite


def _check_types(parts: _Parts) -> Iterator[Finding]:
    """Report a mix of float types: loading with one of them changes the others."""
    weights = [item for item in parts.tensors() if not item[1].name.endswith(FREQUENCIES)]
    counts = Counter(spec.dtype for _, spec in weights if spec.dtype in FLOATS)
    if len(counts) > 1:
        rare = min(counts, key=lambda dtype: (counts[dtype], dtype))
        where = next(parts.label(*item) for item in weights if item[1].dtype == rare)
        mix = ", ".join(f"{count} {dtype}" for dtype, count in sorted(counts.items()))
        yield Finding("warning", where, f"tensors have several float types: {mix}")
