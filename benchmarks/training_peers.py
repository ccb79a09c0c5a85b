"""How do the peers of benchmarks/training.py tune, and how is a process measured?"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from hanlin.core.files import read_json, write_json

SEQ_LEN, ROWS_A_STEP, RATE, HELD_OUT = 512, 8, 1e-3, 100
TRL = """
import json, sys, time, torch
from datasets import load_dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer
base, rows, out, packing, steps = sys.argv[1:]
torch.set_num_threads(torch.get_num_threads())
started = time.perf_counter()
class Clock(TrainerCallback):
    times = []
    def on_step_end(self, *args, **kwargs):
        self.times.append(time.perf_counter())
packed = packing == "packed"
config = SFTConfig(
    output_dir=out, max_length=512, packing=packed, per_device_train_batch_size=8,
    num_train_epochs=1, max_steps=int(steps), learning_rate=1e-3, lr_scheduler_type="constant",
    warmup_steps=0, completion_only_loss=True, bf16=False, fp16=False, use_cpu=True,
    gradient_checkpointing=False, report_to="none", save_strategy="no", logging_steps=5,
    seed=1, disable_tqdm=True, optim="adamw_torch_fused", weight_decay=0.0, adam_beta2=0.95,
)
trainer = SFTTrainer(
    model=AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), args=config,
    train_dataset=load_dataset("json", data_files=rows, split="train"),
    processing_class=AutoTokenizer.from_pretrained(base), callbacks=[Clock()],
)
prepared = time.perf_counter() - started
trainer.train()
trainer.save_model(out)
print("FIGURES " + json.dumps({
    "prepare_seconds": prepared, "steps": len(Clock.times),
    "step_seconds": [b - a for a, b in zip(Clock.times, Clock.times[1:])],
    "attention": trainer.model.config._attn_implementation,
}))
"""


def run(command: list[str | Path], *, threads: int, env: dict[str, str] | None = None) -> Any:  # noqa: ANN401
    """Run a process to its end; return seconds, peak memory in bytes and what it printed."""
    with tempfile.NamedTemporaryFile("r") as record:
        timed = ["/usr/bin/time", "-f", "%M", "-o", record.name, *map(str, command)]
        started = time.perf_counter()
        done = subprocess.run(
            timed, capture_output=True, text=True, check=False,
            env={**os.environ, "OMP_NUM_THREADS": str(threads), **(env or {})},
        )  # fmt: skip
        seconds = time.perf_counter() - started
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed:\n{(done.stdout + done.stderr)[-3000:]}")
        peak = int(record.read().split()[-1]) * 1024
    return round(seconds, 2), peak, done.stdout


def trl(
    world: dict[str, Path], out: Path, *, venv: Path, packing: str, steps: int | None
) -> dict[str, Any]:
    """Tune with TRL, padded or packed."""
    seconds, peak, printed = run(
        [venv / "bin" / "python", "-c", TRL, world["base"],
         world["folder"] / "train.pairs.jsonl", out, packing, str(steps or -1)], threads=2,
    )  # fmt: skip
    found = json.loads(printed.rpartition("FIGURES ")[2].splitlines()[0])
    more = {"prepare_seconds": round(found["prepare_seconds"], 2), "attention": found["attention"]}
    return figures(seconds, peak, steps=found["steps"], step_seconds=found["step_seconds"]) | more


def llamafactory(
    world: dict[str, Path], out: Path, *, venv: Path, packing: str, steps: int | None
) -> dict[str, Any]:
    """Tune with LLaMA-Factory, padded or packed (neat_packing: documents apart)."""
    folder = world["folder"]
    write_json(folder / "dataset_info.json", {"rows": {"file_name": "train.alpaca.json"}})
    config = {
        "model_name_or_path": str(world["base"]), "stage": "sft", "do_train": True,
        "finetuning_type": "full", "dataset": "rows", "dataset_dir": str(folder),
        "template": "vanilla", "cutoff_len": SEQ_LEN, "output_dir": str(out),
        "per_device_train_batch_size": ROWS_A_STEP, "learning_rate": RATE,
        "lr_scheduler_type": "constant", "num_train_epochs": 1.0, "max_steps": steps or -1,
        "logging_steps": 1, "save_strategy": "no", "report_to": "none", "use_cpu": True,
        "optim": "adamw_torch_fused", "packing": packing == "packed",
        "neat_packing": packing == "packed", "gradient_checkpointing": False,
        "disable_gradient_checkpointing": True, "overwrite_output_dir": True,
    }  # fmt: skip
    write_json(out.with_suffix(".yaml"), config)
    seconds, peak, _ = run(
        [venv / "bin" / "llamafactory-cli", "train", out.with_suffix(".yaml")], threads=2
    )
    state = read_json(out / "trainer_state.json")
    log = [json.loads(line) for line in (out / "trainer_log.jsonl").read_text().splitlines()]
    clocks = [clock_seconds(row["elapsed_time"]) for row in log if "elapsed_time" in row]
    each = (clocks[-1] - clocks[0]) / max(1, len(clocks) - 1)
    return figures(seconds, peak, steps=state["global_step"], step_seconds=[each])


def clock_seconds(text: str) -> int:
    """Return the seconds of h:mm:ss."""
    total = 0
    for part in text.split(":"):
        total = 60 * total + int(part)
    return total


def figures(seconds: float, peak: int, *, steps: int, step_seconds: list[float]) -> dict[str, Any]:
    """Return what was measured of one process; the first two steps are left out of the median."""
    later = step_seconds[2:] or step_seconds
    return {
        "process_seconds": seconds, "peak_bytes": peak, "steps": steps,
        "step_seconds": round(median(later), 4),
        "train_seconds": round(steps * sum(later) / len(later), 2),
    }  # fmt: skip
