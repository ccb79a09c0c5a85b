"""python benchmarks/tokenizer_growth.py [--seconds 60] [--seeds 2] [--work DIR] [--stop-after S].

What does a grown vocabulary win, and which rows should the new tokens begin with? A small LLaMA is
trained on English and a little Chinese; its byte-level tokenizer gets Chinese tokens; then every
`--init`, and the model as it was, goes on with the same Chinese texts for the same seconds, once
for each seed (order of the texts, random rows). What counts is bits per byte of texts that were
held out.

The same seconds mean: as many steps as they allow, by the processor's time for a step of one
thread, which is measured before, without and with the extension in turn. So what comes out does
not depend on what else the machine does; only that measurement wants a quiet one. `--work` keeps
all that is done, and the same command goes on from there; with `--stop-after` nothing new is begun
after so many seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import mean, median
from typing import Any, get_args

os.environ |= {"HANLIN_CACHE": "off", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

from hanlin.core import environment
from hanlin.core.events import EventLog
from hanlin.core.files import read_json, write_atomic, write_json, write_jsonl
from hanlin.core.stage import StageContext
from hanlin.models.row_init import Init
from hanlin.training.probes import Probed

ROOT = Path(__file__).parent
DATA = Path(os.environ.get("HANLIN_DATA", ROOT.parent.parent / "shared" / "data")) / "corpus"
RESULT = ROOT / "results" / "tokenizer_growth.json"
NONE = "no extension"
DOCUMENT_CHARACTERS = 1500
ADD, BASE_VOCAB, SEQ_LEN, ROWS = 4000, 8000, 256, 8
SHAPE = {"hidden_size": 128, "layers": 4, "heads": 4, "max_length": SEQ_LEN}
BASE_STEPS, BASE_RATE, RATE = 480, 1e-3, 5e-4
HELD_OUT = 16  # documents
CALIBRATION_STEPS = 12
PROBES = 4  # after the one at the start


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
            "architecture": SHAPE,
            "schedule": schedule(BASE_STEPS, BASE_RATE) | {"save_every": 100},
        })  # fmt: skip
        base.run(config, context(out))
    return out / "model"


def schedule(steps: int, rate: float) -> dict[str, Any]:
    """Return the settings of a training run, in one thread."""
    return {"steps": steps, "learning_rate": rate, "seq_len": SEQ_LEN, "micro_batch_size": ROWS,
            "threads": 1, "save_every": 10**6, "log_every": 20,
            "probe_every": max(1, steps // PROBES)}  # fmt: skip


def context(out: Path) -> StageContext:
    """Return where a stage writes."""
    out.mkdir(parents=True, exist_ok=True)
    return StageContext("bench", out, 1, EventLog(out / "events.jsonl"))


def extend(work: Path, base: Path, corpora: Corpora) -> Path:
    """Give the base's tokenizer Chinese tokens, unless it has got them."""
    from hanlin.tokenization.bpe_extend import extend_byte_bpe
    from hanlin.tokenization.load import load

    out = work / "extended"
    if not (out / "tokenizer.json").exists():
        texts = (json.loads(line)["text"] for line in corpora.chinese.open(encoding="utf-8"))
        extend_byte_bpe(load(base), texts, add=ADD, control=documents("en_*")).tokenizer.save(out)
    return out


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

    def __call__(self, model: Any) -> Probed:  # noqa: ANN401 - a torch module
        """Probe, and note how many seconds went into training so far."""
        from hanlin.models.text_loss import measure

        now = time.process_time()
        if not self.points:
            self.started = now
        seconds = now - self.started - self._probing
        found = measure(model, texts=self.texts, tokenizer=self.tokenizer, seq_len=SEQ_LEN)
        self.points.append({"seconds": round(seconds, 2), **found})
        self._probing += time.process_time() - now
        return Probed(found)


