"""How does a float model become a quantized checkpoint for transformers, and what does it cost?

hanlin weights quantize MODEL OUT --method nf4 --calibration texts.jsonl

The checkpoint is loaded back before it appears, and measured on texts it was not calibrated on.
"""

from __future__ import annotations

import logging
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hanlin.core.errors import ConfigError, InputError, StageFailedError
from hanlin.core.files import atomic_directory, write_json
from hanlin.core.meter import Progress
from hanlin.core.registry import did_you_mean
from hanlin.models.info import read_config
from hanlin.models.load import model_folder, quantization_method
from hanlin.models.manifest import check_tokenizer, read_manifest, write_manifest
from hanlin.models.text_loss import measure_folder
from hanlin.tokenization.load import load as load_tokenizer
from hanlin.weights.calibration import PROSE, CalibrationTexts, read_calibration
from hanlin.weights.quantize.bnb import quantize_bnb, require_bitsandbytes
from hanlin.weights.quantize.gptq import GptqJob, require_gptqmodel, run_gptq

if TYPE_CHECKING:
    from hanlin.tokenization.load import Tokenizer

METHODS = {
    "int8": "8 bits by bitsandbytes",
    "nf4": "4 bits by bitsandbytes",
    "gptq": "4 bits by gptqmodel, calibrated",
    "awq": "4 bits by gptqmodel, calibrated",
}
CALIBRATED = ("gptq", "awq")
REPORT = "quantize.json"
WINDOW_TOKENS = 512
WARN_LOSS = 0.05

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """How to quantize.

    Attributes:
        method: one of `METHODS`.
        calibration: file of texts; one row in five is held out to measure on.
        rows: calibrate on at most so many rows.
        seq_len: of a row, in tokens; the rest of it is left out.
        group_size: weights of a row that share a scale, for gptq and awq.
    """

    method: str
    calibration: Path | None = None
    rows: int = 256
    seq_len: int = 2048
    group_size: int = 128


@dataclass(frozen=True)
class Quantization:
    """What was written, and what it costs.

    Attributes:
        method: one of `METHODS`.
        size_bytes_before: of the float weights.
        size_bytes: of the quantized ones.
        bits_per_byte_before: of the held-out texts, by the float model.
        bits_per_byte: of the same texts, by the checkpoint loaded back.
        loss: by which share they grew: 0.01 is 1 % worse.
        calibration_rows: rows that were calibrated on.
        held_out_texts: texts that were measured.
    """

    method: str
    size_bytes_before: int
    size_bytes: int
    bits_per_byte_before: float
    bits_per_byte: float
    loss: float
    calibration_rows: int
    held_out_texts: int

    def to_json(self) -> dict[str, object]:
        """Return plain values."""
        return asdict(self)


def quantize_model(
    model: str | Path,
    out: Path,
    *,
    options: Options,
    force: bool = False,
    progress: Progress = lambda _done, _total, _text: None,
) -> Quantization:
    """Write a quantized checkpoint that transformers loads; it appears when it was measured.

    Args:
        model: folder or hub id of a float model.
        out: the new folder.
        options: the method, and what it looks at.
        force: replace what is at `out`.
        progress: called with (steps done, steps in all, name).

    Raises:
        ConfigError: the method is unknown, or has nothing to calibrate on.
        InputError: the model or the texts cannot be used, or `out` exists.
        StageFailedError: the library failed, or what it made is no model any more.
        ResourceError: the disk is full.
        MissingExtraError: the method's package is missing.
    """
    _check_options(options)
    folder = model_folder(model)
    _check_model(folder, options)
    tokenizer = load_tokenizer(folder)
    check_tokenizer(folder, tokenizer_sha256=tokenizer.sha256, tokenizer_path=tokenizer.path)
    texts = _texts(options)
    inputs = [folder, *([options.calibration] if options.calibration else [])]
    with atomic_directory(out, force=force, inputs=inputs) as draft:
        progress(0, 3, "measuring the float model")
        before = measure_folder(
            folder, texts=texts.held_out, tokenizer=tokenizer, seq_len=WINDOW_TOKENS
        )
        progress(1, 3, f"quantizing to {METHODS[options.method]}")
        after = _quantize(folder, draft, tokenizer=tokenizer, texts=texts, options=options)
        report = _report(options, texts, before=before, after=after, folders=(folder, draft))
        tokenizer.save(draft)
        write_manifest(draft, **read_manifest(folder) | {"tokenizer_sha256": tokenizer.sha256})
        write_json(draft / REPORT, report.to_json())
    progress(3, 3, "done")
    return report


