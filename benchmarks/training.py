"""How fast is finetuning, beside TRL and LLaMA-Factory on the same model, rows and machine?

    python benchmarks/training.py DATA [--trl VENV] [--llamafactory VENV] [--rows 400]
        [--work DIR [--part PART...]]

DATA holds `alpaca_zh_0-3252.json` and `alpaca_en_0-3252.json`. Every tool tunes all weights of the
same new model of about 20 million parameters for one epoch over the same conversations, in fp32 on
the processor with one thread (OMP_NUM_THREADS=2 for two; that result gets a file of its own), about
2,048 tokens a step; the loss counts answers only, so all train the same tokens. Seconds are the
processor's (wall seconds stand beside them in the JSON). Beside them stand the limit, the same
model forward and backward over full rows and nothing else, and an epoch of plain transformers with
a padded row for each conversation. Before and behind each of these Hanlin makes some steps: ratios
are to those, since the machine may be a quarter slower ten minutes later. Then each tool runs once
more for the seconds that Hanlin's epoch takes: the loss on held-out rows.

A peer that is not installed is left out, with the reason. In parts (`--work DIR --part world`, then
`hanlin`, `trl packed`, ..., `padded`, `limit`, `hanlin:seconds`, ..., `losses`, `result`) each
takes a minute or two; those up to `limit` want a quiet machine.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

os.environ |= {
    "HANLIN_CACHE": "off", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false", "DISABLE_VERSION_CHECK": "1",
}  # fmt: skip

from training_padding import conversations, losses, padded
from training_peers import (
    HANLIN,
    HELD_OUT,
    RATE,
    ROWS_A_STEP,
    SEQ_LEN,
    THREADS,
    figures,
    llamafactory,
    run,
    trl,
)

from hanlin.core import environment
from hanlin.core.events import read_events
from hanlin.core.files import read_json, write_atomic, write_json

SHAPE = {
    "hidden_size": 384, "intermediate_size": 1024, "layers": 8, "heads": 6, "max_length": SEQ_LEN,
}  # about 20 million parameters with the vocabulary  # fmt: skip
TINY = {"hidden_size": 48, "layers": 2, "heads": 2, "max_length": SEQ_LEN}
VOCAB_SIZE = 8000
BESIDE_STEPS = 6
NAME = "training" if THREADS == 1 else f"training_{THREADS}_threads"
RESULT = Path(__file__).parent / "results" / f"{NAME}.json"


def make_world(data: Path, folder: Path, *, rows: int, shape: dict[str, int]) -> dict[str, Path]:
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
    model = new_llama(Architecture(**shape), tokenizer.vocab_size, seed=1)
    save_model(model, tokenizer, folder / "base")
    for name, part in (("train", found[HELD_OUT:]), ("heldout", found[:HELD_OUT])):
        messages, pairs, alpaca = [], [], []
        for row in part:
            question = f"{row['instruction']}\n{row['input']}".strip()
            answer = row["output"].strip()
            asked = f"User: {question}\nAssistant:"
            alpaca.append({"instruction": asked, "input": "", "output": f" {answer}</s>"})
            pairs.append({"prompt": asked, "completion": f" {answer}"})
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
    shutil.rmtree(out, ignore_errors=True)
    run(
        [sys.executable, "-m", "hanlin", "data", "prepare", "chat", "--config",
         folder / f"{name}.yaml", "--out", out],
    )  # fmt: skip
    return out


def ours(
    world: dict[str, Path], store: Path, out: Path, *, rows: int, steps: int | None
) -> dict[str, Any]:
    """Tune with Hanlin, packed, so many rows at a time; a step is the same for any number."""
    schedule = {
        "seq_len": SEQ_LEN, "micro_batch_size": rows, "learning_rate": RATE,
        "gradient_accumulation_steps": ROWS_A_STEP // rows,
        "scheduler": "constant", "warmup_steps": 0, "weight_decay": 0.0, "log_every": 1,
        "save_every": 10_000, "threads": THREADS, **({"steps": steps} if steps else {"epochs": 1}),
    }  # fmt: skip
    config = {
        "model": str(world["base"]), "store": str(store), "method": "full", "schedule": schedule,
    }  # fmt: skip
    write_json(out.with_suffix(".yaml"), config)
    seconds, peak, _ = run(
        [sys.executable, "-c", HANLIN, "finetune", "--config", out.with_suffix(".yaml"),
         "--out", out, "--seed", "1"],
    )  # fmt: skip
    metrics = [e for e in read_events(out / "events.jsonl") if e["event"] == "metric"]
    wall = [(b["tokens"] - a["tokens"]) / b["tokens_per_s"]
            for a, b in itertools.pairwise([{"tokens": 0}, *metrics])]  # fmt: skip
    cpu = [b["cpu"] - a["cpu"] for a, b in itertools.pairwise(metrics)]
    return figures(seconds, peak, wall=wall, cpu=[median(cpu), *cpu])


def limit(world: dict[str, Path]) -> dict[str, float]:
    """Return seconds of the bare model forward and backward over one step of full rows."""
    import torch

    from hanlin.models.load import load_model

    torch.set_num_threads(THREADS)
    model = load_model(world["base"]).train()
    ids = torch.randint(10, VOCAB_SIZE, (ROWS_A_STEP, SEQ_LEN), generator=torch.manual_seed(1))
    wall, cpu = [], []
    for _ in range(8):
        started, began = time.perf_counter(), time.process_time()
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        model.zero_grad()
        wall.append(time.perf_counter() - started)
        cpu.append(time.process_time() - began)
    return {"step_wall_seconds": median(wall[2:]), "step_cpu_seconds": median(cpu[2:])}


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


def main() -> None:
    """Run the parts that are asked for; write the result once all are there."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--trl", type=Path, metavar="VENV")
    parser.add_argument("--llamafactory", type=Path, metavar="VENV")
    parser.add_argument("--work", type=Path, help="keep everything here, to run it in parts")
    parser.add_argument("--part", nargs="+", metavar="PART", help="in the order given")
    parser.add_argument("--tiny", action="store_true", help="rehearse: a tiny model, no result")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = options.work or Path(name)
        work.mkdir(parents=True, exist_ok=True)
        bench = Bench(options, work)
        for part in options.part or bench.parts():
            print(part, bench.run(part), flush=True)