def train(
    model: Path, store: Path, texts: dict[str, list[str]], *, steps: int, seed: int
) -> dict[str, Any]:
    """Go on with a model for so many steps; return the curve."""
    from hanlin.data.pack import PackedRows
    from hanlin.data.store import TokenStore
    from hanlin.models.load import load_pair
    from hanlin.training.schedule import Schedule
    from hanlin.training.trainer import Job
    from hanlin.training.trainer import train as run

    loaded, tokenizer = load_pair(model)
    rows = PackedRows(TokenStore.open(store), seq_len=SEQ_LEN, seed=seed)
    settings = Schedule.model_validate(schedule(steps, RATE))
    clock = Clock(tokenizer, texts)
    with tempfile.TemporaryDirectory() as name:
        run(Job(loaded, rows, tokenizer.pad_id, settings, 1, clock), context(Path(name)))
    every = settings.probe_steps(steps)
    for number, point in enumerate(clock.points):
        point["step"] = min(number * every, steps)
    return {"steps": steps, "tokens": steps * ROWS * SEQ_LEN, "curve": clock.points}


def kept(file: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what a file holds, made now if it is missing."""
    if not file.exists():
        write_json(file, make())
    found: dict[str, Any] = read_json(file)
    return found


def seconds_per_step(models: dict[str, Path], stores: dict[str, Path]) -> dict[str, float]:
    """Return what a step costs without and with the extension, measured in turn, A B A B."""
    costs: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(5):
        for name, model in models.items():
            tiny = {"zh": ["一"]}
            points = train(model, stores[name], tiny, steps=CALIBRATION_STEPS, seed=1)["curve"]
            steps = points[-1]["step"] - points[1]["step"]
            costs[name].append((points[-1]["seconds"] - points[1]["seconds"]) / steps)
    return {name: median(values) for name, values in costs.items()}


@dataclass(frozen=True)
class Study:
    """What is compared.

    Attributes:
        work: folder of all that is made on the way.
        seconds: of training, each.
        seeds: how many times each.
        deadline: of `time.monotonic`, after which nothing is begun.
    """

    work: Path
    seconds: float
    seeds: int
    deadline: float


def run_all(study: Study) -> dict[str, Any] | None:
    """Make the models, train each, return the result; None: the time is over, work is left."""
    from hanlin.tokenization.fertility import measure
    from hanlin.tokenization.load import load

    work, inits = study.work, get_args(Init)
    corpora = write_corpora(work)
    base = make_base(work, corpora)
    extended = extend(work, base, corpora)
    stores = {NONE: prepare(work, work / "english", corpora)}
    stores |= dict.fromkeys(inits, prepare(work, extended, corpora))
    models = {NONE: base, "mean": grown(study, base, extended, "mean", seed=1)}
    if time.monotonic() > study.deadline:
        return None
    costs = kept(work / "costs.json", lambda: seconds_per_step(models, stores))
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in (NONE, *inits)}
    for seed in range(1, study.seeds + 1):
        for name in runs:
            file = work / "runs" / f"{study.seconds:g}s-{seed}-{name}.json"
            if not file.exists() and time.monotonic() > study.deadline:
                return None
            model = base if name == NONE else grown(study, base, extended, name, seed=seed)
            cost = costs[name if name == NONE else "mean"]
            steps = round(study.seconds / cost)
            run = kept(file, partial(
                train, model, stores[name], corpora.held_out, steps=steps, seed=seed
            ))  # fmt: skip
            run["curve"] = [p | {"seconds": round(p["step"] * cost, 2)} for p in run["curve"]]
            runs[name].append(run)
            print(seed, name, run["curve"][-1], flush=True)
    held = corpora.held_out["zh"]
    per_token = {name: measure(load(model), held) for name, model in models.items()}
    return {
        "machine": environment.describe(),
        "model": {**SHAPE, "parameters": read_info(base), "base_steps": BASE_STEPS},
        "added": ADD,
        "characters_per_token": {n: round(1 / f.tokens_per_character, 3)
                                 for n, f in per_token.items()},
        "seconds": study.seconds,
        "seconds_per_step": {name: round(cost, 3) for name, cost in costs.items()},
        "held_out_bytes": sum(len(text.encode()) for text in held),
        "runs": runs,
    }  # fmt: skip


def grown(study: Study, base: Path, tokenizer: Path, init: str, *, seed: int) -> Path:
    """Return the base with rows for the new tokens, grown unless it is there."""
    from hanlin.models.grow import Config, grow

    out = study.work / "grown" / f"{seed}-{init}"
    values = {"model": str(base), "tokenizer": str(tokenizer), "init": init}
    return out if out.exists() else grow(Config.model_validate(values), out, seed=seed)


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
    """Return the result as Markdown: means over the seeds, and the end of each."""
    runs, tokens = result["runs"], result["characters_per_token"]
    costs = result["seconds_per_step"]
    fewest = min(run["steps"] for several in runs.values() for run in several)
    best = best_of(runs)
    lines = [
        "# Bits per byte of held-out Chinese after the same seconds of continued pretraining",
        "",
        f"{result['model']['parameters'] / 1e6:.1f} M parameters, {result['added']} tokens added, "
        f"{tokens[NONE]} characters per token before and {tokens['mean']} after; "
        f"{result['seconds']:.0f} seconds of one thread each, at {costs[NONE]} and "
        f"{costs['mean']} for a step of {ROWS * SEQ_LEN} tokens; {len(runs[NONE])} seeds. "
        "Made by `python benchmarks/tokenizer_growth.py`.",
        "",
        "| rows | before training | half of the time | all of the time | of each seed | "
        f"at step {fewest} | steps | English after |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, several in runs.items():
        ends = [run["curve"][-1] for run in several]
        cells = [
            number(run["curve"][0]["zh"] for run in several),
            number(at_step(run, run["steps"] / 2) for run in several),
            number(end["zh"] for end in ends),
            ", ".join(f"{end['zh']:.4f}" for end in ends),
            number(at_step(run, fewest) for run in several),
            str(several[0]["steps"]),
            number(end["en"] for end in ends),
        ]
        mark = f"**{name}**" if name == best else name
        lines.append(f"| {mark} | {' | '.join(cells)} |")
    lines += ["", f"Best after the same seconds: {best}.", ""]
    return "\n".join(lines)


def best_of(runs: dict[str, list[dict[str, Any]]]) -> str:
    """Return what ends with the fewest bits per byte of Chinese, in the mean over the seeds."""
    return min(runs, key=lambda name: mean(run["curve"][-1]["zh"] for run in runs[name]))


def number(values: Iterator[float]) -> str:
    """Return the mean of some values, to be shown."""
    return f"{mean(values):.4f}"


def draw(result: dict[str, Any]) -> None:
    """Draw bits per byte over seconds; one line for each seed, one color for each way."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for color, (name, several) in enumerate(result["runs"].items()):
        for run in several:
            xs = [point["seconds"] for point in run["curve"]]
            ys = [point["zh"] for point in run["curve"]]
            label = name if run is several[0] else None
            axes.plot(xs, ys, label=label, marker=".", color=f"C{color}")
    axes.set_xlabel("seconds of continued pretraining (one thread)")
    axes.set_ylabel("bits per byte of held-out Chinese")
    axes.grid(alpha=0.3)
    axes.legend(title="rows of new tokens")
    FigureCanvasAgg(figure).print_png(str(RESULT.with_suffix(".png")))


def main() -> None:
    """Run, compare, write table and plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--stop-after", type=float, default=1e9)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = (given.work or Path(name)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + given.stop_after
        result = run_all(Study(work, given.seconds, given.seeds, deadline))
    if result is None:
        print("not complete: the same command goes on")
        return
    write_json(RESULT, result)
    write_atomic(RESULT.with_suffix(".md"), table(result).encode())
    draw(result)
    print(table(result))


if __name__ == "__main__":
    main()
