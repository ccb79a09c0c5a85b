"""How fast is finetuning, beside TRL and LLaMA-Factory on the same model, rows and machine?

    python benchmarks/training.py DATA [--trl VENV] [--llamafactory VENV] [--rows 1200]

DATA holds `alpaca_zh_0-3252.json` and `alpaca_en_0-3252.json`. Every tool tunes all weights of the
same new model of about 20 million parameters for one epoch over the same conversations, in fp32 on
the processor, 4,096 tokens a step; the loss counts answers only, so all train the same tokens.
Beside them the limit: the same model forward and backward over full rows, nothing else. Then each
tool once more for the same number of seconds, and the loss of its answers on held-out rows.
A peer that is not installed is left out, with the reason.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

os.environ |= {
    "HANLIN_CACHE": "off", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false", "DISABLE_VERSION_CHECK": "1",
}  # fmt: skip

from hanlin.core import environment
from hanlin.core.events import read_events
from hanlin.core.files import read_json, write_atomic, write_json

SEQ_LEN, ROWS_A_STEP, RATE, HELD_OUT = 512, 8, 1e-3, 100
SHAPE = {
    "hidden_size": 384, "intermediate_size": 1024, "layers": 8, "heads": 6, "max_length": SEQ_LEN,
}  # about 20 million parameters with the vocabulary  # fmt: skip
VOCAB_SIZE = 8000
RESULT = Path(__file__).parent / "results" / "training.json"
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


def make_world(data: Path, folder: Path, *, rows: int) -> dict[str, Path]:
    """Write the conversations, a tokenizer and a new model; return where they are."""
    from hanlin.models.save import save_model
    from hanlin.models.tiny import Architecture, new_llama
    from hanlin.tokenization.load import load
    from hanlin.tokenization.train import train_sentencepiece

    found: list[dict[str, str]] = []
    for language in ("zh", "en"):
        found += read_json(data / f"alpaca_{language}_0-3252.json")
    found = [row for row in found if row["output"].strip()]
    found = found[:: max(1, len(found) // (rows + HELD_OUT))][: rows + HELD_OUT]
    texts = [f"{row['instruction']}\n{row['input']}\n{row['output']}" for row in found]
    train_sentencepiece(texts, vocab_size=VOCAB_SIZE, out=folder / "tokenizer", seed=1)
    tokenizer = load(folder / "tokenizer")
    model = new_llama(Architecture(**SHAPE), tokenizer.vocab_size, seed=1)
    save_model(model, tokenizer, folder / "base")
    for name, part in (("train", found[HELD_OUT:]), ("heldout", found[:HELD_OUT])):
        messages, pairs, alpaca = [], [], []
        for row in part:
            question = f"{row['instruction']}\n{row['input']}".strip()
            answer = row["output"].strip()
            alpaca.append({"instruction": question, "input": "", "output": answer})
            pairs.append({"prompt": f"User: {question}\nAssistant:", "completion": f" {answer}"})
            turns = (("user", question), ("assistant", answer))
            messages.append({"messages": [{"role": r, "content": text} for r, text in turns]})
        write_lines(folder / f"{name}.messages.jsonl", messages)
        write_lines(folder / f"{name}.pairs.jsonl", pairs)
        write_json(folder / f"{name}.alpaca.json", alpaca)
    return {"base": folder / "base", "folder": folder}


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows as JSON lines."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_atomic(path, text.encode())


def prepare(world: dict[str, Path], name: str) -> Path:
    """Make our token store of the rows; return its folder."""
    folder = world["folder"]
    config = {
        "sources": [{"path": str(folder / f"{name}.messages.jsonl"), "name": "rows"}],
        "tokenizer": str(world["base"]), "seq_len": SEQ_LEN,
    }  # fmt: skip
    write_json(folder / f"{name}.yaml", config)  # JSON is YAML too
    out = folder / f"{name}-store"
    run(
        [sys.executable, "-m", "hanlin", "data", "prepare", "chat", "--config",
         folder / f"{name}.yaml", "--out", out], threads=2,
    )  # fmt: skip
    return out


def ours(world: dict[str, Path], store: Path, out: Path, *, steps: int | None) -> dict[str, Any]:
    """Tune with Hanlin, packed."""
    schedule = {
        "seq_len": SEQ_LEN, "micro_batch_size": ROWS_A_STEP, "learning_rate": RATE,
        "scheduler": "constant", "warmup_steps": 0, "weight_decay": 0.0, "log_every": 1,
        "save_every": 10_000, **({"steps": steps} if steps else {"epochs": 1}),
    }  # fmt: skip
    config = {
        "model": str(world["base"]), "store": str(store), "method": "full", "schedule": schedule,
    }  # fmt: skip
    write_json(out.with_suffix(".yaml"), config)
    seconds, peak, _ = run(
        [sys.executable, "-m", "hanlin", "finetune", "--config", out.with_suffix(".yaml"),
         "--out", out, "--seed", "1"], threads=2,
    )  # fmt: skip
    metrics = [e for e in read_events(out / "events.jsonl") if e["event"] == "metric"]
    pairs = itertools.pairwise(metrics)
    tokens = [(b["tokens"] - a["tokens"]) / b["tokens_per_s"] for a, b in pairs]
    return figures(seconds, peak, steps=len(metrics), step_seconds=tokens)


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


def limit(world: dict[str, Path]) -> float:
    """Return seconds of the bare model forward and backward over one step of full rows."""
    import torch

    from hanlin.models.load import load_model

    torch.set_num_threads(2)
    model = load_model(world["base"]).train()
    ids = torch.randint(10, VOCAB_SIZE, (ROWS_A_STEP, SEQ_LEN), generator=torch.manual_seed(1))
    taken = []
    for _ in range(8):
        started = time.perf_counter()
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        model.zero_grad()
        taken.append(time.perf_counter() - started)
    return round(median(taken[2:]), 4)


def heldout_loss(world: dict[str, Path], store: Path, model: Path) -> float:
    """Return the mean loss of a trained token on the held-out rows, each row by itself."""
    import torch

    from hanlin.data.store import TokenStore
    from hanlin.models.load import load_model

    net = load_model(model)
    held, total, count = TokenStore.open(store), 0.0, 0
    with torch.no_grad():
        for ids, mask in conversations(held):
            labels = torch.where(mask, ids, -100)[None]
            found = net(input_ids=ids[None], labels=labels, use_cache=False)
            tokens = int((labels[:, 1:] != -100).sum())
            total, count = total + float(found.loss) * tokens, count + tokens
    return round(total / count, 4)


def conversations(store: Any) -> Any:  # noqa: ANN401
    """Yield ids and mask of each conversation of a store."""
    import torch

    from hanlin.data.pack import IGNORED, PackedRows

    rows = PackedRows(store, seq_len=SEQ_LEN, seed=1)
    for index in range(rows.rows_per_epoch):
        row, start = rows.row(index), 0
        for length in row.lengths:
            ids = torch.from_numpy(row.ids[start : start + length])
            labels = torch.from_numpy(row.labels[start : start + length])
            start += length
            if bool((labels != IGNORED).any()):
                yield ids, labels != IGNORED


def main() -> None:
    """Run, measure, write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", type=int, default=1200)
    parser.add_argument("--trl", type=Path, metavar="VENV")
    parser.add_argument("--llamafactory", type=Path, metavar="VENV")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        world = make_world(options.data, Path(name), rows=options.rows)
        result = measure(world, options)
    write_json(RESULT, result)
    write_atomic(RESULT.with_suffix(".md"), table(result).encode())
    print(table(result))


