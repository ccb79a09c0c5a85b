"""How long does the quickstart take, and what does the training loop cost over a bare one?

    python benchmarks/quickstart.py [RUN]

Runs the recipe in a new folder without cache (or reads the finished run RUN), then trains the same
model on the same rows, by `training.trainer` and by a bare torch loop in turn, A B A B.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

os.environ |= {"HANLIN_CACHE": "off", "HF_HUB_OFFLINE": "1"}

from hanlin.core import environment
from hanlin.core.events import EventLog
from hanlin.core.files import read_json, write_json
from hanlin.core.stage import StageContext
from hanlin.pipeline.recipe import Recipe, find_recipe, load_recipe

if TYPE_CHECKING:
    from hanlin.training.trainer import Job

STEPS, ROUNDS = 20, 3
RESULT = Path(__file__).parent / "results" / "quickstart.json"


def stage_costs(run: Path) -> list[dict[str, float]]:
    """Return seconds and peak memory of each stage of a finished run."""
    records = [read_json(run / stage.id / "stage.json") for stage in recipe().stages]
    return [{key: record[key] for key in ("id", "seconds", "peak_bytes")} for record in records]


def recipe() -> Recipe:
    """Return the quickstart recipe."""
    return load_recipe(find_recipe("quickstart"))


def make_job(run: Path) -> Job:
    """Return what the stage `pretrain` of the recipe trains, with fewer steps."""
    from hanlin.data.pack import PackedRows
    from hanlin.data.store import TokenStore
    from hanlin.models.load import load_pair
    from hanlin.training.trainer import Job

    config = next(stage.config for stage in recipe().stages if stage.id == "pretrain")
    schedule = config.schedule.model_copy(update={"steps": STEPS, "log_every": STEPS})
    model, tokenizer = load_pair(run / "grow" / "model")
    store = TokenStore.open(run / "corpus" / "store")
    rows = PackedRows(store, seq_len=schedule.seq_len, seed=1)
    return Job(model=model, rows=rows, pad_id=tokenizer.pad_id, schedule=schedule)


def time_hanlin(run: Path, folder: Path) -> float:
    """Return tokens per second of our training loop."""
    from hanlin.training.trainer import train

    job = make_job(run)
    context = StageContext("bench", folder, 1, EventLog(folder / "events.jsonl"))
    started = time.perf_counter()
    train(job, context)
    return count_tokens(job) / (time.perf_counter() - started)


def time_bare(run: Path) -> float:
    """Return tokens per second of a bare loop over the same batches."""
    import torch

    from hanlin.data.collate import collate

    job = make_job(run)
    schedule, model = job.schedule, job.model.train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-3, betas=schedule.betas, weight_decay=0.01, fused=True
    )
    started = time.perf_counter()
    for step in range(STEPS):
        first = step * schedule.micro_batch_size
        rows = [job.rows.row(first + i) for i in range(schedule.micro_batch_size)]
        batch = collate(rows, pad_id=job.pad_id, seq_len=schedule.seq_len)
        model(**batch, use_cache=False).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), schedule.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
    return count_tokens(job) / (time.perf_counter() - started)


def count_tokens(job: Job) -> int:
    """Return the tokens of the steps that are timed, padding left out."""
    rows = STEPS * job.schedule.micro_batch_size
    return sum(len(job.rows.row(index).ids) for index in range(rows))


def main() -> None:
    """Run, compare, write the result."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = Path(sys.argv[1]) if len(sys.argv) > 1 else folder / "run"
        if len(sys.argv) == 1:
            command = [sys.executable, "-m", "hanlin", "run", "quickstart", "--out", str(run)]
            subprocess.run(command, check=True)
        pairs = [(time_hanlin(run, folder / f"t{i}"), time_bare(run)) for i in range(ROUNDS)]
        stages = stage_costs(run)
    result = {
        "machine": environment.describe(),
        "stages": stages,
        "total_seconds": round(sum(stage["seconds"] for stage in stages), 1),
        "peak_bytes": max(stage["peak_bytes"] for stage in stages),
        "training": {
            "hanlin_tokens_per_s": round(median(ours for ours, _ in pairs)),
            "bare_tokens_per_s": round(median(bare for _, bare in pairs)),
            "ratio_median": round(median(ours / bare for ours, bare in pairs), 3),
            "ratios": [round(ours / bare, 3) for ours, bare in pairs],
        },
    }
    write_json(RESULT, result)
    print(f"total {result['total_seconds']} s, peak {result['peak_bytes'] / 1e9:.2f} GB")
    print(f"training loop: {result['training']}")


if __name__ == "__main__":
    main()