class Bench:
    """The parts of the comparison; each leaves what it measured in a file of its own.

    Args:
        options: of the command line.
        folder: where everything goes.
    """

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options, self.folder = options, folder
        self.world = {"base": folder / "base", "folder": folder}
        self.store, self.held = folder / "train-store", folder / "heldout-store"
        self.behind: dict[str, float] = {}

    def tools(self) -> dict[str, Callable[[Path, int | None], dict[str, Any]]]:
        """Return what trains, by name: (folder, steps or None for an epoch) -> figures."""
        found: dict[str, Any] = {
            name: lambda out, steps, r=rows: ours(self.world, self.store, out, rows=r, steps=steps)
            for name, rows in (("hanlin", ROWS_A_STEP), ("hanlin 2 rows", 2), ("hanlin 1 row", 1))
        }
        peers = ("trl", self.options.trl, trl), ("llamafactory", self.options.llamafactory,
                                                 llamafactory)  # fmt: skip
        for peer, venv, function in peers:
            for packing in ("packed", "padded") if venv is not None else ():
                found[f"{peer} {packing}"] = lambda out, steps, f=function, v=venv, p=packing: f(
                    self.world, out, venv=v, packing=p, steps=steps
                )
        return found

    def parts(self) -> list[str]:
        """Return the names of all parts, in order."""
        tools = list(self.tools())
        later = [f"{tool}:seconds" for tool in tools]
        return ["world", *tools, "padded", "limit", *later, "losses", "result"]

    def run(self, part: str) -> Any:  # noqa: ANN401
        """Run one part; return its figures."""
        if part == "world":
            shape = TINY if self.options.tiny else SHAPE
            make_world(self.options.data, self.folder, rows=self.options.rows, shape=shape)
            return [str(prepare(self.world, name)) for name in ("train", "heldout")]
        if part in ("padded", "limit", *self.tools()):
            found = self._beside(part)
        elif part == "losses":
            found = losses(self.world["base"], self.store)
            found["heldout"] = heldout_loss(self.world, self.held, self.world["base"])
        elif part == "result":
            result = self.result()
            if self.options.tiny:
                return f"\n{table(result)}"
            write_json(RESULT, result)
            write_atomic(RESULT.with_suffix(".md"), table(result).encode())
            return f"\n{table(result)}"
        else:
            found = self._same_seconds(part.removesuffix(":seconds"))
        write_json(self._file(part), found)
        return found

    def _file(self, part: str) -> Path:
        return self.folder / f"figures-{part.replace(' ', '-').replace(':', '-')}.json"

    def _emptied(self, name: str) -> Path:
        folder = self.folder / name.replace(" ", "-")
        shutil.rmtree(folder, ignore_errors=True)
        return folder

    def _beside(self, part: str) -> dict[str, Any]:
        """Measure a part between two short runs of Hanlin; keep the mean of their steps."""
        before = self.behind or self._short()
        found = self._timed(part)
        self.behind = self._short()
        for clock in ("wall", "cpu"):
            mean = (before[clock] + self.behind[clock]) / 2
            found[f"hanlin_step_{clock}_seconds"] = round(mean, 4)
        return found

    def _short(self) -> dict[str, float]:
        found = ours(self.world, self.store, self._emptied("short"), rows=ROWS_A_STEP,
                     steps=BESIDE_STEPS)  # fmt: skip
        return {clock: found[f"step_{clock}_seconds"] for clock in ("wall", "cpu")}

    def _timed(self, part: str) -> dict[str, Any]:
        if part == "limit":
            return limit(self.world)
        out = self._emptied(f"epoch-{part}")
        try:
            if part == "padded":
                return padded(self.world, self.store, out)
            return self.tools()[part](out, None)
        except (RuntimeError, OSError, KeyError, IndexError, ValueError) as error:
            return {"left_out": str(error)[-800:]}

    def _faster(self, part: str, clock: str) -> float:
        """Return how many times as long as Hanlin's an epoch takes, as both were at that time."""
        own, hanlin = read_json(self._file(part)), read_json(self._file("hanlin"))
        slower = own[f"hanlin_step_{clock}_seconds"] / hanlin[f"step_{clock}_seconds"]
        taken: float = own[f"train_{clock}_seconds"] / hanlin[f"train_{clock}_seconds"]
        return 1.0 if part == "hanlin" else taken / slower

    def _same_seconds(self, tool: str) -> dict[str, Any]:
        own = read_json(self._file(tool))
        if "left_out" in own:
            return {}
        steps = max(1, round(own["steps"] / self._faster(tool, "cpu")))
        out = self._emptied(f"seconds-{tool}")
        found = self.tools()[tool](out, steps)
        return {
            "steps": steps, "train_cpu_seconds": found["train_cpu_seconds"],
            "heldout_loss": heldout_loss(self.world, self.held, out),
        }  # fmt: skip

    def _tokens(self, kind: str) -> int:
        sources = read_json(self.store / "store.json")["sources"]
        return sum(source[kind] for source in sources)

    def result(self) -> dict[str, Any]:
        """Return all figures together; a part that was not run is left out."""
        tools = {tool: self._row(tool) for tool in self.tools()}
        measured, rates = read_json(self._file("limit")), {}
        for clock in ("wall", "cpu"):
            dense = ROWS_A_STEP * SEQ_LEN / measured[f"step_{clock}_seconds"]
            ours_per_s = (
                self._tokens("tokens") / tools["hanlin"][f"train_{clock}_seconds"]
                * tools["hanlin"][f"step_{clock}_seconds"]
                / measured[f"hanlin_step_{clock}_seconds"]
            )  # fmt: skip
            rates[clock] = {"tokens_per_s": round(dense, 1),
                            "ours_over_limit": round(ours_per_s / dense, 3)}  # fmt: skip
        return {
            "machine": environment.describe(), "threads": THREADS, "rows": self.options.rows,
            "tokens": self._tokens("tokens"), "trained_tokens": self._tokens("trained_tokens"),
            "tools": tools,
            "limit": rates,
            "packing": self._packing(),
        }  # fmt: skip

    def _row(self, tool: str) -> dict[str, Any]:
        """Return all figures of a tool."""
        found = self._read(tool, {"left_out": "not run"})
        if "left_out" in found:
            return found
        for clock, unit in (("wall", "s"), ("cpu", "cpu_s")):
            rate = self._tokens("trained_tokens") / found[f"train_{clock}_seconds"]
            found[f"trained_tokens_per_{unit}"] = round(rate, 1)
            found[f"hanlin_over_it_{clock}"] = round(self._faster(tool, clock), 3)
        return found | {"same_seconds": self._read(f"{tool}:seconds", {})}

    def _read(self, part: str, otherwise: dict[str, Any]) -> dict[str, Any]:
        file = self._file(part)
        found: dict[str, Any] = read_json(file) if file.is_file() else otherwise
        return found

    def _packing(self) -> dict[str, Any]:
        if not (self._file("padded").is_file() and self._file("losses").is_file()):
            return {}
        return {
            "padded": read_json(self._file("padded")),
            **{
                f"{clock}_time_over_padded": round(1 / self._faster("padded", clock), 3)
                for clock in ("wall", "cpu")
            },
            "untrained_loss": read_json(self._file("losses")),
            "heldout_loss_after_the_epoch": {
                "padded": heldout_loss(self.world, self.held, self.folder / "epoch-padded"),
                "packed": heldout_loss(self.world, self.held, self.folder / "epoch-hanlin"),
            },
        }