def measure(world: dict[str, Path], options: argparse.Namespace) -> dict[str, Any]:
    """Run every tool for an epoch, then each for as many seconds as ours took."""
    folder = world["folder"]
    store, held = prepare(world, "train"), prepare(world, "heldout")
    header = read_json(store / "store.json")
    trained = sum(source["trained_tokens"] for source in header["sources"])
    total = sum(source["tokens"] for source in header["sources"])
    tools: dict[str, Any] = {"hanlin": lambda out, steps: ours(world, store, out, steps=steps)}
    for peer, venv, function in (
        ("trl", options.trl, trl), ("llamafactory", options.llamafactory, llamafactory)
    ):  # fmt: skip
        for packing in ("packed", "padded"):
            if venv is not None:
                tools[f"{peer} {packing}"] = lambda out, steps, f=function, v=venv, p=packing: f(
                    world, out, venv=v, packing=p, steps=steps
                )
    rows: dict[str, Any] = {}
    for tool, train in tools.items():
        out = folder / f"epoch-{tool.replace(' ', '-')}"
        try:
            found = train(out, None)
            rows[tool] = found | {
                "trained_tokens_per_s": round(trained / found["train_seconds"], 1)
            }
            print(tool, rows[tool], flush=True)
        except (RuntimeError, OSError, KeyError, IndexError, ValueError) as error:
            rows[tool] = {"left_out": str(error)[-800:]}
            print(tool, rows[tool], flush=True)
    seconds = rows["hanlin"]["train_seconds"]
    for tool, train in tools.items():
        if "left_out" in rows[tool]:
            continue
        steps = max(1, round(seconds / rows[tool]["step_seconds"]))
        out = folder / f"seconds-{tool.replace(' ', '-')}"
        found = train(out, steps)
        rows[tool]["same_seconds"] = {
            "steps": steps, "train_seconds": found["train_seconds"],
            "heldout_loss": heldout_loss(world, held, out),
        }  # fmt: skip
        print(tool, rows[tool]["same_seconds"], flush=True)
    step = limit(world)
    dense = ROWS_A_STEP * SEQ_LEN / step
    ours_per_s = total / rows["hanlin"]["train_seconds"]
    return {
        "machine": environment.describe(), "rows": options.rows, "tokens": total,
        "trained_tokens": trained, "tools": rows,
        "limit": {"step_seconds": step, "tokens_per_s": round(dense, 1),
                  "ours_over_limit": round(ours_per_s / dense, 3)},
        "untrained_heldout_loss": heldout_loss(world, held, world["base"]),
    }  # fmt: skip


