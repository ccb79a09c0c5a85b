"""What is a checkpoint that is to be converted, whatever layout it has?

Every layout is opened as the same thing: tensors under transformers' names, in blocks of rows, and
the settings that belong to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hanlin.core.errors import ConfigError, InputError
from hanlin.core.registry import did_you_mean
from hanlin.models.info import read_config
from hanlin.models.manifest import read_manifest
from hanlin.models.tensors import DTYPES, FLOATS, TensorSpec, open_checkpoint, torch_dtype

if TYPE_CHECKING:
    import torch

CONFIG = "config.json"
OUTPUT_TYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
LARGEST_F16 = 65504.0
MANIFEST_KEY = "meta"  # of hanlin.json: what one of the layouts has no words for


@dataclass(frozen=True)
class Source:
    """An opened checkpoint.

    Attributes:
        layout: "hf", "meta" or "llama2c".
        path: where it is.
        files: the files that its tensors are in.
        specs: transformers' name -> what the tensor is, in the order to write them.
        blocks: gives a tensor's consecutive blocks of rows.
        config: the content of `config.json`; only "hf" has the ids of special tokens in it.
        manifest: the content of `hanlin.json`.
        rope_freqs: "layers" or "model", where Meta's files hold the rotary frequencies.
    """

    layout: str
    path: Path
    files: tuple[Path, ...]
    specs: dict[str, TensorSpec]
    blocks: Callable[[str], Iterator[torch.Tensor]]
    config: dict[str, Any]
    manifest: dict[str, Any] = field(default_factory=dict)
    rope_freqs: str | None = None

    @property
    def dtype(self) -> str:
        """Return torch's name of the type that most of the bytes have."""
        sizes: dict[str, int] = {}
        for spec in self.specs.values():
            sizes[spec.dtype] = sizes.get(spec.dtype, 0) + spec.size_bytes
        return DTYPES[max(sizes, key=lambda name: (sizes[name], name))][0]


def open_hf(folder: Path) -> Source:
    """Open a folder in the Hugging Face layout: safetensors or PyTorch `.bin` files.

    Raises:
        InputError: a file is missing or damaged.
    """
    checkpoint, manifest = open_checkpoint(folder), read_manifest(folder)
    return Source(
        layout="hf",
        path=folder,
        files=tuple(folder / name for name in sorted(set(checkpoint.files.values()))),
        specs=checkpoint.specs,
        blocks=checkpoint.blocks,
        config=read_config(folder),
        manifest=manifest,
        rope_freqs=(manifest.get(MANIFEST_KEY) or {}).get("rope_freqs"),
    )


def as_dtype(source: Source, dtype: str) -> Source:
    """Return the same checkpoint with all float tensors in another type.

    Args:
        source: an opened checkpoint.
        dtype: "float32", "float16" or "bfloat16".

    Raises:
        ConfigError: the type is unknown.
        InputError: while reading: a value does not fit into float16.
    """
    if dtype not in OUTPUT_TYPES:
        raise ConfigError(
            f"unknown dtype {dtype!r}",
            why=f"known types: {', '.join(OUTPUT_TYPES)}",
            fix=did_you_mean(dtype, OUTPUT_TYPES) or "give one of them",
        )
    wanted = OUTPUT_TYPES[dtype]
    specs = {
        name: replace(spec, dtype=wanted) if spec.dtype in FLOATS else spec
        for name, spec in source.specs.items()
    }

    def blocks(name: str) -> Iterator[torch.Tensor]:
        unchanged = source.blocks(name)
        return unchanged if specs[name] == source.specs[name] else _cast(unchanged, specs[name])

    names = {key: dtype for key in ("dtype", "torch_dtype") if key in source.config}
    return replace(
        source, specs=specs, blocks=blocks, config=source.config | (names or {"dtype": dtype})
    )


def _cast(blocks: Iterable[torch.Tensor], spec: TensorSpec) -> Iterator[torch.Tensor]:
    for block in blocks:
        cast = block.to(torch_dtype(spec.dtype))
        if spec.dtype == "F16" and bool((cast.isinf() & block.isfinite()).any()):
            raise InputError(
                f"the tensor {spec.name!r} does not fit into float16: it has "
                f"{float(block.abs().max()):.3g}",
                why=f"float16 ends at {LARGEST_F16:.0f}",
                fix="convert to bfloat16 or float32",
            )
        yield cast
