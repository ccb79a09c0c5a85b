"""python benchmarks/tokenizer_growth.py [--seconds 90] [--work DIR].

What does a grown vocabulary win, and which rows should the new tokens begin with? A small LLaMA is
trained on English and a little Chinese; its byte-level tokenizer gets Chinese tokens; then every
`--init`, and the model as it was, goes on with the same Chinese texts for the same seconds. What
counts is bits per byte of texts that were held out.

Seconds are those of one thread of the processor, not of the clock, so that other work on the
machine changes little. `--work` keeps the base model for the next time.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, get_args

os.environ |= {"HANLIN_CACHE": "off", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

from hanlin.core import environment
from hanlin.core.events import EventLog
from hanlin.core.files import write_atomic, write_json, write_jsonl
from hanlin.core.stage import StageContext

ROOT = Path(__file__).parent
DATA = Path(os.environ.get("HANLIN_DATA", ROOT.parent.parent / "shared" / "data")) / "corpus"
RESULT = ROOT / "results" / "tokenizer_growth.json"
NONE = "no extension"
DOCUMENT_CHARACTERS = 1500
ADD, BASE_VOCAB, SEQ_LEN, ROWS = 4000, 8000, 256, 8
SHAPE = {"hidden_size": 256, "layers": 4, "heads": 4, "max_length": SEQ_LEN}
BASE_STEPS, BASE_RATE, RATE = 400, 1e-3, 5e-4
HELD_OUT = 16  # documents
CALIBRATION_STEPS = 4


def documents(*patterns: str) -> Iterator[str]:
    """Yield texts of the public corpus, long ones cut, short lines joined."""
    for file in sorted(path for pattern in patterns for path in DATA.glob(pattern)):
        kept = ""
        for line in file.read_text(encoding="utf-8").splitlines(keepends=True):
            kept += json.loads(line)["text"] + "\n" if file.suffix == ".jsonl" else line
            while len(kept) >= DOCUMENT_CHARACTERS:
                yield kept[:DOCUMENT_CHARACTERS]
                kept = kept[DOCUMENT_CHARACTERS:]
        if kept.strip():
            yield kept


@dataclass(frozen=True)
class Corpora:
    """Files with one document a line, and the held-out texts."""

    base: Path
    chinese: Path
    held_out: dict[str, list[str]]


def write_corpora(work: Path) -> Corpora:
    """Split the corpus: English and a fortieth of the Chinese for the base, the rest for later."""
    english = list(documents("en_*"))
    chinese = list(documents("novel_*.txt", "laws_zh.jsonl", "wikipedia_zh_extracts.jsonl"))
    held = chinese[7 :: len(chinese) // HELD_OUT][:HELD_OUT]
    left = [text for text in chinese if text not in set(held)]
    base = [text for i, text in enumerate(english) if i % 40] + left[::40]
    later = [text for i, text in enumerate(left) if i % 40]
    write_jsonl(work / "base.jsonl", ({"text": text} for text in base))
    write_jsonl(work / "zh.jsonl", ({"text": text} for text in later))
    held_out = {"zh": held, "en": english[::80]}
    return Corpora(work / "base.jsonl", work / "zh.jsonl", held_out)


def make_base(work: Path, corpora: Corpora) -> Path:
    """Train the base's tokenizer on English and the base on its corpus, unless they are there."""
    from hanlin.tokenization.bpe import train_byte_bpe
    from hanlin.training import base

    out = work / "base"
    if not (out / "model" / "hanlin.json").exists():
        train_byte_bpe(documents("en_*"), vocab_size=BASE_VOCAB, out=work / "english")
        config = base.Config.model_validate({
            "corpus": [str(corpora.base)], "tokenizer": str(work / "english"),
            "architecture": SHAPE, "schedule": schedule(BASE_STEPS, BASE_RATE),
        })  # fmt: skip
        base.run(config, context(out))
    return out / "model"


