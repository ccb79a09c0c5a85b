"""How does a model become GGUF files that are known to answer as the model does?

hanlin weights gguf MODEL OUT.gguf --type q8_0
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from hanlin.core.config import InputPath, ModelPath
from hanlin.core.errors import InputError
from hanlin.core.extras import require
from hanlin.core.files import os_error, size_bytes, write_json
from hanlin.core.meter import Progress
from hanlin.core.registry import did_you_mean
from hanlin.core.stage import Estimate, Stage, StageConfig, StageContext
from hanlin.models.info import read_config
from hanlin.weights.gguf.kquants import require_quantizer
from hanlin.weights.gguf.types import MIXED_TYPES, TYPES, check_type
from hanlin.weights.gguf.write import write_gguf

if TYPE_CHECKING:
    from hanlin.weights.gguf.check import Reference
    from hanlin.weights.gguf.write import GgufFile

CHECKS = "checks.json"


def _silent(_done: int, _total: int, _text: str) -> None:
    return None


class Config(StageConfig):
    """Settings of `export`."""

    model: ModelPath
    """The model folder to export."""
    types: list[str] = Field(["f16", "q8_0"], min_length=1)
    """One file for each: 16 bits keep the model's answers, q8_0 halves that, q4_k_m quarters it
    (types with a k or iq need the extra `kquants`)."""
    check: bool = True
    """Compare every file with transformers by their tokens; needs memory for a float32 model."""
    text: InputPath | None = None
    """Measure bits per byte on the first 20 kB of this file; None: on a short text of ours."""

    @field_validator("types")
    @classmethod
    def _check_types(cls, types: list[str]) -> list[str]:
        unknown = sorted(set(types) - TYPES.keys())
        if unknown:
            hint = did_you_mean(unknown[0], TYPES) or f"known types: {', '.join(TYPES)}"
            raise ValueError(f"unknown GGUF type {unknown[0]!r} ({hint})")
        doubled = sorted({type for type in types if types.count(type) > 1})
        if doubled:
            raise ValueError(f"the type {doubled[0]!r} is listed twice; name each type once")
        return types


def export_files(
    model: str | Path,
    folder: Path,
    *,
    types: Sequence[str],
    check: bool = True,
    text: Path | None = None,
    progress: Progress = _silent,
) -> dict[str, dict[str, object]]:
    """Write `model-TYPE.gguf` for each type, and `checks.json` with what llama.cpp made of them.

    Args:
        model: folder or hub id.
        folder: where the files go.
        types: one file for each.
        check: compare the files with transformers.
        text: file to measure bits per byte on; None: a short text of ours.
        progress: called with (done, total, text).

    Returns:
        The content of `checks.json`: type -> size, and with `check` the comparison.

    Raises:
        InputError: the model cannot be exported.
        StageFailedError: llama.cpp does not compute what transformers computes.
        ResourceError: the disk is full or the folder cannot be written.
        MissingExtraError: gguf or xllamacpp is missing.
    """
    _require_packages(types, check=check)
    reference = _reference(model, text) if check else None
    results = {}
    for type in types:
        results[type] = _write_one(
            model, folder / f"model-{type}.gguf", type=type, reference=reference, progress=progress
        )
    write_json(folder / CHECKS, results)
    return results


def export_file(  # noqa: PLR0913 - every argument but three has a default
    model: str | Path,
    out: Path,
    *,
    type: str,
    check: bool = True,
    text: Path | None = None,
    force: bool = False,
    progress: Progress = _silent,
) -> dict[str, object]:
    """Write one GGUF file; it appears only after it was checked. Arguments as `export_files`.

    Raises:
        InputError: `out` exists and `force` is not set, or the model cannot be exported.
        StageFailedError: llama.cpp does not compute what transformers computes.
        ResourceError: the disk is full or the folder cannot be written.
        MissingExtraError: gguf or xllamacpp is missing.
    """
    check_type(type)
    if out.is_dir() or (out.exists() and not force):
        raise InputError(
            f"{out} is a folder" if out.is_dir() else f"{out} exists already",
            why="OUT is one file, and nothing is overwritten unless it is asked for",
            fix="give a file name such as model-f16.gguf, or add --force to replace a file",
        )
    _refuse_input(model, out)
    _require_packages([type], check=check)
    reference = _reference(model, text) if check else None
    draft = out.with_name(f".{out.name}.work")
    try:
        result = _write_one(model, draft, type=type, reference=reference, progress=progress)
        draft.replace(out)
    except OSError as error:
        raise os_error(error, out) from error
    finally:
        if draft.exists():
            draft.unlink()
    return result


def _refuse_input(model: str | Path, out: Path) -> None:
    """Refuse a place that one of the model's own files has; an older GGUF beside them is none."""
    from hanlin.models.load import model_folder

    if (
        out.suffix != ".gguf"
        and out.exists()
        and out.resolve().parent == model_folder(model).resolve()
    ):
        raise InputError(
            f"{out} is a file of the model",
            why="the result would replace it",
            fix="give another file name, such as model-f16.gguf",
        )