def table(result: dict[str, Any]) -> str:
    """Return the figures for people."""
    machine = result["machine"]
    lines = [
        f"One epoch over {result['rows']} conversations, {result['trained_tokens']:,} trained of "
        f"{result['tokens']:,} tokens, all weights, fp32, {THREADS} thread(s), on "
        f"{machine['processor']}, {machine['cpus']} cores. Ratios are to steps of "
        "Hanlin right before and behind. "
        "Made by `python benchmarks/training.py`.", "",
        "| tool | trained tokens per processor second | Hanlin over it | peak memory | "
        "held-out loss after the same processor seconds |", "|---|---:|---:|---:|---:|",
    ]  # fmt: skip
    for tool, row in result["tools"].items():
        if "left_out" in row:
            lines.append(f"| {tool} | left out: {row['left_out'].splitlines()[-1]} | | | |")
            continue
        speed, loss = row["trained_tokens_per_cpu_s"], row["same_seconds"].get("heldout_loss")
        lines.append(
            f"| {tool} | {speed:,.0f} | {row['hanlin_over_it_cpu']:.2f} | "
            f"{row['peak_bytes'] / 1e9:.2f} GB | {'' if loss is None else f'{loss:.3f}'} |"
        )
    top = result["limit"]["cpu"]
    lines += [
        "", f"The limit (forward and backward over full rows, nothing else): "
        f"{top['tokens_per_s']:,.0f} tokens per processor second; Hanlin reaches "
        f"{top['ours_over_limit']:.2f} of it. {packing_words(result['packing'])}".rstrip(),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def packing_words(packing: dict[str, Any]) -> str:
    """Return what packing gains, and that it changes nothing; "" where it was not measured."""
    if not packing:
        return ""
    loss, after = packing["untrained_loss"], packing["heldout_loss_after_the_epoch"]
    return (
        f"An epoch of packed rows takes {packing['cpu_time_over_padded']:.2f} of the processor "
        f"time (wall: {packing['wall_time_over_padded']:.2f}) of plain transformers with padded "
        f"rows. Loss of a trained token before training: packed {loss['packed']:.6f}, padded "
        f"{loss['padded']:.6f}; on held-out rows {loss['heldout']:.3f}, after the epoch packed "
        f"{after['packed']:.3f}, padded {after['padded']:.3f}."
    )


if __name__ == "__main__":
    main()
