"""Is a checkpoint whole: as it was written, all numbers finite, and made for its tokenizer?

hanlin weights verify DIR
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hanlin.core.errors import HanlinError
from hanlin.core.files import read_json
from hanlin.models.manifest import check_tokenizer, read_manifest
from hanlin.models.tensors import (
    FLOATS,
    MANIFEST,
    SINGLE,
    Checkpoint,
    TensorSpec,
    open_checkpoint,
    tensor_sha256,
)
from hanlin.prompts.probe import check_probe
from hanlin.tokenization.load import load as load_tokenizer
from hanlin.weights.lora import CONFIG as ADAPTER_CONFIG
from hanlin.weights.lora import EMBEDDING, HEAD
from hanlin.weights.lora import WEIGHTS as ADAPTER_WEIGHTS

if TYPE_CHECKING:
    import torch

    from hanlin.tokenization.load import Tokenizer


@dataclass(frozen=True)
class Finding:
    """Something wrong ("error") or odd ("warning").

    Attributes:
        level: errors make the checkpoint unfit for use.
        where: a tensor or a file.
        what: one sentence.
    """

    level: Literal["error", "warning"]
    where: str
    what: str


@dataclass(frozen=True)
class Verification:
    """What was looked at, and what was found.

    Attributes:
        tensors: number of tensors.
        size_bytes: of all tensors.
        dtypes: type -> number of tensors.
        has_digests: there was a manifest to compare with.
        findings: errors and warnings, in the order of the files.
    """

    tensors: int
    size_bytes: int
    dtypes: dict[str, int]
    has_digests: bool
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> list[Finding]:
        """Return the findings that make it unfit for use."""
        return [finding for finding in self.findings if finding.level == "error"]

    def to_json(self) -> dict[str, object]:
        """Return plain values."""
        return asdict(self) | {"findings": [asdict(finding) for finding in self.findings]}


def verify_checkpoint(
    folder: Path,
    *,
    progress: Callable[[int, int, str], None] = lambda _done, _total, _text: None,
) -> Verification:
    """Read every tensor of a model or adapter folder and look for what is wrong.

    Args:
        folder: a folder with safetensors files.
        progress: called with (tensors done, tensors in all, name).

    Raises:
        InputError: it is no checkpoint, a shard is missing or cannot be read.
    """
    is_adapter = (folder / ADAPTER_CONFIG).is_file()
    checkpoint = open_checkpoint(folder, single=ADAPTER_WEIGHTS if is_adapter else SINGLE)
    expected = _digests(folder)
    findings: list[Finding] = []
    for done, spec in enumerate(checkpoint.specs.values(), start=1):
        tensor = checkpoint.read(spec.name)
        findings += _check_values(spec, tensor)
        findings += _check_digest(spec, tensor, expected)
        progress(done, len(checkpoint.specs), spec.name)
    findings += [
        Finding("error", name, f"{MANIFEST} names it, but it is not there")
        for name in sorted(expected.keys() - checkpoint.specs.keys())
    ]
    findings += _check_types(checkpoint)
    if not is_adapter:
        findings += _check_model(folder, checkpoint)
    dtypes = Counter(spec.dtype for spec in checkpoint.specs.values())
    return Verification(
        tensors=len(checkpoint.specs),
        size_bytes=checkpoint.size_bytes,
        dtypes=dict(sorted(dtypes.items())),
        has_digests=bool(expected),
        findings=tuple(findings),
    )


def _digests(folder: Path) -> dict[str, str]:
    if not (folder / MANIFEST).is_file():
        return {}
    tensors = read_json(folder / MANIFEST)["tensors"]
    return {name: entry["sha256"] for name, entry in tensors.items()}


def _check_values(spec: TensorSpec, tensor: torch.Tensor) -> Iterator[Finding]:
    if tensor.numel() == 0:
        yield Finding("error", spec.name, f"it is empty (shape {list(spec.shape)})")
    elif spec.dtype in FLOATS:
        nan, infinite = int(tensor.isnan().sum()), int(tensor.isinf().sum())
        if nan or infinite:
            yield Finding(
                "error", spec.name, f"{nan} NaN and {infinite} infinite of {tensor.numel()} values"
            )


def _check_digest(
    spec: TensorSpec, tensor: torch.Tensor, expected: dict[str, str]
) -> Iterator[Finding]:
    if not expected:
        return
    if spec.name not in expected:
        yield Finding("error", spec.name, f"{MANIFEST} does not know it")
    elif tensor_sha256(spec, tensor) != expected[spec.name]:
        yield Finding("error", spec.name, f"its content changed since {MANIFEST} was written")


def _check_types(checkpoint: Checkpoint) -> Iterator[Finding]:
    """Report a mix of float types: loading with one of them changes the others."""
    specs = [spec for spec in checkpoint.specs.values() if spec.dtype in FLOATS]
    counts = Counter(spec.dtype for spec in specs)
    if len(counts) > 1:
        rare = min(counts, key=lambda dtype: (counts[dtype], dtype))
        name = next(spec.name for spec in specs if spec.dtype == rare)
        mix = ", ".join(f"{count} {dtype}" for dtype, count in sorted(counts.items()))
        yield Finding("warning", name, f"tensors have several float types: {mix}")


def _check_model(folder: Path, checkpoint: Checkpoint) -> Iterator[Finding]:
    """Check the tensors against `config.json`, the tokenizer and `hanlin.json`."""
    rows = {
        name: checkpoint.specs[name].shape[0]
        for name in (EMBEDDING, HEAD)
        if name in checkpoint.specs and checkpoint.specs[name].shape
    }
    try:
        settings = read_json(folder / "config.json")
        tokenizer = load_tokenizer(folder)
        check_tokenizer(folder, tokenizer_sha256=tokenizer.sha256, tokenizer_path=tokenizer.path)
        check_probe(read_manifest(folder), tokenizer, where="hanlin.json")
    except HanlinError as error:
        yield Finding("error", folder.name, error.what + (f" ({error.why})" if error.why else ""))
        return
    for name, count in rows.items():
        yield from _check_rows(name, count, settings.get("vocab_size"), tokenizer)


def _check_rows(
    name: str, rows: int, configured: int | None, tokenizer: Tokenizer
) -> Iterator[Finding]:
    if rows != configured:
        yield Finding("error", name, f"{rows} rows, but vocab_size in config.json is {configured}")
    if rows < tokenizer.vocab_size:
        what = f"{rows} rows, but the tokenizer has {tokenizer.vocab_size} entries"
        yield Finding("error", name, what)
    elif rows > tokenizer.vocab_size:
        what = f"{rows - tokenizer.vocab_size} rows more than the tokenizer has entries (padding)"
        yield Finding("warning", name, what)
