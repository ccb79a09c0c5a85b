"""Do 7B and 13B models train on the cards that were promised, and is the estimate right?

    python benchmarks/gpu_memory.py [--work DIR] [--only NAME]

Random-weight models in LLaMA's shapes are tuned for a few steps on one GPU whose memory is capped
to the card's. Beside the measured peak stands the estimate of `hanlin.models.memory`. Without a GPU
nothing is measured and nothing is written. Needs 30 GB of disk and 60 GB of memory for 13B.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hanlin.core import environment
from hanlin.core.files import write_atomic, write_json, write_jsonl

GIB = 1 << 30
RESULT = Path(__file__).parent / "results" / "gpu_memory.json"
SHAPES = {
    "7B": {"hidden_size": 4096, "intermediate_size": 11008, "layers": 32, "heads": 32},
    "13B": {"hidden_size": 5120, "intermediate_size": 13824, "layers": 40, "heads": 40},
}
VOCAB_SIZE, RANK, STEPS = 32_000, 8, 3


@dataclass(frozen=True)
class Promise:
    """A row of the table of cards: what is to fit into how much memory."""

    name: str
    size: str
    method: str
    seq_len: int
    micro_batch_size: int
    card_gib: float
    card: str
    is_recomputing: bool = True


PROMISES = [
    Promise("7b-int8-256", "7B", "int8", 256, 4, 11, "RTX 2080 Ti", is_recomputing=False),
    Promise("13b-int8-256", "13B", "int8", 256, 4, 24, "RTX 3090", is_recomputing=False),
    Promise("7b-int8-2048", "7B", "int8", 2048, 4, 24, "RTX 3090"),
    Promise("13b-qlora-256", "13B", "qlora", 256, 4, 11, "RTX 2080 Ti"),
]
CHILD = """
import json, sys, torch
from pathlib import Path
from hanlin.core.events import EventLog
from hanlin.core.stage import StageContext
from hanlin.training import finetune
config, out, cap = json.loads(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
total = torch.cuda.get_device_properties(0).total_memory
torch.cuda.set_per_process_memory_fraction(min(1.0, cap / total))
out.mkdir(parents=True, exist_ok=True)
log = EventLog(out / "events.jsonl")
finetune.run(finetune.Config.model_validate(config), StageContext("finetune", out, 0, log))
print("PEAK " + json.dumps({"allocated": torch.cuda.max_memory_allocated(),
                            "reserved": torch.cuda.max_memory_reserved()}))
"""


def make_model(folder: Path, size: str) -> Path:
    """Write a random model in bfloat16, and a small tokenizer with it."""
    from hanlin.models.save import save_model
    from hanlin.models.tiny import SAMPLE_TEXTS, Architecture, new_llama
    from hanlin.tokenization.load import load
    from hanlin.tokenization.train import train_sentencepiece

    out = folder / size
    if not (out / "hanlin.json").is_file():
        train_sentencepiece(SAMPLE_TEXTS, vocab_size=400, out=folder / "tokenizer", seed=1)
        model = new_llama(Architecture(max_length=2048, **SHAPES[size]), VOCAB_SIZE, seed=1)
        save_model(model.bfloat16(), load(folder / "tokenizer"), out)
    return out


def make_store(folder: Path, model: Path, seq_len: int) -> Path:
    """Write conversations that fill whole rows."""
    from hanlin.core.events import EventLog
    from hanlin.core.stage import StageContext
    from hanlin.data import prepare_chat

    words = "the river runs through the old town 河流穿过古城 "
    rows = [{"instruction": f"{i}?", "output": words * (seq_len // 24)} for i in range(200)]
    write_jsonl(folder / f"rows-{seq_len}.jsonl", rows)
    values = {
        "sources": [{"path": str(folder / f"rows-{seq_len}.jsonl"), "name": "rows"}],
        "tokenizer": str(model), "seq_len": seq_len, "max_bad_rows": 1.0,
    }  # fmt: skip
    context = StageContext("p", folder / f"store-{seq_len}", 0, EventLog(folder / "events.jsonl"))
    prepare_chat.run(prepare_chat.Config.model_validate(values), context)
    return context.out / "store"


def estimated(model: Path, promise: Promise) -> int:
    """Return the bytes that the estimate expects on the GPU."""
    from hanlin.models.info import read_info
    from hanlin.models.memory import Training, adapter_parameters, training_memory

    info = read_info(model)
    found = training_memory(info, Training(
        method=promise.method, rows=promise.micro_batch_size, seq_len=promise.seq_len,
        trained_parameters=adapter_parameters(info, rank=RANK), precision="fp16", rank=RANK,
        is_recomputing=promise.is_recomputing,
    ))  # fmt: skip
    return found.total - found.process


def measure(promise: Promise, folder: Path) -> dict[str, Any]:
    """Tune for a few steps under the cap; return peak and estimate."""
    model = make_model(folder, promise.size)
    schedule = {
        "steps": STEPS, "seq_len": promise.seq_len, "micro_batch_size": promise.micro_batch_size,
        "gradient_checkpointing": promise.is_recomputing, "precision": "fp16", "save_every": 1000,
    }  # fmt: skip
    config = {
        "model": str(model), "store": str(make_store(folder, model, promise.seq_len)),
        "method": promise.method, "lora": {"rank": RANK}, "schedule": schedule, "try_answers": 0,
    }  # fmt: skip
    command = [sys.executable, "-c", CHILD, json.dumps(config), str(folder / promise.name),
               str(promise.card_gib * GIB)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    row: dict[str, Any] = {**asdict(promise), "estimated_bytes": estimated(model, promise)}
    if done.returncode:
        return row | {"failed": (done.stderr or done.stdout)[-600:]}
    peak = json.loads(done.stdout.rpartition("PEAK ")[2].splitlines()[0])
    ratio = round(row["estimated_bytes"] / peak["allocated"], 3)
    return row | {"peak_bytes": peak, "estimated_over_measured": ratio}


def table(result: dict[str, Any]) -> str:
    """Return the figures for people."""
    lines = [
        f"LoRA of rank {RANK} on random weights, {result['gpu']}, memory capped to the card's. "
        "Made by `python benchmarks/gpu_memory.py`.", "",
        "| model | method | tokens | rows | card | cap | peak | estimate | estimate / peak |",
        "|---|---|---:|---:|---|---:|---:|---:|---:|",
    ]  # fmt: skip
    for row in result["rows"]:
        peak = row.get("peak_bytes", {}).get("allocated")
        measured = f"{peak / GIB:.2f} GiB" if peak else "does not fit"
        lines.append(
            f"| {row['size']} | {row['method']} | {row['seq_len']} | {row['micro_batch_size']} | "
            f"{row['card']} | {row['card_gib']:.0f} GiB | {measured} | "
            f"{row['estimated_bytes'] / GIB:.2f} GiB | {row.get('estimated_over_measured', '')} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure every promise, where there is a GPU."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, help="keep the models here")
    parser.add_argument("--only", choices=[promise.name for promise in PROMISES])
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("torch sees no GPU: nothing was measured, nothing is written")
    with tempfile.TemporaryDirectory() as name:
        folder = options.work or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        chosen = [p for p in PROMISES if options.only in (None, p.name)]
        rows = [measure(promise, folder) for promise in chosen]
    gpu = torch.cuda.get_device_name(0)
    result = {"machine": environment.describe(), "gpu": gpu, "rows": rows}
    write_json(RESULT, result)
    write_atomic(RESULT.with_suffix(".md"), table(result).encode())
    print(table(result))


if __name__ == "__main__":
    main()
