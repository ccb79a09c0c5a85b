"""What does each way to store a model cost in bits per byte, beside llama.cpp's own files?

    python benchmarks/quantization.py [RUN]

Exports the model of a finished quickstart (RUN, or one that is made first) in every type of
`hanlin weights gguf` and by every method of `hanlin weights quantize`, and measures bits per byte
of the quickstart's held-out texts: GGUF files through llama.cpp, checkpoints through transformers,
both beside transformers in float32 on the float model. Where llama-cpp-python is installed, its
quantizer makes the simple types too, from our f16 file: the peer in the same run. What needs a
package that is not installed is left out, with the reason.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ |= {"HANLIN_CACHE": "off", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

from hanlin.core import environment
from hanlin.core.errors import MissingExtraError
from hanlin.core.files import size_bytes, write_atomic, write_json
from hanlin.models.text_loss import measure_folder
from hanlin.tokenization.load import load
from hanlin.weights.calibration import read_probe
from hanlin.weights.gguf.check import Reference, check_gguf, make_reference
from hanlin.weights.gguf.kquants import quantize_file, require_quantizer
from hanlin.weights.gguf.types import MIXED_TYPES, SIMPLE_TYPES
from hanlin.weights.gguf.write import GgufFile, write_gguf
from hanlin.weights.quantize.quantize import CALIBRATED, METHODS, Options, quantize_model

RESULT = Path(__file__).parent / "results" / "quantization.json"
LANGUAGES = ("zh", "en")
LIMITS = {"q8_0": 0.005, "q4_0": 0.06}  # what the project promises
GROUP_SIZE = 32  # the quickstart's rows of 352 cannot be cut into groups of 128
WINDOW = 512
Row = dict[str, Any]


def gguf_row(file: GgufFile, references: dict[str, Reference], *, by: str) -> Row:
    """Measure one GGUF file in both languages."""
    checks = {language: check_gguf(file, reference) for language, reference in references.items()}
    return {
        "name": file.type,
        "by": by,
        "size_bytes": size_bytes(file.path),
        "tensors": file.tensor_types,
        "bits_per_byte": {language: check.bits_per_byte for language, check in checks.items()},
        "loss": {language: check.loss for language, check in checks.items()},
        "greedy_agreement": next(iter(checks.values())).greedy_agreement,
    }


def gguf_rows(model: Path, texts: dict[str, list[str]], folder: Path) -> Iterator[Row]:
    """Measure every GGUF type, ours and llama.cpp's."""
    from gguf import GGUFReader

    references = {name: make_reference(model, texts=own) for name, own in texts.items()}
    for type in (*SIMPLE_TYPES, *MIXED_TYPES):
        path = folder / f"model-{type}.gguf"
        try:
            file = write_gguf(model, path, type=type)
        except MissingExtraError as error:
            yield {"name": type, "by": "llama.cpp", "left_out": error.what}
            continue
        yield gguf_row(file, references, by="hanlin" if type in SIMPLE_TYPES else "llama.cpp")
    try:
        require_quantizer()
    except MissingExtraError:
        return
    for type in [type for type, kind in SIMPLE_TYPES.items() if kind.bits < 16]:
        path = folder / f"peer-{type}.gguf"
        quantize_file(
            folder / "model-f16.gguf", path, file_type=SIMPLE_TYPES[type].file_type,
            progress=lambda _done, _total, _text: None,
        )  # fmt: skip
        kinds = [tensor.tensor_type.name for tensor in GGUFReader(path).tensors]
        counted = {kind: kinds.count(kind) for kind in sorted(set(kinds))}
        yield gguf_row(GgufFile(path, type, counted, (), 0, 0), references, by="llama.cpp")


def checkpoint_rows(
    model: Path, texts: dict[str, list[str]], calibration: Path, folder: Path
) -> Iterator[Row]:
    """Measure every method that makes a checkpoint for transformers."""
    before = {name: transformers_bits(model, own, tokenizer=model) for name, own in texts.items()}
    size = sum(file.stat().st_size for file in model.glob("*.safetensors"))
    yield {"name": "float32", "by": "transformers", "size_bytes": size, "bits_per_byte": before}
    for method in METHODS:
        out = folder / method
        options = Options(method, calibration, group_size=GROUP_SIZE)
        try:
            done = quantize_model(model, out, options=options)
        except MissingExtraError as error:
            yield {"name": method, "by": "transformers", "left_out": error.what}
            continue
        after = {name: transformers_bits(out, own, tokenizer=model) for name, own in texts.items()}
        yield {
            "name": method,
            "by": "gptqmodel" if method in CALIBRATED else "bitsandbytes",
            "size_bytes": done.size_bytes,
            "bits_per_byte": after,
            "loss": {name: round(after[name] / before[name] - 1, 5) for name in texts},
        }


def transformers_bits(folder: Path, texts: list[str], *, tokenizer: Path) -> float:
    """Return bits per byte of a model folder, by transformers."""
    found = measure_folder(folder, texts=texts, tokenizer=load(tokenizer), seq_len=WINDOW)
    return round(found, 5)


def write_table(rows: list[Row]) -> None:
    """Write what was measured for people."""
    lines = [
        "Written by `python benchmarks/quantization.py`: bits per byte and how much they grew.", "",
        "| stored as | by | kB | zh bits | en bits | zh loss | en loss | greedy | tensors |",
        "|---|---|---:|---:|---:|---:|---:|---:|---|",
    ]  # fmt: skip
    for row in rows:
        if "left_out" in row:
            lines.append(f"| {row['name']} | left out: {row['left_out']} |")
            continue
        bits, loss = row["bits_per_byte"], row.get("loss") or {}
        kinds = ", ".join(f"{count} {kind}" for kind, count in row.get("tensors", {}).items())
        shown = [f"{loss[name]:+.2%}" if name in loss else "" for name in LANGUAGES]
        greedy = f"{row['greedy_agreement']:.1%}" if "greedy_agreement" in row else ""
        cells = [
            row["name"], row["by"], f"{row['size_bytes'] / 1000:,.0f}", f"{bits['zh']:.4f}",
            f"{bits['en']:.4f}", *shown, greedy, kinds,
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    write_atomic(RESULT.with_suffix(".md"), ("\n".join(lines) + "\n").encode())


def main() -> None:
    """Run, measure, write the result."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = Path(sys.argv[1]) if len(sys.argv) > 1 else folder / "run"
        if len(sys.argv) == 1:
            command = [sys.executable, "-m", "hanlin", "run", "quickstart", "--out", str(run)]
            subprocess.run(command, check=True)
        model, world = run / "merge" / "model", run / "world"
        texts = {name: read_probe(world / "heldout" / f"{name}.jsonl") for name in LANGUAGES}
        rows = []
        for row in gguf_rows(model, texts, folder):
            rows.append(row)
            print(json.dumps(row), flush=True)
        for row in checkpoint_rows(model, texts, world / "corpus", folder):
            rows.append(row)
            print(json.dumps(row), flush=True)
    ours = {row["name"]: row for row in rows if row["by"] == "hanlin"}
    kept = {type: max(ours[type]["loss"].values()) <= limit for type, limit in LIMITS.items()}
    bytes_of = {name: sum(len(text.encode()) for text in own) for name, own in texts.items()}
    machine = environment.describe()
    write_json(RESULT, {"machine": machine, "held_out_bytes": bytes_of, "kept": kept, "rows": rows})
    write_table(rows)
    print(f"limits {LIMITS}: kept {kept}")


if __name__ == "__main__":
    main()