def _require_packages(types: Sequence[str], *, check: bool) -> None:
    """Ask for what is needed before any work is done."""
    require("gguf", extra="cpu", purpose="writing GGUF files")
    if check:
        require("xllamacpp", extra="cpu", purpose="checking GGUF files")
    if set(types) & MIXED_TYPES.keys():
        require_quantizer()


def _reference(model: str | Path, text: Path | None) -> Reference:
    from hanlin.models.load import model_folder
    from hanlin.weights.calibration import PROSE, read_probe
    from hanlin.weights.gguf.check import make_reference

    folder = model_folder(model)
    return make_reference(folder, texts=PROSE if text is None else read_probe(text))


def _write_one(
    model: str | Path, path: Path, *, type: str, reference: Reference | None, progress: Progress
) -> dict[str, object]:
    file = write_gguf(model, path, type=type, progress=progress)
    if reference is None:
        size, kept = size_bytes(path), list(file.kept_f16)
        return {"size_bytes": size, "kept_f16": kept, "tensor_types": file.tensor_types}
    return _checked(file, reference)


def _checked(file: GgufFile, reference: Reference) -> dict[str, object]:
    from hanlin.weights.gguf.check import check_gguf, require_agreement

    check = check_gguf(file, reference)
    require_agreement(check, file=file.path, type=file.type)
    return check.to_json()


def run(config: Config, context: StageContext) -> None:
    """Export into `context.out / "gguf"`, anew after an interruption."""
    folder = context.out / "gguf"
    shutil.rmtree(folder, ignore_errors=True)
    results = export_files(
        config.model,
        folder,
        types=config.types,
        check=config.check,
        text=Path(config.text) if config.text else None,
        progress=context.progress,
    )
    for type, result in results.items():
        context.events.emit("metric", stage=context.name, type=type, **result)


def estimate(config: Config) -> Estimate:
    """Return the disk of all files, and the memory of the model in float32 for the check."""
    folder = Path(config.model)
    if not (folder / "config.json").is_file():
        return Estimate()
    settings = read_config(folder)
    stored = str(settings.get("dtype") or settings.get("torch_dtype") or "float32")
    stored_bytes = 2 if stored.endswith("16") else 4
    parameters = sum(size_bytes(file) for file in folder.glob("*.safetensors")) // stored_bytes
    disk = sum(parameters * TYPES[type].bits / 8 for type in config.types)
    if set(config.types) & MIXED_TYPES.keys():
        disk += 2 * parameters  # the file of 16 bits that the quantizer reads
    # 300 MB is Python with torch; the file that is checked lies in memory beside nothing else.
    return Estimate(
        disk_bytes=round(disk), memory_bytes=300_000_000 + config.check * 4 * parameters
    )


STAGE = Stage(
    summary="Write GGUF files and compare them with the model through llama.cpp.",
    config=Config,
    run=run,
    outputs={"gguf": ("gguf", "gguf")},
    estimate=estimate,
)