def _check_options(options: Options) -> None:
    if options.method not in METHODS:
        raise ConfigError(
            f"unknown method {options.method!r}",
            why=f"known methods: {', '.join(METHODS)}",
            fix=did_you_mean(options.method, METHODS) or "take one of them, for example nf4",
        )
    if options.method in CALIBRATED and options.calibration is None:
        raise ConfigError(
            f"{options.method} has no texts to calibrate on",
            why="it rounds weights so that the activations of such texts change least",
            fix="name a file of the kind that the model will work on: --calibration FILE",
        )
    if options.method in CALIBRATED:
        require_gptqmodel()
    else:
        require_bitsandbytes()


def _check_model(folder: Path, options: Options) -> None:
    quantized = quantization_method(folder)
    if quantized is not None:
        raise InputError(
            f"{folder} is quantized already (by {quantized})",
            why="quantizing twice adds both errors",
            fix="give the float model that it was made from",
        )
    if options.method not in CALIBRATED:
        return
    config = read_config(folder)
    for key in ("hidden_size", "intermediate_size"):
        size = config.get(key)
        if isinstance(size, int) and size % options.group_size:
            raise InputError(
                f"{key} {size} of {folder} cannot be cut into groups of {options.group_size}",
                why=f"{options.method} gives each group of weights in a row a scale of its own",
                fix=f"--group-size {math.gcd(size, options.group_size)}",
            )


def _texts(options: Options) -> CalibrationTexts:
    if options.calibration is None:
        return CalibrationTexts((), PROSE)
    return read_calibration(options.calibration, rows=options.rows)


def _quantize(
    folder: Path,
    draft: Path,
    *,
    tokenizer: Tokenizer,
    texts: CalibrationTexts,
    options: Options,
) -> float:
    """Write config and weights; return the bits per byte of the checkpoint, loaded back."""
    if options.method not in CALIBRATED:
        quantize_bnb(folder, draft, method=options.method)
        return measure_folder(
            draft, texts=texts.held_out, tokenizer=tokenizer, seq_len=WINDOW_TOKENS
        )
    begin = [] if tokenizer.bos_id is None else [tokenizer.bos_id]
    longest = min(options.seq_len, read_config(folder)["max_position_embeddings"])
    rows = [(begin + tokenizer.encode(text, at_start=True))[:longest] for text in texts.calibration]
    return run_gptq(
        GptqJob(
            source=str(folder.resolve()), out=str(draft.resolve()), method=options.method,
            group_size=options.group_size, rows=rows, texts=texts.held_out, seq_len=WINDOW_TOKENS,
        )
    )  # fmt: skip


def _report(
    options: Options,
    texts: CalibrationTexts,
    *,
    before: float,
    after: float,
    folders: tuple[Path, Path],
) -> Quantization:
    if not math.isfinite(after):
        raise StageFailedError(
            f"the model says nothing any more after {options.method}: bits per byte are {after}",
            why=f"before they were {before:.4f}"
            if math.isfinite(before)
            else "they were so before quantizing: the weights hold NaN or infinity",
            fix="hanlin weights verify MODEL shows damaged weights; else take another method",
        )
    sizes = [sum(f.stat().st_size for f in folder.glob("*.safetensors")) for folder in folders]
    used = len(texts.calibration) if options.method in CALIBRATED else 0
    loss = round(after / before - 1, 5)
    if loss > WARN_LOSS:
        log.warning(
            "after %s the model needs %.1f %% more bits per byte; int8 loses least",
            options.method, 100 * loss,
        )  # fmt: skip
    return Quantization(
        method=options.method, size_bytes_before=sizes[0], size_bytes=sizes[1],
        bits_per_byte_before=round(before, 5), bits_per_byte=round(after, 5), loss=loss,
        calibration_rows=used, held_out_texts=len(texts.held_out),
    )  # fmt: skip
