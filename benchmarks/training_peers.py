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

from hanlin.core.files import write_json

SEQ_LEN, ROWS_A_STEP, RATE, HELD_OUT = 512, 4, 1e-3, 60
PADDED_BATCHES = 6  # of a step: 24 conversations hold about the tokens of a packed step
THREADS = int(os.environ.get("OMP_NUM_THREADS", "1"))  # of each tool
CLOCK = """
import json, time
from transformers import TrainerCallback
class Clock(TrainerCallback):
    wall, cpu = [], []
    def on_train_begin(self, *args, **kwargs):
        self.wall.append(time.perf_counter()); self.cpu.append(time.process_time())
    on_step_end = on_train_begin
def tell(**more):
    times = {"wall": Clock.wall, "cpu": Clock.cpu}
    each = {name: [b - a for a, b in zip(own, own[1:])] for name, own in times.items()}
    print("FIGURES " + json.dumps({**each, **more}), flush=True)
"""
TRL = (
    CLOCK
    + """
import sys, torch
from datasets import load_dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer
base, rows, out, packing, steps, batches = sys.argv[1:]
torch.set_num_threads(torch.get_num_threads())
started = time.perf_counter()
packed = packing == "packed"
config = SFTConfig(
    output_dir=out, max_length=512, packing=packed, per_device_train_batch_size=4,
    gradient_accumulation_steps=int(batches),
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
tell(prepare_seconds=prepared, attention=trainer.model.config._attn_implementation)
"""
)
LLAMAFACTORY = (
    CLOCK
    + """
import sys
from llamafactory.train.tuner import run_exp
run_exp(args=json.load(open(sys.argv[1])), callbacks=[Clock()])
tell()
"""
)
HANLIN = """
import sys, time
from hanlin.cli.main import run_command
from hanlin.core.events import EventLog
emit = EventLog.emit
def timed(self, event, **fields):
    emit(self, event, **fields, **({"cpu": time.process_time()} if event == "metric" else {}))
EventLog.emit = timed
sys.exit(run_command(sys.argv[1:]))
"""


def run(command: list[str | Path]) -> Any:  # noqa: ANN401
    """Run a process to its end; return seconds, peak memory in bytes and what it printed."""
    with tempfile.NamedTemporaryFile("r") as record:
        timed = ["/usr/bin/time", "-f", "%M", "-o", record.name, *map(str, command)]
        started = time.perf_counter()
        done = subprocess.run(
            timed, capture_output=True, text=True, check=False,
            env={**os.environ, "OMP_NUM_THREADS": str(THREADS)},
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
         world["folder"] / "train.pairs.jsonl", out, packing, str(steps or -1),
         str(batches_a_step(packing))],
    )  # fmt: skip
    found = told(printed)
    more = {"prepare_seconds": round(found["prepare_seconds"], 2), "attention": found["attention"]}
    return figures(seconds, peak, wall=found["wall"], cpu=found["cpu"]) | more


def batches_a_step(packing: str) -> int:
    """Return how many batches make a step, so that all tools see about as many tokens in one."""
    return 1 if packing == "packed" else PADDED_BATCHES


def told(printed: str) -> Any:  # noqa: ANN401
    """Return what a script printed of its steps."""
    return json.loads(printed.rpartition("FIGURES ")[2].splitlines()[0])


def llamafactory(
    world: dict[str, Path], out: Path, *, venv: Path, packing: str, steps: int | None
) -> dict[str, Any]:
    """Tune with LLaMA-Factory, padded or packed (neat_packing: documents apart)."""
    folder = world["folder"]
    write_json(folder / "dataset_info.json", {"rows": {"file_name": "train.alpaca.json"}})
    config = {
        "model_name_or_path": str(world["base"]), "stage": "sft", "do_train": True,
        "finetuning_type": "full", "dataset": "rows", "dataset_dir": str(folder),
        "template": "empty", "cutoff_len": SEQ_LEN, "output_dir": str(out),
        "per_device_train_batch_size": ROWS_A_STEP, "learning_rate": RATE,
        "gradient_accumulation_steps": batches_a_step(packing),
        "lr_scheduler_type": "constant", "num_train_epochs": 1.0, "max_steps": steps or -1,
        "logging_steps": 1, "save_strategy": "no", "report_to": "none", "use_cpu": True,
        "optim": "adamw_torch_fused", "packing": packing == "packed",
        "neat_packing": packing == "packed", "gradient_checkpointing": False,
        "disable_gradient_checkpointing": True, "overwrite_output_dir": True,
    }  # fmt: skip
    write_json(out.with_suffix(".yaml"), config)
    seconds, peak, printed = run(
        [venv / "bin" / "python", "-c", LLAMAFACTORY, out.with_suffix(".yaml")]
    )
    found = told(printed)
    return figures(seconds, peak, wall=found["wall"], cpu=found["cpu"])


def figures(seconds: float, peak: int, *, wall: list[float], cpu: list[float]) -> dict[str, Any]:
    """Return what was measured of one process and of its steps; the first two steps warm up."""
    found: dict[str, Any] = {"process_seconds": seconds, "peak_bytes": peak, "steps": len(wall)}
    for name, each in (("wall", wall), ("cpu", cpu)):
        later = each[2:] or each
        found[f"step_{name}_seconds"] = round(median(later), 4)
        found[f"epoch_{name}_seconds"] = round(sum(each), 2)
        found[f"train_{name}_seconds"] = round(len(each) * sum(later) / len(later), 2)
    return found