def schedule(steps: int, rate: float) -> dict[str, Any]:
    """Return the settings of a training run, in one thread."""
    return {"steps": steps, "learning_rate": rate, "seq_len": SEQ_LEN, "micro_batch_size": ROWS,
            "threads": 1, "save_every": 10**6, "log_every": 20,
            "probe_every": max(1, steps // 6)}  # fmt: skip


def context(out: Path) -> StageContext:
    """Return where a stage writes."""
    out.mkdir(parents=True, exist_ok=True)
    return StageContext("bench", out, 1, EventLog(out / "events.jsonl"))


def extend(work: Path, base: Path, corpora: Corpora) -> Path:
    """Give the base's tokenizer Chinese tokens."""
    from hanlin.tokenization.bpe_extend import extend_byte_bpe
    from hanlin.tokenization.load import load

    texts = (json.loads(line)["text"] for line in corpora.chinese.open(encoding="utf-8"))
    made = extend_byte_bpe(load(base), texts, add=ADD, control=documents("en_*"))
    made.tokenizer.save(work / "extended")
    return work / "extended"


def prepare(work: Path, tokenizer: Path, corpora: Corpora) -> Path:
    """Write the token store of the Chinese texts."""
    from hanlin.data import prepare_corpus

    out = work / f"store-{tokenizer.name}"
    if not (out / "store" / "store.json").exists():
        source = {"path": str(corpora.chinese), "name": "zh"}
        values = {"sources": [source], "tokenizer": str(tokenizer)}
        prepare_corpus.run(prepare_corpus.Config.model_validate(values), context(out))
    return out / "store"


@dataclass
class Clock:
    """Measures bits per byte along the way, and the seconds of the processor in between."""

    tokenizer: Any
    texts: dict[str, list[str]]
    started: float = field(default_factory=time.process_time)
    points: list[dict[str, float]] = field(default_factory=list)
    _probing: float = 0.0

    def __call__(self, model: Any) -> dict[str, float]:  # noqa: ANN401 - a torch module
        """Probe, and note how many seconds went into training so far."""
        from hanlin.models.text_loss import measure

        now = time.process_time()
        if not self.points:
            self.started = now
        seconds = now - self.started - self._probing
        found = measure(model, texts=self.texts, tokenizer=self.tokenizer, seq_len=SEQ_LEN)
        self.points.append({"seconds": round(seconds, 2), **found})
        self._probing += time.process_time() - now
        return found


def train(model: Path, store: Path, texts: dict[str, list[str]], *, steps: int) -> dict[str, Any]:
    """Go on with a model for so many steps; return the curve."""
    from hanlin.data.pack import PackedRows
    from hanlin.data.store import TokenStore
    from hanlin.models.load import load_pair
    from hanlin.training.schedule import Schedule
    from hanlin.training.trainer import Job
    from hanlin.training.trainer import train as run

    loaded, tokenizer = load_pair(model)
    rows = PackedRows(TokenStore.open(store), seq_len=SEQ_LEN, seed=1)
    settings = Schedule.model_validate(schedule(steps, RATE))
    clock = Clock(tokenizer, texts)
    with tempfile.TemporaryDirectory() as name:
        run(Job(loaded, rows, tokenizer.pad_id, settings, 1, clock), context(Path(name)))
    every = settings.probe_steps(steps)
    for number, point in enumerate(clock.points):
        point["step"] = min(number * every, steps)
    return {"steps": steps, "tokens": steps * ROWS * SEQ_LEN, "curve": clock.points}


def seconds_per_step(models: dict[str, Path], stores: dict[str, Path]) -> dict[str, float]:
    """Return what a step costs without and with the extension, measured in turn, A B A B."""
    costs: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(3):
        for name, model in models.items():
            tiny = {"zh": ["一"]}
            points = train(model, stores[name], tiny, steps=CALIBRATION_STEPS)["curve"]
            steps = points[-1]["step"] - points[1]["step"]
            costs[name].append((points[-1]["seconds"] - points[1]["seconds"]) / steps)
    return {name: median(values) for name, values in costs.items()}


def run_all(work: Path, seconds: float) -> dict[str, Any]:
    """Make the models, train each, return the result."""
    from hanlin.models.grow import Config, grow
    from hanlin.models.row_init import Init
    from hanlin.tokenization.fertility import measure
    from hanlin.tokenization.load import load

    corpora = write_corpora(work)
    base = make_base(work, corpora)
    extended = extend(work, base, corpora)
    models = {NONE: base}
    for init in get_args(Init):
        config = Config(model=str(base), tokenizer=str(extended), init=init)
        models[init] = grow(config, work / "grown" / init, seed=1, force=True)
    stores = {NONE: prepare(work, work / "english", corpora)}
    stores |= dict.fromkeys(get_args(Init), prepare(work, extended, corpora))
    pair = {name: models[name] for name in (NONE, "mean")}
    costs = seconds_per_step(pair, stores)
    runs = {}
    for name, model in models.items():
        steps = round(seconds / costs[name if name == NONE else "mean"])
        runs[name] = train(model, stores[name], corpora.held_out, steps=steps)
        print(name, runs[name]["curve"][-1], flush=True)
    held = corpora.held_out["zh"]
    per_token = {name: measure(load(models[name]), held) for name in (NONE, "mean")}
    return {
        "machine": environment.describe(),
        "model": {**SHAPE, "parameters": read_info(base), "base_steps": BASE_STEPS},
        "added": ADD,
        "characters_per_token": {n: round(1 / f.tokens_per_character, 3)
                                 for n, f in per_token.items()},
        "seconds": seconds,
        "seconds_per_step": {name: round(cost, 3) for name, cost in costs.items()},
        "held_out_bytes": sum(len(text.encode()) for text in held),
        "runs": runs,
    }  # fmt: skip


def read_info(model: Path) -> int:
    """Return the parameters of a model."""
    from hanlin.models.info import read_info as read

    return read(model).parameters


def at_step(run: dict[str, Any], step: float) -> float:
    """Return bits per byte of Chinese at a step, between two probes in a straight line."""
    points = [(p["step"], p["zh"]) for p in run["curve"]]
    for (a, low), (b, high) in pairwise(points):
        if a <= step <= b:
            return low + (high - low) * (step - a) / (b - a)
    return points[-1][1]


def table(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    runs = result["runs"]
    fewest = min(run["steps"] for run in runs.values())
    best = min((run["curve"][-1]["zh"], name) for name, run in runs.items())[1]
    lines = [
        "# Bits per byte of held-out Chinese after the same seconds of continued pretraining",
        "",
        f"{result['model']['parameters'] / 1e6:.1f} M parameters, {result['added']} tokens added, "
        f"{result['characters_per_token'][NONE]} characters per token before and "
        f"{result['characters_per_token']['mean']} after; {result['seconds']:.0f} seconds of one "
        f"thread each. Made by `python benchmarks/tokenizer_growth.py`.",
        "",
        f"| rows | before training | half of the time | all of the time | at step {fewest} | "
        "steps | seconds | English after |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, run in runs.items():
        first, last = run["curve"][0], run["curve"][-1]
        cells = [first["zh"], at_step(run, run["steps"] / 2), last["zh"], at_step(run, fewest)]
        text = " | ".join(f"{value:.4f}" for value in cells)
        mark = f"**{name}**" if name == best else name
        lines.append(
            f"| {mark} | {text} | {run['steps']} | {last['seconds']:.1f} | {last['en']:.4f} |"
        )
    lines += ["", f"Best after the same seconds: {best}.", ""]
    return "\n".join(lines)


def draw(result: dict[str, Any]) -> None:
    """Draw bits per byte over seconds."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, run in result["runs"].items():
        xs = [point["seconds"] for point in run["curve"]]
        axes.plot(xs, [point["zh"] for point in run["curve"]], label=name, marker=".")
    axes.set_xlabel("seconds of continued pretraining (one thread)")
    axes.set_ylabel("bits per byte of held-out Chinese")
    axes.grid(alpha=0.3)
    axes.legend(title="rows of new tokens")
    FigureCanvasAgg(figure).print_png(str(RESULT.with_suffix(".png")))


def main() -> None:
    """Run, compare, write table and plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=90)
    parser.add_argument("--work", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = (given.work or Path(name)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        result = run_all(work, given.seconds)
    write_json(RESULT, result)
    write_atomic(RESULT.with_suffix(".md"), table(result).encode())
    draw(result)
    print(table(result))


if __name__ == "__main__":
    main()