def table(result: dict[str, Any]) -> str:
    """Return the figures for people."""
    machine, most = result["machine"], result["tools"]["hanlin"]["trained_tokens_per_s"]
    lines = [
        f"One epoch over {result['rows']} conversations, {result['trained_tokens']:,} trained of "
        f"{result['tokens']:,} tokens, all weights, fp32, on {machine['processor']}, "
        f"{machine['cpus']} cores. Made by `python benchmarks/training.py`.", "",
        "| tool | trained tokens/s | Hanlin over it | peak memory | held-out loss after the same "
        "seconds |", "|---|---:|---:|---:|---:|",
    ]  # fmt: skip
    for tool, row in result["tools"].items():
        if "left_out" in row:
            lines.append(f"| {tool} | left out: {row['left_out'].splitlines()[-1]} | | | |")
            continue
        speed, same = row["trained_tokens_per_s"], row["same_seconds"]
        lines.append(
            f"| {tool} | {speed:,.0f} | {most / speed:.2f} | {row['peak_bytes'] / 1e9:.2f} GB | "
            f"{same['heldout_loss']:.3f} |"
        )
    lines += [
        "", f"The limit (forward and backward over full rows, nothing else): "
        f"{result['limit']['tokens_per_s']:,.0f} tokens/s; Hanlin reaches "
        f"{result['limit']['ours_over_limit']:.2f} of it. Held-out loss before training: "
        f"{result['untrained_heldout_loss']:.3f}.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
